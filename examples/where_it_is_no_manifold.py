"""Are the places found where data is no manifold, and none where it is one?

Idea: singular points, where data crosses itself, ends or has a tip, and where tangent spaces and
intrinsic dimension mean nothing.

Points are drawn from sets whose singular set is known in closed form: two discs that cross, a cone
and a flat disc, which has a boundary. Every point gets a score, from neighbourhoods of three sizes.
It should tell the points within one neighbourhood of the middle size of the singular set or the
boundary from all others: the area under the ROC curve is 0.5 at random and 1 at best. The nulls are
smooth closed surfaces, a sphere and a torus, from 20 seeds each, on which every flagged point is a
false alarm.

The claim holds if every area is at least 0.95 and fewer than 5% of the points of the nulls are
flagged.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

import immersion as im

SEEDS = range(5)
NULL_SEEDS = range(20)
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
    print(f"{'data':<16} {'ROC area':<18} places of the first seed")
    areas: list[list[float]] = []
    for name, draw in singular.items():
        found_areas: list[float] = []
        kinds = ""
        for seed in SEEDS:
            data = draw(POINTS, random_state=seed)
            graph = im.neighbor_graph(data.points, k=64)
            found = im.singularity(graph)
            radii = graph.distances[:, found.scales[1] - 1]
            near = np.minimum(data.singular_distance, data.boundary_distance) <= radii
            found_areas.append(roc_area(found.scores, near))
            kinds = kinds or ", ".join(sorted({place.kind for place in found.places}))
        areas.append(found_areas)
        print(f"{name:<16} {mean_with_error(found_areas):<18} {kinds}")
    shares: list[list[float]] = []
    print(f"{'data':<16} {'points flagged, %':<18} data sets with any")
    for name, draw in smooth.items():
        flagged = [
            100 * float(im.singularity(draw(POINTS, random_state=seed).points).flagged.mean())
            for seed in NULL_SEEDS
        ]
        shares.append(flagged)
        print(f"{name:<16} {mean_with_error(flagged):<18} {np.count_nonzero(flagged)} of 20")
    if min(map(np.mean, areas)) >= 0.95 and max(map(np.mean, shares)) < 5:
        print("outcome: holds")
    else:
        print("outcome: does not hold")


if __name__ == "__main__":
    main()
