"""The rows of a table that a sparse gradient touches, and their part of the optimiser's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


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


def touched(gradient: Tensor) -> Touched:
    """Rows of a table with a gradient that is sparse by rows."""
    gradient = gradient.coalesce()
    return Touched(gradient.indices()[0], gradient.values())
