"""Approximate search in k-means cells: cells are compared with all points that search them.

Training and assignment use the exact search of `sampled.exact`, so the cells, and with them the
graph, are the same for any number of threads. Source of the method: Jegou, Douze and Schmid,
Product quantization for nearest neighbor search (2011), inverted file without compression. Unlike
an index that answers one query at a time, a cell and its queries meet in one matrix product.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from immersion.core.chunking import row_chunks
from immersion.sampled import exact
from immersion.sampled.search import kernels
from immersion.sampled.search.sample import TUNING, recall_of, sample_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from immersion.sampled.exact import Candidates, Found
    from immersion.sampled.search.cloud import Cloud
    from immersion.sampled.search.kinds import IVF

_TRAINED = 64
"""Points a cell that k-means looks at."""
_ROUNDS = 10
"""Rounds of k-means; more change the recall at equal work by less than .002."""
_SPARE = 1
"""Centres beyond those sought: few points lie so near the middle between two that more help."""
_HELD = 1 << 26
"""Bytes of points of a cell, or of those that search it, held at a time."""


def nearest_in_cells(
    cloud: Cloud, k: int, candidates: Candidates, rows: slice, search: IVF
) -> tuple[Found, IVF]:
    """Indices and squared distances (m, k) for some points, and the search with what it chose."""
    n = len(cloud)
    n_lists = min(n, search.n_lists or max(1, round(1.5 * math.sqrt(n))))
    centres = _trained(cloud, n_lists, candidates)
    n_probe = search.n_probe or _tuned(cloud, k, centres, candidates, search.recall)
    n_probe = min(n_probe, n_lists)
    probes = _nearest_cells(cloud, rows, centres, n_probe, candidates)
    everyone = slice(0, n)
    own = probes[:, :1]
    if rows != everyone:
        own = _nearest_cells(cloud, everyone, centres, 1, candidates)
    starts, members = kernels.group_by_cell(np.ascontiguousarray(own), n_lists)
    who, near = exact.empty_lists(rows.stop - rows.start, k, n)
    # The own cell first: it brings the lists near their end, and later cells find little to insert.
    for ranks in (slice(0, 1), slice(1, n_probe)):
        bounds, asking = kernels.group_by_cell(np.ascontiguousarray(probes[:, ranks]), n_lists)
        for cell in range(n_lists):
            inside = members[starts[cell] : starts[cell + 1]]
            queries = asking[bounds[cell] : bounds[cell + 1]] + rows.start
            if len(inside) and len(queries):
                _compare(cloud, queries, inside, rows.start, who, near)
    short = np.flatnonzero(who[:, -1] == n)
    if len(short):
        who[short], near[short] = exact.nearest(cloud, k, None, short + rows.start)
    return (who, near), replace(search, n_lists=n_lists, n_probe=n_probe)


def _compare(
    cloud: Cloud,
    queries: NDArray[np.int64],
    members: NDArray[np.int64],
    first: int,
    who: NDArray[np.int64],
    near: NDArray[np.float64],
) -> None:
    """Bring the lists of the queries up to date with the members of one cell.

    `first` is the point that the lists' first row belongs to.
    """
    width = (4 + cloud.points.itemsize) * cloud.points.shape[1]
    for held in row_chunks(len(members), width, _HELD):
        base = exact.block_of(cloud, members[held])
        for part in row_chunks(len(queries), width, _HELD):
            asking = exact.block_of(cloud, queries[part])
            exact.compare(
                asking, base, np.arange(len(asking.ids)), asking.ids - first, who, near,
                cloud.rounding,
            )  # fmt: skip


def _trained(cloud: Cloud, n_lists: int, candidates: Candidates) -> NDArray[np.float32]:
    """Centres (n_lists, D) of cells by Lloyd's rounds on a sample, which starts them too."""
    sample = cloud.coarse(sample_rows(len(cloud), _TRAINED * n_lists, seed=0))
    centres = sample[sample_rows(len(sample), n_lists, seed=1)]
    asking = exact.plain_block(sample, asks=True)
    for _ in range(_ROUNDS):
        who, near = exact.empty_lists(len(sample), 1, n_lists)
        base = exact.plain_block(centres, asks=False)
        exact.search_block(asking, base, candidates, who, near, exact.Rounding(), _SPARE)
        # An empty cell keeps its centre.
        centres = centres.copy()
        kernels.fill_cell_means(sample, who[:, 0], np.zeros(centres.shape), centres)
    return centres


def _nearest_cells(
    cloud: Cloud,
    rows: slice | NDArray[np.int64],
    centres: NDArray[np.float32],
    count: int,
    candidates: Candidates,
) -> NDArray[np.int32]:
    """The `count` cells (m, count) nearest to some points, nearest first."""
    numbers = exact.numbers_of(rows) if isinstance(rows, slice) else rows
    base = exact.plain_block(centres, asks=False)
    cells = np.empty((len(numbers), count), np.int32)
    for part in row_chunks(len(numbers), 4 * centres.shape[1] + 24 * (count + 13), 1 << 26):
        chosen = numbers[part]
        # A slice is read in order where the points are mapped from a file.
        asked = (
            slice(rows.start + part.start, rows.start + part.stop)
            if isinstance(rows, slice)
            else chosen
        )
        who, near = exact.empty_lists(len(chosen), count, len(centres))
        asking = exact.plain_block(cloud.coarse(asked), asks=True)
        exact.search_block(asking, base, candidates, who, near, exact.Rounding(), _SPARE)
        cells[part] = who
    return cells


def _tuned(
    cloud: Cloud, k: int, centres: NDArray[np.float32], candidates: Candidates, recall: float
) -> int:
    """The least number of cells that reaches the recall, less two standard errors, on a sample.

    A true neighbour is found when its cell is among those searched: so the rank of its cell in the
    order of a point's cells says how many must be.
    """
    rows = sample_rows(len(cloud), TUNING, seed=2)
    true, _ = exact.nearest(cloud, k, None, rows)
    others, place = np.unique(true, return_inverse=True)
    cell = _nearest_cells(cloud, others, centres, 1, candidates)[place.reshape(true.shape), 0]
    order = _nearest_cells(cloud, rows, centres, len(centres), candidates)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(len(centres), dtype=np.int32)[None], axis=1)
    needed = np.take_along_axis(rank, cell, axis=1) + 1
    low, high = 1, len(centres)
    while low < high:
        middle = (low + high) // 2
        if recall_of(needed <= middle, len(cloud)).low >= recall:
            high = middle
        else:
            low = middle + 1
    return low
