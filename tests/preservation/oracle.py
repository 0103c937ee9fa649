"""Ranks and curves by definition: all distances in float64, all ranks, O(n^2) memory."""

from __future__ import annotations

import numpy as np


def ranks(x: np.ndarray) -> np.ndarray:
    """(n, n) rank of j by (distance, index) from i, the point itself at n."""
    # A power of two keeps squares in range and changes no order.
    wide = np.ldexp(x.astype(np.float64), -np.frexp(np.abs(x).max())[1])
    squares = np.stack([np.square(wide - row).sum(axis=1) for row in wide])
    np.fill_diagonal(squares, np.inf)
    order = np.argsort(squares, axis=1, kind="stable")
    found = np.empty_like(order)
    np.put_along_axis(found, order, np.arange(1, len(x) + 1)[None, :], axis=1)
    return found


def neighbour_scores(x: np.ndarray, y: np.ndarray, k: int) -> tuple[np.ndarray, ...]:
    """Per point trustworthiness, continuity and recall."""
    n = len(x)
    first, second = ranks(x), ranks(y)
    scale = 2 / (k * (2 * n - 3 * k - 1))
    beyond = [
        np.where(b <= k, np.maximum(a - k, 0), 0) for a, b in ((first, second), (second, first))
    ]
    trust, kept = (1 - scale * penalty.sum(axis=1) for penalty in beyond)
    return trust, kept, ((first <= k) & (second <= k)).sum(axis=1) / k


def q_nx(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Q_NX(K) for K = 1..n-2 from the whole co-ranking matrix."""
    n = len(x)
    off = ~np.eye(n, dtype=bool)
    coranking = np.zeros((n, n), np.int64)
    np.add.at(coranking, (ranks(x)[off], ranks(y)[off]), 1)
    corner = coranking.cumsum(axis=0).cumsum(axis=1)
    return np.array([corner[size, size] / (size * n) for size in range(1, n - 1)])
