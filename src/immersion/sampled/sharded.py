"""The neighbour search shared out among the processes of torch.distributed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import distributed

from immersion.core.errors import ImmersionError, InputError
from immersion.sampled.graph import NeighborGraph, graph_of, search_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from immersion.core.metric import GeodesicManifold
    from immersion.sampled.graph import MetricName, Points
    from immersion.sampled.search.kinds import Search

_Said = TypeVar("_Said")
_Number = TypeVar("_Number", np.int64, np.float32)
_ALIGNED = 64
"""Shares begin at multiples of this: the height of a tile under a manifold."""


def sharded_neighbor_graph(
    points: Points,
    k: int = 15,
    *,
    metric: MetricName | GeodesicManifold = "euclidean",
    search: Search | None = None,
    device: str | torch.device | None = None,
    group: distributed.ProcessGroup | None = None,
) -> NeighborGraph:
    """The graph of `neighbor_graph`, bit for bit, with the queries shared out among processes.

    Started by `torchrun`, after `torch.distributed.init_process_group`. Every process gives the
    same points, best the path of a .npy file that all can read: each streams it as the base and
    searches the neighbours of its own share of the rows. All processes return the whole graph.

    Args:
        points: as for `neighbor_graph`, the same in every process.
        k: neighbours a point.
        metric: as for `neighbor_graph`.
        search: as for `neighbor_graph`; cells and links are built by every process.
        device: where torch searches exactly.
        group: the processes that take part; all by default. Backend gloo, or nccl on CUDA.

    Raises:
        InputError: as for `neighbor_graph`, in every process; no process group; points, k, metric
            or search that differ from process to process.

    Cost: that of `neighbor_graph` divided by the processes, except for the building of cells or
    links; each sends its 12 k bytes a row to all others.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        raise InputError(
            "no process group: start with torchrun and call "
            "torch.distributed.init_process_group('gloo'), or use neighbor_graph"
        )
    world, rank = distributed.get_world_size(group), distributed.get_rank(group)
    task, mark, problem = None, "", ""
    try:
        task = search_task(points, k, metric, search, device)
        mark = f"{task.points.shape} {task.points.dtype} k={k} {metric} {task.search}"
        mark += f" {_fingerprint(task.points)}"
    except ImmersionError as error:
        problem = str(error)
    marks = _told((mark, problem), world, group)
    _raise_any([trouble for _, trouble in marks], rank)
    assert task is not None
    for other, (said, _) in enumerate(marks):
        if said != mark:
            raise InputError(f"processes {rank} and {other} differ: {mark} and {said}")
    n = len(task.points)
    share = -(-n // (world * _ALIGNED)) * _ALIGNED
    rows = slice(min(n, rank * share), min(n, (rank + 1) * share))
    lists, found = None, task.search
    try:
        lists, found = task.run(rows)
    except ImmersionError as error:
        problem = str(error)
    # Without this, one process that stops here would leave the others waiting.
    _raise_any(_told(problem, world, group), rank)
    assert lists is not None
    indices = _gathered(lists[0], share, world, group)[:n]
    distances = _gathered(lists[1], share, world, group)[:n]
    return graph_of(task, indices, distances, found, task.recall(distances))


def _told(said: _Said, world: int, group: distributed.ProcessGroup | None) -> list[_Said]:
    """What every process said, in order."""
    heard: list[_Said] = [said] * world
    distributed.all_gather_object(heard, said, group=group)
    return heard


def _raise_any(problems: list[str], rank: int) -> None:
    """Raise, in every process, where one of them has a problem: its own first."""
    for other in (rank, *range(len(problems))):
        if problems[other]:
            said = problems[other]
            raise InputError(said if other == rank else f"process {other}: {said}")


def _gathered(
    own: NDArray[_Number], share: int, world: int, group: distributed.ProcessGroup | None
) -> NDArray[_Number]:
    """The rows of all processes in order; each sends `share` rows, the last filled up."""
    filled = np.zeros((share, own.shape[1]), own.dtype)
    filled[: len(own)] = own
    # nccl sends what lies on a GPU only.
    sent = torch.from_numpy(filled)
    sent = sent.cuda() if distributed.get_backend(group) == "nccl" else sent
    parts = [torch.empty_like(sent) for _ in range(world)]
    distributed.all_gather(parts, sent, group=group)
    return np.concatenate([part.cpu().numpy() for part in parts])


def _fingerprint(points: NDArray[np.floating]) -> str:
    """A digest of 256 rows: enough to see that processes were given other data."""
    import hashlib

    rows = np.linspace(0, len(points) - 1, min(256, len(points))).astype(np.int64)
    return hashlib.sha256(np.ascontiguousarray(points[rows]).tobytes()).hexdigest()[:16]
