"""The neighbour graph: computed once, shared by every estimator, measure and picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from immersion.core.errors import InputError
from immersion.sampled.exact import faiss_candidates, nearest, torch_candidates

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Engine = Literal["faiss", "torch"]


@dataclass(frozen=True)
class Exact:
    """Exact search. `engine` None is faiss on the CPU where it is installed, else chunked torch."""

    engine: Engine | None = None


@dataclass(frozen=True, eq=False)
class NeighborGraph:
    """The k nearest neighbours of every point, without the point itself.

    Attributes:
        points: (n, D) the points, as given.
        indices: (n, k) neighbours, by ascending (distance, index); always in 0..n-1.
        distances: (n, k) float32, in the units of the metric.
        metric: name of the distance.
        search: how the neighbours were found.
        recall: share of true neighbours found; 1.0 for exact search.
    """

    points: NDArray[np.floating]
    indices: NDArray[np.int64]
    distances: NDArray[np.float32]
    metric: str
    search: Exact
    recall: float

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.indices)

    @property
    def k(self) -> int:
        """Neighbours a point."""
        return self.indices.shape[1]

    @property
    def duplicates(self) -> int:
        """How many points coincide with another one."""
        return int(np.count_nonzero(self.distances[:, 0] == 0))

    def to_scipy(self) -> csr_array:
        """Directed graph (n, n) with the distances as weights; explicit zeros for duplicates."""
        from scipy.sparse import csr_array

        starts = np.arange(0, self.indices.size + 1, self.k)
        return csr_array(
            (self.distances.ravel(), self.indices.ravel(), starts), shape=(self.n, self.n)
        )


def neighbor_graph(
    points: ArrayLike | torch.Tensor,
    k: int = 15,
    *,
    metric: Literal["euclidean"] = "euclidean",
    search: Exact | None = None,
    device: str | torch.device | None = None,
) -> NeighborGraph:
    """The graph of the k nearest neighbours.

    Distances are sums of squared differences in float64, rounded to float32 at the end; ties are
    ordered by index, so the graph does not depend on the engine or the number of threads.

    Args:
        points: (n, D) array, tensor or nested list of finite numbers; integers become float32,
            float16 is computed in float32, more axes than two are flattened into D.
        k: neighbours a point, 1 <= k < n.
        metric: "euclidean".
        search: `Exact()` by default.
        device: where torch searches ("cuda"); the CPU by default.

    Raises:
        InputError: wrong shape or type, NaN or infinity (says where), k outside 1..n-1.

    Cost: 2 n^2 D flops of matrix product, n k D of refinement; memory O(n k) beside the points.

    Example:
        >>> graph = neighbor_graph([[0.0], [1.0], [3.0], [3.0]], k=2)
        >>> graph.indices.tolist()
        [[1, 2], [0, 2], [3, 1], [2, 1]]
        >>> graph.distances.tolist()
        [[1.0, 3.0], [1.0, 2.0], [0.0, 2.0], [0.0, 2.0]]
    """
    x = as_points(points)
    if metric != "euclidean":
        raise InputError(f"metric must be 'euclidean', not {metric!r}")
    if not 1 <= k < len(x):
        raise InputError(
            f"k = {k} neighbours need at least {k + 1} points; there are {len(x)}"
            if k >= 1
            else f"k must be at least 1, not {k}"
        )
    chosen = search or Exact()
    where = torch.device(device) if device is not None else torch.device("cpu")
    engine = chosen.engine or ("faiss" if where.type == "cpu" and _has_faiss() else "torch")
    candidates = faiss_candidates if engine == "faiss" else partial(torch_candidates, device=where)
    indices, distances = nearest(x, k, candidates)
    return NeighborGraph(x, indices, distances, metric, Exact(engine), 1.0)


def as_graph(points: ArrayLike | torch.Tensor | NeighborGraph, k: int) -> NeighborGraph:
    """`points` itself when it is a graph with at least k neighbours, else the graph of the points.

    Raises:
        InputError: a graph with fewer than k neighbours: it would have to be searched again.
    """
    if not isinstance(points, NeighborGraph):
        return neighbor_graph(points, k)
    if points.k < k:
        raise InputError(f"the graph has {points.k} neighbours a point and {k} are needed")
    return points


def as_points(points: ArrayLike | torch.Tensor) -> NDArray[np.floating]:
    """A finite C-contiguous (n, D) float32 or float64 array, without a copy where it is one.

    Raises:
        InputError: says the shape, type or row that is wrong.
    """
    if isinstance(points, torch.Tensor):
        points = points.detach().cpu()
        points = points.float().numpy() if points.dtype == torch.bfloat16 else points.numpy()  # pyright: ignore[reportUnknownMemberType]
    if hasattr(points, "tocsr"):
        raise InputError("points are a sparse matrix; pass a dense array, points.toarray()")
    try:
        x = np.asarray(points)
    except ValueError as error:
        raise InputError(f"points are no rectangular array ({error})") from error
    if x.dtype.kind not in "fiub":
        raise InputError(f"points must be numbers, not {x.dtype}")
    if x.ndim < 2 or x.shape[0] == 0 or x[0].size == 0:
        raise InputError(f"points must have shape (n, D) with n, D >= 1; met {x.shape}")
    dtype = np.float64 if x.dtype.kind == "f" and x.dtype.itemsize > 4 else np.float32
    x = np.ascontiguousarray(x.reshape(len(x), -1), dtype=dtype)
    finite = np.isfinite(x).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InputError(
            f"points[{row}] has NaN or infinite values ({np.count_nonzero(~finite)} rows do)"
        )
    return x


def _has_faiss() -> bool:
    from importlib.util import find_spec

    return find_spec("faiss") is not None
