"""A graph made ready for sweeps: its points in an order that keeps neighbours close in memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError
from immersion.core.host.threads import numba_threads
from immersion.sampled.paths.edges import EdgeGraph

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Plan:
    """The graph in reverse Cuthill-McKee order.

    Attributes:
        starts, indices, lengths: as in `EdgeGraph`, for the points in the new order.
        order: (n,) which point stands at each place.
        position: (n,) the place of each point.
    """

    starts: NDArray[np.int64]
    indices: NDArray[np.int32]
    lengths: NDArray[np.float64]
    order: NDArray[np.int64]
    position: NDArray[np.int64]

    @classmethod
    def of(cls, edges: EdgeGraph) -> Plan:
        """Order the points and their edges.

        Raises:
            InputError: lengths whose sum leaves the range of float32.
        """
        from scipy.sparse import csgraph

        longest = float(edges.lengths.max(initial=0)) * edges.n
        if longest > float(np.finfo(np.float32).max):
            raise InputError(
                f"the longest edge, {edges.lengths.max():.3g}, times {edges.n} points leaves the "
                "range of float32; divide the points or weights by a constant"
            )
        # The ordering looks at the pattern alone, and would drop edges of length zero.
        pattern: Any = edges.to_scipy()
        pattern.data = np.ones(pattern.nnz, np.int8)
        found = cast(
            "NDArray[np.int32]", csgraph.reverse_cuthill_mckee(pattern, symmetric_mode=True)
        )
        order = found.astype(np.int64)
        position = np.empty_like(order)
        position[order] = np.arange(edges.n)
        degrees = edges.degrees[order]
        starts = np.concatenate([[0], np.cumsum(degrees)])
        slots = np.repeat(edges.starts[order] - starts[:-1], degrees) + np.arange(int(starts[-1]))
        return cls(
            starts,
            position[edges.indices[slots]].astype(np.int32),
            edges.lengths[slots].astype(np.float64),
            order,
            position,
        )

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.order)

    def solve(
        self,
        sources: NDArray[np.int64],
        distances: NDArray[np.floating],
        predecessors: NDArray[np.int32] | None,
        budget: int,
        device: str | torch.device | None,
        advance: Callable[[int], None],
    ) -> None:
        """Write the distances (s, n), and the predecessors (s, n) where they are wanted.

        Args:
            sources: (s,) points of the graph.
            distances: (s, n) to write.
            predecessors: (s, n) to write, or None; not on a device.
            budget: bytes for the labels; one block of sources on one thread is the least.
            device: where torch computes, or None for compiled sweeps on the CPU.
            advance: is called with the number of sources done.
        """
        # Each source once, in the order of the graph: near sources share their active points.
        places, first = np.unique(self.position[sources], return_index=True)
        if device is not None:
            from immersion.sampled.paths.device import solve

            solve(self, places, first, distances, budget, device, advance)
        else:
            self._sweep(places, first, distances, predecessors, budget, advance)
        row_of = dict(zip(places.tolist(), first.tolist(), strict=True))
        if len(places) < len(sources):
            for row, place in enumerate(self.position[sources].tolist()):
                if (done := row_of[place]) != row:
                    distances[row] = distances[done]
                    if predecessors is not None:
                        predecessors[row] = predecessors[done]
            advance(len(sources) - len(places))

    def _sweep(
        self,
        places: NDArray[np.int64],
        rows: NDArray[np.int64],
        distances: NDArray[np.floating],
        predecessors: NDArray[np.int32] | None,
        budget: int,
        advance: Callable[[int], None],
    ) -> None:
        from immersion.sampled.paths.sweeps import LANES, sweep, write_rows, write_tree

        blocks = [slice(at, at + LANES) for at in range(0, len(places), LANES)]
        threads = min(numba_threads(), max(1, budget // max(1, 8 * self.n * LANES)))
        # A pool of scratch arrays, one a thread, that blocks take and give back.
        scratch: SimpleQueue[tuple[NDArray[np.float64], NDArray[np.uint8]]] = SimpleQueue()
        for _ in range(min(threads, len(blocks))):
            scratch.put((np.empty((self.n, LANES)), np.empty(self.n, np.uint8)))

        def solved(block: slice) -> int:
            labels, active = scratch.get()
            chosen = places[block]
            graph = self.starts, self.indices, self.lengths
            sweep(*graph, chosen, labels, active)
            write_rows(labels, self.position, rows[block], distances)
            if predecessors is not None:
                write_tree(*graph, labels, self.order, chosen, rows[block], predecessors)
            scratch.put((labels, active))
            return len(chosen)

        with ThreadPoolExecutor(max(1, threads)) as pool:
            for done in pool.map(solved, blocks):
                advance(done)
