"""When a method may run as a loop over rows outside torch, and the rows to run it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from immersion.core.unwatched import unwatched

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

#: Fewer numbers than this are not worth the import of numba and the seconds that compiling takes,
#: once on a machine.
FEWEST = 1 << 13


def as_rows(*tensors: Tensor) -> list[NDArray[Any]] | None:
    """Arrays of shape (rows, n) with the values of the tensors; None where torch must do the work.

    That is for small tensors, off the CPU, of unequal shapes, while a gradient is recorded or a
    forward derivative taken, under `torch.compile`, and for tensors that stand for others, as under
    vmap or with a fake mode.
    """
    first = tensors[0]
    if first.numel() < FEWEST or not unwatched(*tensors):
        return None
    if not all(tensor.is_cpu and tensor.shape == first.shape for tensor in tensors):
        return None
    return [
        tensor.detach().reshape(-1, tensor.shape[-1]).contiguous().numpy() for tensor in tensors
    ]
