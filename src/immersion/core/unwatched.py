"""Whether anything in torch follows what is done with some tensors, or their values are enough."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad


def unwatched(*tensors: object) -> bool:
    """Whether the tensors are plain values: nobody derives, transforms or records what is computed.

    False while a gradient by one of them is recorded or a forward derivative taken, under
    `torch.compile`, `torch.func` and any mode that sees operations, and for tensors of another
    type or without values. Then operations may be replaced by others that have the same result. It
    takes about a microsecond; arguments that are no tensors do not matter.
    """
    if torch.compiler.is_compiling():
        return False
    # torch has no public questions for these three.
    if (
        forward_ad._current_level >= 0  # pyright: ignore[reportPrivateUsage]
        or torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore
        or torch._C._len_torch_dispatch_stack() > 0  # pyright: ignore
    ):
        return False
    recording = torch.is_grad_enabled()
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor):
            continue
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.is_meta:
            return False
        if recording and tensor.requires_grad:
            return False
    return True
