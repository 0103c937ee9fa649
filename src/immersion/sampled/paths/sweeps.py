"""Min-plus sweeps: shortest distances from a block of sources at once, without a heap.

Every point holds one label for each source of the block, so that relaxing an edge is one pass of
vector instructions over a row. A point whose labels fell since its last turn is active; sweeps go
through the points in one fixed order, forwards and backwards in turn, and each active point
relaxes its edges. A point takes about five turns on a 10k graph of ten neighbours, against a heap
operation for every edge and source in Dijkstra's algorithm.

The labels end at the least sum over all paths, rounded from the source outwards, which is unique:
neither the order of the sweeps nor the company of other sources changes a bit of them.

Labels are float64. In float32 a path of a hundred edges already errs by more than 1e-6 of its
length, for a gain of 1.4 times.

The relaxation of a row is spelled out as one vector operation: left to the compiler, a loop over 16
lanes is unrolled before it is vectorised, and the sweeps then take 2.5 times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

#: Sources of a block: 8 and 32 take 1.3 and 1.1 times as long a source.
LANES = 16

_TILE = 16
"""Columns written together: one cache line of float32."""


@intrinsic
def _relax(
    context: Any, labels: Any, near: Any, far: Any, length: Any
) -> tuple[Any, Callable[..., Any]]:
    """Lower row `far` of the labels to row `near` plus the edge; 1 when any lane fell, else 0.

    Equal to `fell = np.any(labels[near] + length < labels[far])` and
    `labels[far] = np.minimum(labels[near] + length, labels[far])`, for C-contiguous (n, LANES).
    """
    signature = types.uint8(labels, types.int64, types.int64, types.float64)
    row = ir.VectorType(ir.DoubleType(), LANES)
    lane = ir.IntType(32)
    everywhere = ir.Constant(ir.VectorType(lane, LANES), [0] * LANES)

    def generate(target: Any, builder: Any, typed: Any, arguments: Any) -> Any:
        array, i, j, weight = arguments
        data = target.make_array(typed.args[0])(target, builder, array).data

        def at(index: Any) -> Any:
            first = builder.gep(data, [builder.mul(index, ir.Constant(ir.IntType(64), LANES))])
            return builder.bitcast(first, row.as_pointer())

        here, there = at(i), at(j)
        # numpy promises the alignment of one number, not that of a vector
        start = builder.load(here, align=8)
        old = builder.load(there, align=8)
        none: Any = ir.Constant(row, cast("Any", ir.Undefined))
        one = builder.insert_element(none, weight, ir.Constant(lane, 0))
        through = builder.fadd(start, builder.shuffle_vector(one, none, everywhere))
        fell = builder.fcmp_ordered("<", through, old)
        builder.store(builder.select(fell, through, old), there, align=8)
        mask = builder.bitcast(fell, ir.IntType(LANES))
        any_fell = builder.icmp_unsigned("!=", mask, ir.Constant(ir.IntType(LANES), 0))
        return builder.zext(any_fell, ir.IntType(8))

    return signature, generate


@numba.njit(cache=True, nogil=True)
def sweep(
    starts: NDArray[np.int64],
    indices: NDArray[np.int32],
    lengths: NDArray[np.float64],
    sources: NDArray[np.int64],
    labels: NDArray[np.float64],
    active: NDArray[np.uint8],
) -> None:
    """Fill `labels` (n, LANES) with the distances from at most LANES sources, inf out of reach."""
    n = len(starts) - 1
    labels[:] = np.inf
    active[:] = 0
    for lane in range(len(sources)):
        labels[sources[lane], lane] = 0
        active[sources[lane]] = 1
    forwards = True
    changed = True
    while changed:
        changed = False
        for step in range(n):
            i = step if forwards else n - 1 - step
            if active[i] == 0:
                continue
            active[i] = 0
            changed = True
            for edge in range(starts[i], starts[i + 1]):
                j = np.int64(indices[edge])
                # numba passes the typing context itself
                active[j] |= _relax(labels, np.int64(i), j, lengths[edge])  # pyright: ignore[reportCallIssue]
        forwards = not forwards


@numba.njit(cache=True, nogil=True)
def write_rows(
    labels: NDArray[np.float64],
    position: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.floating],
) -> None:
    """out[rows[lane], i] = labels[position[i], lane], a tile of columns at a time."""
    n = len(position)
    for first in range(0, n, _TILE):
        last = min(n, first + _TILE)
        for lane in range(len(rows)):
            for i in range(first, last):
                out[rows[lane], i] = labels[position[i], lane]


@numba.njit(cache=True, nogil=True)
def write_tree(
    starts: NDArray[np.int64],
    indices: NDArray[np.int32],
    lengths: NDArray[np.float64],
    labels: NDArray[np.float64],
    order: NDArray[np.int64],
    sources: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.int32],
) -> None:
    """out[rows[lane], i]: the point before i on a shortest path, -1 at the source and out of reach.

    Breadth first from the source along the edges that are tight, that is whose label and length
    add to the label at the other end, to the last bit. Every point in reach has such a chain, and
    visiting each once keeps edges of length zero from closing a circle; of equally short paths one
    with the fewest edges is found.
    """
    n = len(starts) - 1
    queue = np.empty(n, np.int64)
    for lane in range(len(sources)):
        before = np.full(n, -1, np.int64)
        source = sources[lane]
        before[source] = source
        queue[0] = source
        read, filled = 0, 1
        while read < filled:
            i = queue[read]
            read += 1
            for edge in range(starts[i], starts[i + 1]):
                j = indices[edge]
                if before[j] < 0 and labels[i, lane] + lengths[edge] == labels[j, lane]:
                    before[j] = i
                    queue[filled] = j
                    filled += 1
        before[source] = -1
        for i in range(n):
            out[rows[lane], order[i]] = -1 if before[i] < 0 else order[before[i]]
