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
    "lagomorph.n.01": "#b45309",
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
PLAIN, INK, PAPER, RIM = "#94a3b8", "#0f172a", "#ffffff", "#cbd5e1"
SIZE, SHARPER, MARGIN, STEPS = 1000, 3, 14, 32


def draw(points: Tensor, taxonomy: Taxonomy, path: Path, root: str = "mammal.n.01") -> None:
    """Write a picture of points (n, 2) of the Poincaré disk, the root moved to its middle."""
    number = {name: position for position, name in enumerate(taxonomy.names)}
    disk = im.PoincareBall(2)
    points = centred(disk, points, number[root])
    reach = float(disk.dist(torch.zeros_like(points[0]), points).max())
    colours = coloured(taxonomy, number)
    below = Counter(taxonomy.closure[:, 1].tolist())

    sheet = Image.new("RGB", (SIZE * SHARPER,) * 2, PAPER)
    pen = ImageDraw.Draw(sheet, "RGBA")
    edge = MARGIN * SHARPER, (SIZE - MARGIN) * SHARPER
    pen.ellipse((edge[0], edge[0], edge[1], edge[1]), fill="#f8fafc", outline=RIM, width=SHARPER)
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
    picture = sheet.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    write_names(picture, taxonomy, number, places, colours, below)
    picture.quantize(255, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


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
    radius = SIZE / 2 - MARGIN
    return SIZE / 2 + radius * away * torch.tensor([1.0, -1.0], dtype=points.dtype)


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
    """Names of groups, each at the nearest free place to its point, large groups first."""
    pen = ImageDraw.Draw(picture)
    taken: list[tuple[float, float, float, float]] = []
    nodes = sorted((number[name] for name in {*GROUPS, *NAMED}), key=lambda node: -below[node])
    for node in nodes:
        name = taxonomy.names[node]
        font = ImageFont.load_default(17 if name in GROUPS or not taken else 13)
        text = name.rpartition(".n.")[0].replace("_", " ")
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font, stroke_width=3)
        wide, high = right - left, bottom - top
        x, y = places[node]
        choices = [
            (x + r * math.cos(a) - wide / 2, y + r * math.sin(a) - high / 2)
            for r in range(16, 130, 6)
            for a in torch.linspace(0, 2 * math.pi, 25)[:-1].tolist()
        ]
        corner = next(
            (c for c in choices if free((c[0], c[1], c[0] + wide, c[1] + high), taken)), choices[0]
        )
        taken.append((corner[0], corner[1], corner[0] + wide, corner[1] + high))
        middle = corner[0] + wide / 2, corner[1] + high / 2
        if math.dist(middle, (x, y)) > 40:
            pen.line([(x, y), middle], fill=colours[node], width=1)
        colour = INK if colours[node] == PLAIN else colours[node]
        origin = corner[0] - left, corner[1] - top
        pen.text(origin, text, fill=colour, font=font, stroke_width=3, stroke_fill=PAPER)


def free(
    box: tuple[float, float, float, float], taken: list[tuple[float, float, float, float]]
) -> bool:
    """Whether a box lies on the sheet and on no other."""
    inside = min(box) >= 4 and max(box) <= SIZE - 4
    return inside and all(
        box[2] < other[0] or other[2] < box[0] or box[3] < other[1] or other[3] < box[1]
        for other in taken
    )
