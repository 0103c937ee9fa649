"""The kinds of search a user can choose, and what was chosen in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from immersion.core.errors import InputError

Engine = Literal["faiss", "torch"]


@dataclass(frozen=True)
class Exact:
    """Exact search. `engine` None is faiss on the CPU where it is installed, else chunked torch."""

    engine: Engine | None = None

    def __post_init__(self) -> None:
        if self.engine not in (None, "faiss", "torch"):
            raise InputError(f"engine is 'faiss', 'torch' or None, not {self.engine!r}")


@dataclass(frozen=True)
class IVF:
    """Approximate search in lists: k-means cells, of which every point searches the nearest few.

    All points that search a cell are compared with it in one matrix product, which costs a third
    to a tenth of comparing them point by point; within the cells searched the result is exact.
    The choice from about 100,000 points on, where their intrinsic dimension is below about 20.

    Args:
        n_lists: cells; 1.5 sqrt(n) by default.
        n_probe: cells that a point searches; by default as few as reach `recall`.
        recall: share of the true neighbours to find. `n_probe` is tuned on a sample so that the
            estimate less two standard errors reaches it; the recall the graph states is measured
            on another sample.
    """

    n_lists: int | None = None
    n_probe: int | None = None
    recall: float = 0.99

    def __post_init__(self) -> None:
        _require_positive("IVF", n_lists=self.n_lists, n_probe=self.n_probe)
        _require_share("IVF", self.recall)


@dataclass(frozen=True)
class HNSW:
    """Approximate search in a hierarchical small-world graph (faiss).

    Built by one thread: built by several it differs from run to run (faiss issue 2548). Queries
    run on all threads. Where `IVF` needs many cells (high intrinsic dimension), this needs fewer
    comparisons, at 4 D + 8 m bytes a point.

    Args:
        m: links a point.
        ef_construction: candidates held while building.
        ef_search: candidates held while searching, at least k + 13; by default doubled from there
            until `recall` is reached, up to 4096.
        recall: as for `IVF`.
    """

    m: int = 16
    ef_construction: int = 80
    ef_search: int | None = None
    recall: float = 0.99

    def __post_init__(self) -> None:
        _require_positive(
            "HNSW", m=self.m, ef_construction=self.ef_construction, ef_search=self.ef_search
        )
        if self.m < 2:
            raise InputError(f"HNSW: m must be at least 2, not {self.m}")
        _require_share("HNSW", self.recall)


@dataclass(frozen=True)
class Given:
    """No search: the caller gave the neighbours or the distances."""


Search = Exact | IVF | HNSW | Given
KINDS: dict[str, type[Search]] = {kind.__name__: kind for kind in (Exact, IVF, HNSW, Given)}


def _require_positive(kind: str, **counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{kind}: {name} must be at least 1, not {count}")


def _require_share(kind: str, recall: float) -> None:
    if not 0 < recall < 1:
        raise InputError(
            f"{kind}: recall lies between 0 and 1, not {recall}; Exact() finds every neighbour"
        )
