"""A linear layer that keeps lengths, or never increases them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

import torch
from torch import nn
from torch.nn import functional

from immersion.core.errors import InputError
from immersion.known.constraints import constrain_
from immersion.known.orthonormal.stiefel import Stiefel

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@final
class OrthogonalLinear(nn.Module):
    """y = W x + b, where all singular values of W are 1.

    With out_features >= in_features the columns of W are orthonormal, and the layer keeps the
    length of every difference: |f(x) - f(x')| = |x - x'|. With fewer outputs the rows are, and the
    layer keeps the lengths of differences in their span and loses the rest, so that its Lipschitz
    constant is 1. Gradients keep their length in the same way, forward and back, at any depth.

    The weight is a plain parameter in the layout of `torch.nn.Linear`, so checkpoints go from one
    to the other. That it stays orthogonal is recorded by `constrain_` on `Stiefel` and is the work
    of the optimiser: train it with `RiemannianAdam`, `RiemannianSGD`, `POGO` or `ManifoldMuon`.
    Under one of torch's own optimisers it is an ordinary linear layer from the first step on. The
    forward pass costs what that of `torch.nn.Linear` costs, since the weight is not computed from
    other numbers, as it is in parametrisations.

    The weight starts uniformly distributed (Haar), as the polar factor of a normal matrix; the bias
    starts as in `torch.nn.Linear`. A layer made on the meta device starts when
    `reset_parameters()` is called after `to_empty()`.

    Args:
        in_features: length of an input.
        out_features: length of an output.
        bias: whether to add a bias, which is not constrained.
        device: where the parameters are.
        dtype: torch.float32 or torch.float64.

    Raises:
        InputError: a number of features below 1, or both 1.

    Example:
        >>> import immersion as im
        >>> layer = im.layers.OrthogonalLinear(3, 5, bias=False)
        >>> x = torch.tensor([[3.0, 0.0, 4.0]])
        >>> round(layer(x).norm().item(), 4)
        5.0
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if min(in_features, out_features) < 1 or in_features == out_features == 1:
            raise InputError(
                f"OrthogonalLinear({in_features}, {out_features}): numbers of features are at "
                "least 1, and one of them at least 2, for a single number can only keep its sign"
            )
        self.in_features = in_features
        self.out_features = out_features
        weight = torch.empty(out_features, in_features, device=device, dtype=dtype)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(weight.new_empty(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight and the bias anew."""
        nn.init.normal_(self.weight, generator=generator)
        constrain_(self, "weight", Stiefel)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            nn.init.uniform_(self.bias, -bound, bound, generator=generator)

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        """W x + b for each x along the last dimension."""
        return functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Numbers of features, and whether there is a bias."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"
