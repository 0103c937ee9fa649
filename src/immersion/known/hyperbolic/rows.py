"""When a method may run as a loop over rows outside torch, and the rows to run it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.autograd import forward_ad

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
    if first.numel() < FEWEST or torch.compiler.is_compiling():
        return None
    # torch has no public question for whether forward derivatives are being taken.
    if forward_ad._current_level >= 0:  # pyright: ignore[reportPrivateUsage]
        return None
    recording = torch.is_grad_enabled()
    for tensor in tensors:
        plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
        if not (plain and tensor.is_cpu) or tensor.shape != first.shape:
            return None
        if recording and tensor.requires_grad:
            return None
    try:
        return [
            tensor.detach().reshape(-1, tensor.shape[-1]).contiguous().numpy() for tensor in tensors
        ]
    except RuntimeError:  # a tensor of torch.func has no memory to show
        return None
