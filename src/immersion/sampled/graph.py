"""The neighbour graph: computed once, shared by every estimator, measure and picture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.core.metric import GeodesicManifold
from immersion.sampled.points import Points as Points
from immersion.sampled.points import as_points as as_points
from immersion.sampled.points import points_of
from immersion.sampled.search.kinds import HNSW as HNSW
from immersion.sampled.search.kinds import IVF as IVF
from immersion.sampled.search.kinds import Engine as Engine
from immersion.sampled.search.kinds import Exact as Exact
from immersion.sampled.search.kinds import Given as Given
from immersion.sampled.search.kinds import Search as Search
from immersion.sampled.search.task import Task

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from immersion.sampled.laplacian.operator import Kind, Laplacian
    from immersion.sampled.laplacian.weights import Kernel
    from immersion.sampled.search.sample import Recall
    from immersion.sampled.shape.spaces import TangentSpaces

MetricName = Literal["euclidean", "cosine"]


@dataclass(frozen=True, eq=False)
class NeighborGraph:
    """The k nearest neighbours of every point, without the point itself.

    Attributes:
        points: (n, D) the points, as given, possibly mapped from a file; (n, 0) where only
            distances or neighbours were given.
        indices: (n, k) neighbours, by ascending (distance, index); always in 0..n-1.
        distances: (n, k) float32, in the units of the metric.
        metric: name of the distance; "precomputed" where the caller gave it.
        search: how the neighbours were found, with all that was chosen on the way.
        recall: share of true neighbours found: 1.0 for exact search, measured on a sample for
            approximate search, NaN where the caller gave the neighbours.
        recall_stderr: one standard error of `recall`.
        recall_n: points that the recall rests on.
        manifold: the metric itself where it is a manifold.
    """

    points: NDArray[np.floating]
    indices: NDArray[np.int64]
    distances: NDArray[np.float32]
    metric: str
    search: Search
    recall: float
    recall_stderr: float = 0.0
    recall_n: int = 0
    manifold: GeodesicManifold | None = None

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

    @property
    def has_points(self) -> bool:
        """Whether the graph knows its points, and not only their distances."""
        return self.points.shape[1] > 0

    @property
    def measured_recall(self) -> Measurement:
        """The recall with its standard error and the settings of the search."""
        settings: dict[str, Any] = {"k": self.k, "metric": self.metric}
        settings["search"] = repr(self.search)
        caveats: tuple[str, ...] = ()
        asked = self.search.recall if isinstance(self.search, IVF | HNSW) else 0.0
        if np.isnan(self.recall):
            caveats = ("the neighbours were given; what share of the true ones they are is open",)
        elif self.recall + 2 * self.recall_stderr < asked:
            caveats = (
                f"a recall of {asked} was asked for and {self.recall:.3f} reached; use Exact(), or "
                "IVF() without n_probe",
            )
        return Measurement(
            "neighbor_recall", self.recall, self.recall_stderr, self.recall_n, settings,
            caveats=caveats,
        )  # fmt: skip

    def components(self) -> NDArray[np.int64]:
        """Piece (n,) that each point belongs to, edges taken in both directions.

        Pieces are numbered by descending size, then by their first point. Cost O(n k).
        """
        from scipy.sparse.csgraph import connected_components  # pyright: ignore

        # Weights of ones: a duplicate's distance of zero would be read as no edge.
        edges: Any = self.to_scipy()
        edges.data = np.ones(edges.nnz, np.float32)
        found: Any = connected_components(edges, directed=True, connection="weak")  # pyright: ignore
        labels: NDArray[np.int32] = np.asarray(found[1])  # pyright: ignore
        _, first, place, size = np.unique(
            labels, return_index=True, return_inverse=True, return_counts=True
        )
        number = np.empty(len(size), np.int64)
        number[np.lexsort((first, -size))] = np.arange(len(size))
        return number[place]

    def summary(self) -> GraphSummary:
        """What to know before trusting the graph: duplicates, pieces, recall. Cost O(n k)."""
        pieces = np.bincount(self.components())
        listed = np.bincount(self.indices.ravel(), minlength=self.n)
        return GraphSummary(
            n=self.n,
            k=self.k,
            duplicates=self.duplicates,
            saturated=int(np.count_nonzero(self.distances[:, -1] == 0)),
            isolated=int(np.count_nonzero(listed == 0)),
            piece_sizes=tuple(int(size) for size in pieces),
            recall=self.measured_recall,
        )

    def geodesics(self, sources: ArrayLike | None = None) -> NDArray[np.floating]:
        """Lengths (s, n) of the shortest paths from some or all points to all others.

        Infinite where no path leads. `im.shortest_paths` has more to choose.

        Example:
            >>> neighbor_graph([[0.0], [1.0], [3.0], [3.5]], k=2).geodesics([0]).tolist()
            [[0.0, 1.0, 3.0, 3.5]]
        """
        from immersion.sampled.paths.shortest import shortest_paths

        return shortest_paths(self, sources)

    def laplacian(
        self,
        kind: Kind = "normalised",
        *,
        kernel: Kernel | None = None,
        alpha: float | None = None,
        dim: int | None = None,
    ) -> Laplacian:
        """The Laplacian of the graph or of the manifold it samples, as `im.laplacian` makes it.

        Example:
            >>> import immersion as im
            >>> path = neighbor_graph([[0.0], [1.0], [2.5]], k=1)
            >>> path.laplacian("combinatorial", kernel=im.UnitWeights()).matrix().toarray().tolist()
            [[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]]
        """
        from immersion.sampled.laplacian.operator import laplacian

        return laplacian(self, kind, kernel=kernel, alpha=alpha, dim=dim)

    def tangents(self, dim: int, rows: NDArray[np.int64] | None = None) -> TangentSpaces:
        """Tangent spaces at some or all points, as `im.tangent_spaces` estimates them.

        Example:
            >>> circle = np.exp(2j * np.pi * np.arange(60) / 60)
            >>> graph = neighbor_graph(np.column_stack([circle.real, circle.imag]), k=8)
            >>> bool(abs(graph.tangents(1).basis[0] @ [1.0, 0.0]).item() < 1e-6)
            True
        """
        from immersion.sampled.shape.spaces import tangent_spaces

        return tangent_spaces(self, dim, rows)

    def to_scipy(self, symmetric: Literal["union", "mutual"] | None = None) -> csr_array:
        """Graph (n, n) with the distances as weights; explicit zeros for duplicates.

        Args:
            symmetric: None is the directed graph, row i with the neighbours of i. "union" has an
                edge where either point lists the other, "mutual" where both do; rows are then
                sorted by index.

        Cost: O(n k), and O(n k log(n k)) for the symmetric ones.

        Example:
            >>> graph = neighbor_graph([[0.0], [1.0], [3.0]], k=1)
            >>> graph.to_scipy("mutual").toarray().tolist()
            [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
        """
        from scipy.sparse import csr_array

        if symmetric not in (None, "union", "mutual"):
            raise InputError(f"symmetric is 'union', 'mutual' or None, not {symmetric!r}")
        shape = (self.n, self.n)
        if symmetric is None:
            starts = np.arange(0, self.indices.size + 1, self.k)
            return csr_array((self.distances.ravel(), self.indices.ravel(), starts), shape=shape)
        # Each edge in both directions as one number; twice where both points list the other.
        rows = np.repeat(np.arange(self.n), self.k)
        columns = self.indices.ravel()
        keys = np.concatenate([rows * self.n + columns, columns * self.n + rows])
        order = np.argsort(keys, kind="stable")
        keys, weights = keys[order], np.tile(self.distances.ravel(), 2)[order]
        new = np.concatenate([[True], keys[1:] != keys[:-1]])
        both = np.concatenate([~new[1:], [False]])
        kept = np.flatnonzero(new & both if symmetric == "mutual" else new)
        # A manifold's dist(x, y) and dist(y, x) may differ in the last bit; the lesser is taken.
        least = np.where(both[kept], np.minimum(weights[kept], np.roll(weights, -1)[kept]),
                         weights[kept])  # fmt: skip
        starts = np.searchsorted(keys[kept], np.arange(self.n + 1) * self.n)
        return csr_array((least, keys[kept] % self.n, starts), shape=shape)

    def edges(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Edges (2, n k) int64 and their distances (n k,) as tensors.

        As in torch-geometric, an edge goes from the neighbour (row 0) to the point (row 1), so that
        messages reach a point from its neighbours.
        """
        target = np.repeat(np.arange(self.n), self.k)
        edges = np.stack([self.indices.ravel(), target])
        return torch.from_numpy(edges), torch.from_numpy(self.distances.ravel().copy())

    def to_pyg(self) -> Any:
        """A `torch_geometric.data.Data` with x, edge_index and edge_attr (the distances, (n k, 1)).

        Raises:
            InputError: torch-geometric is not installed; `edges` gives the same tensors without it.
        """
        try:
            from torch_geometric import data  # pyright: ignore
        except ImportError as error:
            raise InputError(
                "to_pyg needs torch-geometric (pip install torch-geometric); .edges() gives "
                "edge_index and distances as tensors without it"
            ) from error
        edges, weights = self.edges()
        x = torch.from_numpy(np.array(self.points)) if self.has_points else None
        return data.Data(  # pyright: ignore
            x=x, edge_index=edges, edge_attr=weights[:, None], num_nodes=self.n
        )

    def save(self, path: str | os.PathLike[str], *, points: bool = True) -> None:
        """Write the graph to a safetensors file, whole or not at all.

        Args:
            path: file to write; replaced when it exists.
            points: write the points too; without them the file has 12 n k bytes at most.

        Raises:
            OutputError: the file cannot be written.
        """
        from immersion.sampled.storage import write_graph

        write_graph(self, path, points)

    @staticmethod
    def load(
        path: str | os.PathLike[str],
        *,
        points: Points | None = None,
        manifold: GeodesicManifold | None = None,
    ) -> NeighborGraph:
        """The graph that `save` wrote, equal to the last bit.

        Args:
            path: file to read.
            points: the points, where the file was written without them.
            manifold: the metric, where it is a manifold; a file holds its description only.

        Raises:
            ReadError: missing, damaged or not a graph.
            InputError: points or manifold that do not go with the file.
        """
        from immersion.sampled.storage import read_graph

        return read_graph(path, points, manifold)

    @staticmethod
    def from_distances(
        matrix: ArrayLike | torch.Tensor, k: int, *, points: Points | None = None
    ) -> NeighborGraph:
        """The graph of a matrix of distances.

        Args:
            matrix: (n, n) distances, row i from point i, with a zero diagonal; an array, possibly
                mapped from a file, a tensor, or a scipy sparse matrix, where what is not stored is
                no neighbour, as is what is infinite. It need not be symmetric.
            k: neighbours a point.
            points: (n, D) the points themselves, for what needs them (tangents, pictures).

        Raises:
            InputError: not square, NaN, negative, similarities, a row with fewer than k neighbours.

        Example:
            >>> graph = NeighborGraph.from_distances([[0, 2, 1], [2, 0, 4], [1, 4, 0]], k=1)
            >>> graph.indices.ravel().tolist(), graph.metric
            ([2, 0, 0], 'precomputed')
        """
        from immersion.sampled.search.given import lists_from_distances

        who, near = lists_from_distances(matrix, k)
        own = points_of(points, len(who))
        return NeighborGraph(own, who, near, "precomputed", Given(), 1.0, 0.0, len(who))

    @staticmethod
    def from_neighbors(
        indices: ArrayLike, distances: ArrayLike, *, points: Points | None = None
    ) -> NeighborGraph:
        """The graph of neighbours that another library found.

        Args:
            indices: (n, k) neighbours of each point, in any order. Where lists hold the point
                itself, as scikit-learn's and faiss's do, each loses it, or its last entry where
                duplicates displaced the point: k becomes k - 1.
            distances: (n, k) their distances.
            points: (n, D) the points themselves, for what needs them.

        Raises:
            InputError: an index outside 0..n-1 (such as the -1 of a search that failed) or twice in
                a row; NaN, infinite or negative distances; shapes that differ.

        Example:
            >>> graph = NeighborGraph.from_neighbors([[0, 1], [1, 0]], [[0.0, 2.0], [0.0, 2.0]])
            >>> graph.indices.tolist(), graph.distances.tolist()
            ([[1], [0]], [[2.0], [2.0]])
        """
        from immersion.sampled.search.given import lists_from_neighbors

        who, near = lists_from_neighbors(indices, distances)
        own = points_of(points, len(who))
        return NeighborGraph(own, who, near, "precomputed", Given(), float("nan"), float("nan"), 0)


@dataclass(frozen=True)
class GraphSummary:
    """What to know before trusting a graph.

    Attributes:
        n: points.
        k: neighbours a point.
        duplicates: points that coincide with another one.
        saturated: points whose k neighbours all coincide with them: nothing beyond is seen.
        isolated: points that are in nobody's list, as outliers are.
        piece_sizes: sizes of the connected pieces, largest first.
        recall: share of the true neighbours found.
    """

    n: int
    k: int
    duplicates: int
    saturated: int
    isolated: int
    piece_sizes: tuple[int, ...]
    recall: Measurement

    @property
    def caveats(self) -> tuple[str, ...]:
        """One sentence for each thing that makes results on the graph doubtful."""
        pieces = len(self.piece_sizes)
        said = {
            f"{self.saturated} points have {self.k} duplicates or more and see nothing else; "
            "leave duplicates out": self.saturated > 0,
            f"the graph has {pieces} pieces, the largest with {self.piece_sizes[0]} of {self.n} "
            "points; no path leads from one to another": pieces > 1,
        }
        return tuple(text for text, holds in said.items() if holds) + self.recall.caveats

    def __str__(self) -> str:
        lines = [
            f"{self.n} points, {self.k} neighbours each, recall {self.recall}",
            f"{self.duplicates} duplicates, {self.isolated} in nobody's list, "
            f"{len(self.piece_sizes)} connected pieces",
        ]
        return "\n".join([*lines, *self.caveats])


def neighbor_graph(
    points: Points,
    k: int = 15,
    *,
    metric: MetricName | GeodesicManifold = "euclidean",
    search: Search | None = None,
    device: str | torch.device | None = None,
) -> NeighborGraph:
    """The graph of the k nearest neighbours.

    Distances are sums of squared differences in float64, rounded to float32 at the end; ties are
    ordered by index, so the graph does not depend on the engine or the number of threads. The
    cosine distance 1 - cos is half the squared distance of the directions, which keeps its digits
    where directions nearly agree. Distances of a manifold are its `dist`, in float64.

    Args:
        points: (n, D) array, tensor, nested list or path of a .npy file, of finite numbers;
            integers become float32 (float64 beyond 2^24), float16 is computed in float32, more axes
            than two are flattened into D. float32 and float64 arrays in C order that are mapped
            from a file stay there.
        k: neighbours a point, 1 <= k < n.
        metric: "euclidean", "cosine", or a manifold whose points (n, *point_shape) these are.
        search: `Exact()` by default; `IVF()` from about 100,000 points on, or `HNSW()`. What an
            approximate search misses is measured and stored: `recall`, `recall_stderr`.
        device: where torch searches exactly ("cuda"); the CPU by default.

    Raises:
        InputError: wrong shape or type, NaN or infinity (says where), k outside 1..n-1, points off
            the manifold, a zero vector under the cosine.

    Cost: exact, 2 n^2 D flops of matrix product and n k D of refinement; `IVF` about
    4 n^1.5 D n_probe flops. Memory O(n k) beside the points, and 4 n D up to 512 MB. A manifold's
    distances cost 0.1 to 1 microsecond a pair.

    Example:
        >>> graph = neighbor_graph([[0.0], [1.0], [3.0], [3.0]], k=2)
        >>> graph.indices.tolist()
        [[1, 2], [0, 2], [3, 1], [2, 1]]
        >>> graph.distances.tolist()
        [[1.0, 3.0], [1.0, 2.0], [0.0, 2.0], [0.0, 2.0]]
    """
    task = search_task(points, k, metric, search, device)
    (indices, distances), found = task.run(slice(0, len(task.points)))
    return graph_of(task, indices, distances, found, task.recall(distances))


def search_task(
    points: Points,
    k: int,
    metric: MetricName | GeodesicManifold,
    search: Search | None,
    device: str | torch.device | None,
) -> Task:
    """The search that `neighbor_graph` would do, with its input checked."""
    named = isinstance(metric, str) and metric in ("euclidean", "cosine")
    if not named and not isinstance(metric, GeodesicManifold):
        raise InputError(
            f"metric must be 'euclidean', 'cosine' or a geodesic manifold, not {metric!r}"
        )
    try:
        where = torch.device("cpu" if device is None else device)
    except RuntimeError as error:
        raise InputError(f"{device!r} is no device: {str(error).splitlines()[0]}") from error
    return Task(as_points(points), k, metric, Exact() if search is None else search, where)


def graph_of(
    task: Task,
    indices: NDArray[np.int64],
    distances: NDArray[np.float32],
    search: Search,
    recall: Recall,
) -> NeighborGraph:
    """The graph of a search that was done."""
    manifold = None if isinstance(task.metric, str) else task.metric
    return NeighborGraph(
        task.points, indices, distances, str(task.metric), search,
        recall.value, recall.stderr, recall.n, manifold,
    )  # fmt: skip


def as_graph(points: Points | NeighborGraph, k: int) -> NeighborGraph:
    """`points` itself when it is a graph with at least k neighbours, else the graph of the points.

    Raises:
        InputError: a graph with fewer than k neighbours: it would have to be searched again.
    """
    if not isinstance(points, NeighborGraph):
        return neighbor_graph(points, k)
    if points.k < k:
        raise InputError(f"the graph has {points.k} neighbours a point and {k} are needed")
    return points
