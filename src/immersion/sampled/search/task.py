"""One search: what is asked, for all points or some of them, and how well it was answered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.core.host.threads import numba_threads
from immersion.sampled import exact
from immersion.sampled.search.cells import nearest_in_cells
from immersion.sampled.search.cloud import Cloud, FlatMetric, cloud_of, to_float32
from immersion.sampled.search.geodesic import nearest_by_geodesic, on_manifold
from immersion.sampled.search.kinds import HNSW, IVF, Engine, Exact, Given, Search
from immersion.sampled.search.sample import MEASURING, Recall, recall_of, sample_rows
from immersion.sampled.search.small_world import nearest_by_links

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from immersion.core.metric import GeodesicManifold

    Lists = tuple[NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Task:
    """The k nearest neighbours of points (n, D) under a metric, by a kind of search.

    The task is checked when it is made.

    Raises:
        InputError: k outside 1..n-1, points the metric cannot take, a search that does not go with
            the metric or the device.
    """

    points: NDArray[np.floating]
    k: int
    metric: FlatMetric | GeodesicManifold
    search: Search
    device: torch.device

    def __post_init__(self) -> None:
        require_k(self.k, len(self.points))
        if not isinstance(self.search, Search):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(f"search is Exact(), IVF() or HNSW(), not {self.search!r}")
        if isinstance(self.search, Given):
            raise InputError(
                "Given() is no search; use NeighborGraph.from_neighbors or .from_distances"
            )
        if self.search.__class__ is not Exact and self.device.type != "cpu":
            raise InputError(
                f"{self.search.__class__.__name__} searches on the CPU; Exact() on {self.device}"
            )
        _require_device(self.device)
        if isinstance(self.search, Exact) and self.search.engine == "faiss":
            if self.device.type != "cpu":
                raise InputError(f"faiss searches on the CPU; Exact() searches on {self.device}")
            if not exact.has_faiss():
                raise InputError("faiss is not installed (pip install faiss-cpu); leave engine out")
        if isinstance(self.metric, str):
            _ = self.cloud
            return
        if not isinstance(self.search, Exact) or self.search.engine == "faiss":
            raise InputError(
                f"under {self.metric} the search is exact and by torch: leave search out"
            )
        on_manifold(self.points, self.metric)

    @cached_property
    def cloud(self) -> Cloud:
        """The points with their coordinates under a flat metric."""
        assert isinstance(self.metric, str)
        return cloud_of(self.points, self.metric)

    def run(self, rows: slice) -> tuple[Lists, Search]:
        """Indices and distances (m, k) for some points, and the search with all that it chose."""
        numba_threads()
        if not isinstance(self.metric, str):
            return self._exact(exact.numbers_of(rows)), Exact("torch")
        if isinstance(self.search, IVF):
            (who, near), search = nearest_in_cells(
                self.cloud, self.k, self._candidates, rows, self.search
            )
        elif isinstance(self.search, HNSW):
            (who, near), search = nearest_by_links(self.cloud, self.k, rows, self.search)
        else:
            return self._exact(exact.numbers_of(rows)), Exact(self._engine)
        return (who, self._distances(near)), search

    def recall(self, distances: NDArray[np.float32]) -> Recall:
        """Share of the true neighbours in lists (n, k), against exact search of a sample.

        A neighbour counts when it is no farther than the true k-th, so equal distances never lower
        the recall.
        """
        n = len(self.points)
        if isinstance(self.search, Exact):
            return Recall(1.0, 0.0, n)
        rows = sample_rows(n, MEASURING, seed=3)
        true = self._distances(exact.nearest(self.cloud, self.k, None, rows)[1])
        return recall_of(distances[rows] <= true[:, -1:], n)

    def _exact(self, rows: NDArray[np.int64]) -> Lists:
        if isinstance(self.metric, str):
            who, near = exact.nearest(self.cloud, self.k, self._candidates, rows)
            return who, self._distances(near)
        who, near = nearest_by_geodesic(self.points, self.k, self.metric, rows, self.device)
        return who, to_float32(near)

    def _distances(self, near: NDArray[np.float64]) -> NDArray[np.float32]:
        out = np.empty(near.shape, np.float32)
        for rows in row_chunks(len(near), 24 * self.k, 1 << 26):
            out[rows] = self.cloud.distance(near[rows])
        return out

    @property
    def _engine(self) -> Engine:
        chosen = self.search.engine if isinstance(self.search, Exact) else None
        flat = self.device.type == "cpu" and exact.has_faiss()
        return chosen or ("faiss" if flat else "torch")

    @property
    def _candidates(self) -> exact.Candidates:
        if self._engine == "faiss":
            return exact.faiss_candidates
        return partial(exact.torch_candidates, device=self.device)


def _require_device(device: torch.device) -> None:
    """Raise unless torch can compute on the device.

    Raises:
        InputError: it cannot, and why.
    """
    try:
        torch.ones(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {device} cannot be used: {error}") from error


def require_k(k: int, n: int) -> None:
    """Raise unless each of n points can have k neighbours.

    Raises:
        InputError: k is no whole number, or outside 1..n-1.
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"k must be a whole number of neighbours, not {k!r}")
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    if k >= n:
        raise InputError(f"k = {k} neighbours need at least {k + 1} points; there are {n}")
