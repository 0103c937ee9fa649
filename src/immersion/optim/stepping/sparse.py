"""The rows of a table that a sparse gradient touches, and their part of the optimiser's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

#: Rows of a table for each entry of a gradient above which sorting the entries is cheaper than
#: memory for every row.
SPARSEST = 256


class Touched(NamedTuple):
    """Rows of a table, each named once, and the gradient there."""

    rows: Tensor
    gradient: Tensor

    def take(self, table: Tensor) -> Tensor:
        """A copy of these rows of a table."""
        return table.index_select(0, self.rows)

    def put(self, table: Tensor, values: Tensor) -> None:
        """Write these rows of a table."""
        table.index_copy_(0, self.rows, values)


def gradient_by_rows(parameter: Tensor, point_dimensions: int) -> Tensor | None:
    """The gradient of a parameter, sparse only where it names rows that hold whole points."""
    gradient = parameter.grad
    if gradient is None or not gradient.is_sparse:
        return gradient
    rows = gradient.sparse_dim() == 1 and parameter.ndim > point_dimensions
    return gradient if rows else gradient.to_dense()


@final
class Joiner:
    """Names each row of a table once, without the sorting that coalescing does.

    Every entry of a gradient leaves its number in a column as long as the table, where the last one
    of each row stays; the others are added to it in their order. The column is kept from one step
    to the next, as to have it anew costs more than to fill the entries.
    """

    def __init__(self) -> None:
        self._last = np.empty(0, dtype=np.int32)

    def touched(self, gradient: Tensor) -> Touched:
        """Rows of a table with a gradient that is sparse by rows, as `nn.Embedding` leaves it."""
        if not gradient.is_coalesced() and gradient.is_cpu and not torch.compiler.is_compiling():
            # Of a gradient that is not coalesced torch shows the parts under these names only.
            rows = gradient._indices()[0]  # pyright: ignore[reportPrivateUsage]
            values = gradient._values()  # pyright: ignore[reportPrivateUsage]
            if SPARSEST * len(rows) >= len(gradient):
                return self._joined(rows, values, len(gradient))
        gradient = gradient.coalesce()
        return Touched(gradient.indices()[0], gradient.values())

    def _joined(self, rows: Tensor, values: Tensor, size: int) -> Touched:
        if len(self._last) != size:
            self._last = np.empty(size, dtype=np.int32)
        named, numbers = rows.numpy(), np.arange(len(rows), dtype=np.int32)
        self._last[named] = numbers
        final = self._last[named]
        kept = final == numbers
        if kept.all():
            return Touched(rows, values)
        keep, repeated = (torch.from_numpy(np.flatnonzero(part)) for part in (kept, ~kept))
        places = torch.from_numpy((np.cumsum(kept) - 1)[final[~kept]])
        total = values.index_select(0, keep)
        total.index_add_(0, places, values.index_select(0, repeated))
        return Touched(rows.index_select(0, keep), total)
