"""Do neighbours agree with a point's label? Per point, per pair of classes, over all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.sampled.graph import NeighborGraph


@dataclass(frozen=True, eq=False)
class Agreement:
    """What the neighbours of labelled points say.

    Attributes:
        disagreement: mean share of neighbours that carry another label; its null is that of
            permuted labels, 1 - sum of squared class frequencies.
        votes: (n, C) share of each point's neighbours in each class.
        mixing: (C, C) mean votes of the points of a class (row) for each class (column).
        mixing_stderr: (C, C) their standard errors.
    """

    disagreement: Measurement
    votes: NDArray[np.float64]
    mixing: NDArray[np.float64]
    mixing_stderr: NDArray[np.float64]


def label_agreement(
    graph: NeighborGraph, labels: NDArray[np.integer], classes: int, *, k: int = 15
) -> Agreement:
    """Votes of the k nearest neighbours, the point itself left out.

    Args:
        graph: with at least k neighbours.
        labels: (n,) class indices 0..classes-1.
        classes: number of classes C.
        k: neighbours that vote.

    Raises:
        InputError: labels of another length or outside 0..classes-1, or too few neighbours.

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> graph = neighbor_graph([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]], k=2)
        >>> agreement = label_agreement(graph, np.array([0, 0, 1, 1, 1, 1]), 2, k=2)
        >>> agreement.votes[2].tolist()
        [1.0, 0.0]
    """
    if len(labels) != graph.n:
        raise InputError(f"{len(labels)} labels for {graph.n} points")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InputError(
            f"labels run from {labels.min()} to {labels.max()}; {classes} classes need labels in "
            f"0..{classes - 1}"
        )
    if graph.k < k:
        raise InputError(f"the graph has {graph.k} neighbours a point and {k} are needed")
    votes = neighbor_votes(graph.indices[:, :k], labels, classes)
    against = 1 - votes[np.arange(graph.n), labels]
    counts = np.bincount(labels, minlength=classes)
    mixing = np.full((classes, classes), math.nan)
    stderr = np.full((classes, classes), math.nan)
    for index in np.flatnonzero(counts):
        of_class = votes[labels == index]
        mixing[index] = of_class.mean(axis=0)
        if len(of_class) > 1:
            stderr[index] = of_class.std(axis=0, ddof=1) / math.sqrt(len(of_class))
    chance = 1 - float(np.square(counts / graph.n).sum())
    settings = {"k": k}
    null = Measurement(
        "label_disagreement", chance, 0.0, graph.n, {**settings, "labels": "permuted"}
    )
    spread = float(against.std(ddof=1)) / math.sqrt(graph.n) if graph.n > 1 else math.nan
    measured = Measurement(
        "label_disagreement", float(against.mean()), spread, graph.n, settings, null
    )
    return Agreement(measured, votes, mixing, stderr)


def neighbor_votes(
    neighbors: NDArray[np.integer], labels: NDArray[np.integer], classes: int
) -> NDArray[np.float64]:
    """Share of each point's neighbours in each class, (n, classes).

    Args:
        neighbors: (n, k) indices of neighbours.
        labels: (n,) class indices.
        classes: number of classes.
    """
    n, k = neighbors.shape
    rows = np.arange(n, dtype=np.int64)[:, None]
    cells = cast("NDArray[np.int64]", rows * classes + labels[neighbors])
    counts = np.bincount(cells.ravel(), minlength=n * classes)
    return counts.reshape(n, classes) / k
