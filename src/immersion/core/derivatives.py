"""Derivatives of a batched map f: (n, *in) -> (n, *out) whose rows do not influence each other.

The rows of a network in evaluation mode are such. One pass then differentiates every row at once,
so a Jacobian with d columns costs d forward-mode passes over the batch, and one with m rows costs
m reverse-mode passes; no loop over points is needed.
"""

from __future__ import annotations

from collections.abc import Callable
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

    Raises:
        NotImplementedError: (from torch) an operation of `f` has no forward derivative.
    """
    # Attention's fused kernels have no forward derivative; its plain form has.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return torch.func.jvp(f, (z,), (u,))[1]


def jacobian_columns(
    f: BatchedMap, z: Float[Tensor, "n *i"], directions: Float[Tensor, "n d *i"]
) -> Float[Tensor, "n o d"]:
    """Df(z) applied to `d` directions a row, outputs flattened to `o`: d forward-mode passes."""
    columns = [directional(f, z, directions[:, j]).flatten(1) for j in range(directions.shape[1])]
    return torch.stack(columns, dim=-1)


def jacobian_rows(
    f: BatchedMap, z: Float[Tensor, "n *i"]
) -> tuple[Float[Tensor, "n o"], Float[Tensor, "n o i"]]:
    """Values and full Jacobian of every row by reverse mode, inputs and outputs flattened.

    Costs one backward pass an output: the better side when f has far fewer outputs than inputs,
    as the logits of a classifier have.
    """
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        values = f(z).flatten(1)
        rows = [
            torch.autograd.grad(values[:, j].sum(), z, retain_graph=j + 1 < values.shape[1])[0]
            for j in range(values.shape[1])
        ]
    return values.detach(), torch.stack([row.flatten(1) for row in rows], dim=1)
