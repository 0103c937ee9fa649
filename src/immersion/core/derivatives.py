"""Derivatives of a batched map f: (n, *in) -> (n, *out) whose rows do not influence each other.

The rows of a network in evaluation mode are such. One pass then differentiates every row at once,
so a Jacobian with d columns costs d forward-mode passes over the batch, and one with m rows costs
m reverse-mode passes; no loop over points is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

BatchedMap = Callable[["Tensor"], "Tensor"]


def directional(
    f: BatchedMap, z: Float[Tensor, "n *i"], u: Float[Tensor, "n *i"]
) -> Float[Tensor, "n *o"]:
    """Directional derivative Df(z)[u] of every row by forward mode, in one pass.

    Differentiable again in reverse mode where the operations of `f` allow it. Neither `z` nor `u`
    is changed by an `f` that works in place.

    Raises:
        NotImplementedError: (from torch) an operation of `f` has no forward derivative.
    """
    with _plain_kernels():
        try:
            return torch.func.jvp(f, (z.clone(),), (u.clone(),))[1]
        except NotImplementedError as error:
            if "mkldnn" not in str(error):
                raise
        # The fused LSTM has no forward derivative; the plain one has. Convolutions have it in both
        # and are faster fused, so this is the second try.
        with torch.backends.mkldnn.flags(enabled=False):
            return torch.func.jvp(f, (z.clone(),), (u.clone(),))[1]


def jacobian_columns(
    f: BatchedMap, z: Float[Tensor, "n *i"], directions: Float[Tensor, "n d *i"]
) -> Float[Tensor, "n o d"]:
    """Df(z) applied to `d` directions a row, outputs flattened to `o`: d forward-mode passes."""
    columns = [_flat(directional(f, z, directions[:, j])) for j in range(directions.shape[1])]
    return torch.stack(columns, dim=-1)


def jacobian_rows(
    f: BatchedMap, z: Float[Tensor, "n *i"]
) -> tuple[Float[Tensor, "n o"], Float[Tensor, "n o i"]]:
    """Values and full Jacobian of every row by reverse mode, inputs and outputs flattened.

    Costs one backward pass an output: the better side when f has far fewer outputs than inputs,
    as the logits of a classifier have. Outputs that do not depend on z have zero rows.
    """
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        # f may work in place, which a leaf of the graph refuses.
        values = _flat(f(z.clone()))
        if not values.requires_grad:
            return values, z.new_zeros(*values.shape, math.prod(z.shape[1:]))
        last = values.shape[1] - 1
        rows = [
            torch.autograd.grad(
                values[:, j].sum(), z, retain_graph=j < last, materialize_grads=True
            )[0]
            for j in range(values.shape[1])
        ]
    return values.detach(), torch.stack([_flat(row) for row in rows], dim=1)


def _flat(rows: Float[Tensor, "n *o"]) -> Float[Tensor, "n o"]:
    """Each row as a vector: of length 1 where it is a number, and also where there is no row."""
    return rows.reshape(len(rows), math.prod(rows.shape[1:]))


@contextmanager
def _plain_kernels() -> Generator[None]:
    """Attention in its plain form: its fused kernels have no forward derivative."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
