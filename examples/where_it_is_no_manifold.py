"""Are the places found where data is no manifold, and none where it is one?

Idea: singular points, where data crosses itself, ends or has a tip, and where tangent spaces and
intrinsic dimension mean nothing.

Points are drawn from sets whose singular set is known in closed form: two discs that cross, a cone
and a flat disc, which has a boundary. Every point gets a score, from neighbourhoods of three sizes.
It should tell the points within one neighbourhood of the singular set or the boundary from all
others: the area under the ROC curve is 0.5 at random and 1 at best. How near is near decides much
of that area, so it is given for each of the three sizes. The nulls are smooth closed surfaces, a
sphere and a torus, from 10 seeds each, on which every flagged point is a false alarm.

The claim is judged by the middle size: it holds if there every area is at least 0.95 and fewer than
5% of the points of the nulls are flagged. By the widest size, whose rim a patch hardly sees, it
would not hold.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

import immersion as im

SEEDS = range(5)
NULL_SEEDS = range(10)
POINTS = 3000


def roc_area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive point scores above another one, ties counted half."""
    ranks = rankdata(scores)[positive]
    return float((ranks.mean() - (len(ranks) + 1) / 2) / np.count_nonzero(~positive))


def mean_with_error(values: list[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.4f}"


def main() -> None:
    singular = {
        "crossing discs": im.datasets.crossing_planes,
        "cone": im.datasets.cone,
        "disc": lambda n, random_state: im.datasets.hyperball(
            n, 2, ambient_dim=3, random_state=random_state
        ),
    }
    smooth = {"sphere (null)": im.datasets.sphere, "torus (null)": im.datasets.torus}
    print("claim: points of crossings, tips and boundaries are told from the others")
    print("ROC area, near being within the smallest, the middle and the widest neighbourhood")
    print(f"{'data':<16} {'smallest':<16} {'middle':<16} {'widest':<16} places of the first seed")
    middle: list[float] = []
    for name, draw in singular.items():
        areas: list[list[float]] = []
        kinds = ""
        for seed in SEEDS:
            data = draw(POINTS, random_state=seed)
            graph = im.neighbor_graph(data.points, k=64)
            found = im.singularity(graph)
            distance = np.minimum(data.singular_distance, data.boundary_distance)
            radii = [graph.distances[:, size - 1] for size in found.scales]
            areas.append([roc_area(found.scores, distance <= radius) for radius in radii])
            kinds = kinds or ", ".join(sorted({place.kind for place in found.places}))
        by_size = [list(column) for column in zip(*areas, strict=True)]
        middle.append(float(np.mean(by_size[1])))
        shown = " ".join(f"{mean_with_error(column):<16}" for column in by_size)
        print(f"{name:<16} {shown} {kinds}")
    shares: list[list[float]] = []
    print(f"{'data':<16} {'points flagged, %':<18} data sets with any")
    for name, draw in smooth.items():
        flagged = [
            100 * float(im.singularity(draw(POINTS, random_state=seed).points).flagged.mean())
            for seed in NULL_SEEDS
        ]
        shares.append(flagged)
        some = f"{np.count_nonzero(flagged)} of {len(flagged)}"
        print(f"{name:<16} {mean_with_error(flagged):<18} {some}")
    if min(middle) >= 0.95 and max(map(np.mean, shares)) < 5:
        print("outcome: holds")
    else:
        print("outcome: does not hold")


if __name__ == "__main__":
    main()
