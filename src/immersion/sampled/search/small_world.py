"""Approximate search by faiss's hierarchical small-world graph, built the same way every time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.sampled import exact
from immersion.sampled.search import kernels
from immersion.sampled.search.sample import TUNING, recall_of, sample_rows

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from immersion.sampled.exact import Found
    from immersion.sampled.search.cloud import Cloud
    from immersion.sampled.search.kinds import HNSW

_SPARE = 12
"""Candidates beyond k, so that float32 rounding does not decide who is among the k."""
_MOST = 4096
"""Candidates beyond which exact search is the cheaper one."""


def nearest_by_links(cloud: Cloud, k: int, rows: slice, search: HNSW) -> tuple[Found, HNSW]:
    """Indices and squared distances (m, k) for some points, and the search with what it chose."""
    if not exact.has_faiss():
        raise InputError("HNSW needs faiss (pip install faiss-cpu); IVF() and Exact() do not")
    index = _built(cloud, search)
    ef = search.ef_search or _tuned(cloud, k, index, search.recall)
    ef = max(ef, k + 1 + _SPARE)  # a search holds at least as many candidates as it returns
    numbers = exact.numbers_of(rows)
    who, near = _found(cloud, k, index, numbers, ef)
    short = np.flatnonzero(who[:, -1] == len(cloud))
    if len(short):
        who[short], near[short] = exact.nearest(cloud, k, None, numbers[short])
    return (who, near), replace(search, ef_search=ef)


def _built(cloud: Cloud, search: HNSW) -> Any:
    import faiss

    index: Any = faiss.IndexHNSWFlat(cloud.points.shape[1], search.m)
    index.hnsw.efConstruction = search.ef_construction
    with _one_thread():
        index.add(cloud.coarse(slice(0, len(cloud))))
    return index


@contextmanager
def _one_thread() -> Generator[None]:
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _found(cloud: Cloud, k: int, index: Any, rows: NDArray[np.int64], ef: int) -> Found:
    """Lists of the k nearest among what a search with `ef` candidates finds."""
    import faiss

    m = min(len(cloud), k + 1 + _SPARE)
    settings: Any = faiss.SearchParametersHNSW(efSearch=ef)  # pyright: ignore
    everyone = np.arange(len(cloud))
    who, near = exact.empty_lists(len(rows), k, len(cloud))
    for part in row_chunks(len(rows), 4 * cloud.points.shape[1] + 12 * m, 1 << 26):
        block = exact.block_of(cloud, rows[part])
        _, found = index.search(block.coarse, m, params=settings)
        kernels.rank_candidates(
            block.points, block.inverse, block.ids, cloud.points, cloud.inverse, everyone,
            cloud.rounding.floor, found, everyone[: len(found)], near[part], who[part],
        )  # fmt: skip
    return who, near


def _tuned(cloud: Cloud, k: int, index: Any, recall: float) -> int:
    """As few candidates, doubling, as reach the recall less two standard errors on a sample.

    Where `_MOST` do not, links do not lead to every point (many duplicates): the graph's measured
    recall then says what was reached.
    """
    rows = sample_rows(len(cloud), TUNING, seed=2)
    _, true = exact.nearest(cloud, k, None, rows)
    ef = k + 1 + _SPARE
    while ef < min(_MOST, len(cloud)):
        _, near = _found(cloud, k, index, rows, ef)
        if recall_of(near <= true[:, -1:], len(cloud)).low >= recall:
            break
        ef *= 2
    return ef
