"""Draws a taxonomy in the Poincaré disk: edges as geodesic arcs, the main groups in colour."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import immersion as im
from immersion.datasets.wordnet import Taxonomy

#: Groups that get a colour; each is dark enough to be read as a name on white.
GROUPS = {
    "canine.n.02": "#c2410c",
    "feline.n.01": "#be123c",
    "musteline_mammal.n.01": "#92400e",
    "even-toed_ungulate.n.01": "#15803d",
    "odd-toed_ungulate.n.01": "#4d7c0f",
    "rodent.n.01": "#a16207",
    "lagomorph.n.01": "#0f766e",
    "primate.n.02": "#7e22ce",
    "bat.n.01": "#4338ca",
    "aquatic_mammal.n.01": "#0369a1",
    "marsupial.n.01": "#be185d",
}
#: Names beside those of the groups, in the colour of their group.
NAMED = (
    "mammal.n.01",
    "carnivore.n.01",
    "ungulate.n.01",
    "dog.n.01",
    "hunting_dog.n.01",
    "cat.n.01",
    "horse.n.01",
    "bovid.n.01",
    "deer.n.01",
    "whale.n.02",
    "seal.n.09",
    "monkey.n.01",
    "ape.n.01",
    "hominid.n.01",
    "squirrel.n.01",
    "rat.n.01",
    "kangaroo.n.01",
    "bear.n.01",
    "insectivore.n.01",
    "edentate.n.01",
    "elephant.n.01",
)
PLAIN, INK, PAPER, RIM = "#94a3b8", "#334155", "#ffffff", "#cbd5e1"
#: Pixels; and distances from the root that get a ring.
SIZE, RADIUS, SHARPER, STEPS = (1120, 880), 375, 3, 32
RINGS = (10, 20)

Box = tuple[float, float, float, float]


def draw(points: Tensor, taxonomy: Taxonomy, path: Path, root: str = "mammal.n.01") -> None:
    """Write a picture of points (n, 2) of the Poincaré disk, the root moved to its middle."""
    number = {name: position for position, name in enumerate(taxonomy.names)}
    disk = im.PoincareBall(2)
    points = centred(disk, points, number[root])
    reach = float(disk.dist(torch.zeros_like(points[0]), points).max())
    colours = coloured(taxonomy, number)
    below = Counter(taxonomy.closure[:, 1].tolist())

    sheet = Image.new("RGB", (SIZE[0] * SHARPER, SIZE[1] * SHARPER), PAPER)
    pen = ImageDraw.Draw(sheet, "RGBA")
    for distance in RINGS:
        away = RADIUS * distance / reach
        ring = [SHARPER * (side / 2 + sign * away) for sign in (-1, 1) for side in SIZE]
        pen.ellipse(ring, outline=RIM, width=SHARPER)
    child, parent = torch.from_numpy(taxonomy.parents).unbind(1)
    times = torch.linspace(0, 1, STEPS, dtype=points.dtype)[:, None]
    arcs = on_sheet(disk.geodesic(points[parent], points[child], times), reach).transpose(0, 1)
    for arc, end in zip((SHARPER * arcs).tolist(), child.tolist(), strict=True):
        pen.line([tuple(place) for place in arc], fill=colours[end] + "66", width=SHARPER)
    places = on_sheet(points, reach).tolist()
    for node in sorted(range(len(taxonomy)), key=lambda node: below[node]):
        radius = SHARPER * (1.3 + 0.9 * math.log1p(below[node]))
        x, y = (SHARPER * value for value in places[node])
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, fill=colours[node], outline=PAPER, width=SHARPER // 2)
    picture = sheet.resize(SIZE, Image.Resampling.LANCZOS)
    write_names(picture, taxonomy, number, places, colours, below)
    write_scale(picture, points, reach)
    picture.quantize(160, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


def centred(disk: im.PoincareBall, points: Tensor, root: int) -> Tensor:
    """Points after the isometry that brings the root to the origin."""
    origin = torch.zeros_like(points[root])
    seen = disk.log(points[root], points)
    return disk.exp(origin, disk.transport(points[root], origin, seen))


def on_sheet(points: Tensor, reach: float) -> Tensor:
    """Pixels of points of the disk: the right direction and distance from the origin, y upwards.

    In the disk itself nearly all would lie on the rim.
    """
    length = points.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    away = 2 * torch.atanh(length) / reach * points / length
    flip, middle = (torch.tensor(pair, dtype=points.dtype) for pair in ((1.0, -1.0), SIZE))
    return middle / 2 + RADIUS * away * flip


def coloured(taxonomy: Taxonomy, number: dict[str, int]) -> list[str]:
    """The colour of the group that each noun belongs to."""
    colours = [PLAIN] * len(taxonomy)
    groups = {number[name]: colour for name, colour in GROUPS.items()}
    for node, above in taxonomy.closure.tolist():
        if above in groups:
            colours[node] = groups[above]
    for node, colour in groups.items():
        colours[node] = colour
    return colours


def write_names(
    picture: Image.Image,
    taxonomy: Taxonomy,
    number: dict[str, int],
    places: list[list[float]],
    colours: list[str],
    below: Counter[int],
) -> None:
    """Names: of groups outside of all points, of others at the nearest free place to theirs."""
    pen = ImageDraw.Draw(picture)
    taken: list[Box] = []
    nodes = sorted(
        (number[name] for name in {*GROUPS, *NAMED}),
        key=lambda node: (taxonomy.names[node] not in GROUPS, -below[node]),
    )
    for node in nodes:
        name = taxonomy.names[node]
        text = name.rpartition(".n.")[0].replace("_", " ")
        font = ImageFont.load_default(18 if name in GROUPS else 13)
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font, stroke_width=3)
        wide, high = right - left, bottom - top
        group = taxonomy.closure[taxonomy.closure[:, 1] == node, 0].tolist()
        spots = outside(places, group, wide) if name in GROUPS else around(places[node])
        boxes = [(x - wide / 2, y - high / 2, x + wide / 2, y + high / 2) for x, y in spots]
        box = next((box for box in boxes if free(box, taken)), boxes[0])
        taken.append(box)
        colour = INK if colours[node] == PLAIN else colours[node]
        origin = box[0] - left, box[1] - top
        pen.text(origin, text, fill=colour, font=font, stroke_width=3, stroke_fill=PAPER)


def write_scale(picture: Image.Image, points: Tensor, reach: float) -> None:
    """The distance of the last ring, in the widest gap between the points."""
    angles = torch.atan2(-points[:, 1], points[:, 0]).sort().values
    gaps = torch.cat([angles[1:], angles[:1] + 2 * math.pi]) - angles
    way = float(angles[gaps.argmax()] + gaps.max() / 2)
    away = RADIUS * RINGS[-1] / reach
    place = SIZE[0] / 2 + away * math.cos(way), SIZE[1] / 2 + away * math.sin(way)
    text, font = f"distance {RINGS[-1]}", ImageFont.load_default(12)
    pen = ImageDraw.Draw(picture)
    pen.text(place, text, INK, font, "mm", stroke_width=3, stroke_fill=PAPER)


def outside(places: list[list[float]], group: list[int], wide: float) -> list[tuple[float, float]]:
    """Middles of a name in the mean direction of its group, beyond the points that lie there."""
    polar = [math.atan2(y - SIZE[1] / 2, x - SIZE[0] / 2) for x, y in places]
    lengths = [math.dist((x, y), (SIZE[0] / 2, SIZE[1] / 2)) for x, y in places]
    mean = math.atan2(
        sum(math.sin(polar[node]) for node in group), sum(math.cos(polar[node]) for node in group)
    )
    spots = []
    for turn in range(0, 40, 2):
        for side, more in ((1, 0), (-1, 0), (1, 26), (-1, 26)):
            way = mean + side * math.radians(turn)
            near = [
                away
                for away, other in zip(lengths, polar, strict=True)
                if math.cos(other - way) > math.cos(math.radians(6))
            ]
            away = max(near, default=0) + 14 + more + abs(math.cos(way)) * wide / 2
            spots.append((SIZE[0] / 2 + away * math.cos(way), SIZE[1] / 2 + away * math.sin(way)))
    return spots


def around(place: list[float]) -> list[tuple[float, float]]:
    """Middles of a name near a point, nearest first."""
    return [
        (place[0] + away * math.cos(angle), place[1] + away * math.sin(angle))
        for away in range(14, 130, 6)
        for angle in (math.pi * eighth / 8 for eighth in range(16))
    ]


def free(box: Box, taken: list[Box]) -> bool:
    """Whether a box lies on the sheet and on no other."""
    inside = min(box) >= 4 and box[2] <= SIZE[0] - 4 and box[3] <= SIZE[1] - 4
    return inside and all(
        box[2] < other[0] or other[2] < box[0] or box[3] < other[1] or other[3] < box[1]
        for other in taken
    )
