"""A table of points of hyperbolic space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast, final

import torch
from torch import nn
from torch.nn import functional

from immersion.core.errors import InputError
from immersion.known.constraints import constrain_
from immersion.known.hyperbolic.log_hyperbolic import LogHyperbolic
from immersion.known.hyperbolic.lorentz import Lorentz
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.layers.hyperbolic_curvature import LearnableCurvature, as_curvature, current

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    Model = Literal["poincare", "log", "lorentz"]

_MODELS = {"poincare": PoincareBall, "log": LogHyperbolic, "lorentz": Lorentz}


@final
class HyperbolicEmbedding(nn.Module):
    """An embedding table whose rows are points of hyperbolic space.

    The weight is a plain parameter, recorded by `constrain_`; train it with `RiemannianAdam` or
    `RiemannianSGD`, which keep it on the manifold. Distances come from `manifold()`.

    Args:
        num_embeddings: number of points.
        embedding_dim: dimension of the space.
        curvature: a negative number, or a `LearnableCurvature`.
        model: how points are stored: "poincare", the ball, for what expects its coordinates, good
            to radius 12 in float32; "log", `LogHyperbolic`, for float32 farther out; "lorentz", the
            hyperboloid, with rows of embedding_dim + 1 numbers.
        sparse: whether gradients touch the rows looked up only; for large tables.
        device: where the weight is.
        dtype: torch.float32 or torch.float64.

    Attributes:
        weight: (num_embeddings, embedding_dim), one more column with "lorentz".

    Example:
        >>> import immersion as im
        >>> table = im.layers.HyperbolicEmbedding(1000, 5, sparse=True)
        >>> optimizer = im.RiemannianAdam(table, lr=0.01)
        >>> x = table(torch.tensor([3, 14, 15]))
        >>> table.manifold().dist(x[0], x[1:]).shape
        torch.Size([2])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        curvature: float | LearnableCurvature = -1.0,
        model: Model = "poincare",
        sparse: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if num_embeddings < 1 or embedding_dim < 1:
            raise InputError(
                f"HyperbolicEmbedding needs sizes of at least 1, not {num_embeddings} and "
                f"{embedding_dim}"
            )
        if model not in _MODELS:
            raise InputError(
                f'HyperbolicEmbedding: model is "poincare", "log" or "lorentz", not {model!r}'
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.curvature = as_curvature(curvature, "HyperbolicEmbedding")
        self.model: Model = model
        self.sparse = sparse
        shape = self.manifold().point_shape
        self.weight = nn.Parameter(torch.empty(num_embeddings, *shape, device=device, dtype=dtype))
        self.reset_parameters()
        learnt = isinstance(self.curvature, LearnableCurvature)
        constrain_(self, "weight", _manifold_now if learnt else self.manifold())

    def reset_parameters(
        self, spread: float = 1e-3, generator: torch.Generator | None = None
    ) -> None:
        """Draw the points anew: a normal vector at the origin, through exp.

        Args:
            spread: its standard deviation, a distance in each direction. Small, since a point that
                starts far out turns slowly (Nickel and Kiela 2017).
            generator: what draws them.
        """
        with torch.no_grad():
            space = self.manifold()
            origin = space.proj(torch.zeros_like(self.weight))
            self.weight.copy_(space.wrapped_normal(origin, spread, generator=generator))

    def manifold(self) -> PoincareBall | LogHyperbolic | Lorentz:
        """The space, at the curvature that holds now."""
        return _MODELS[self.model](self.embedding_dim, current(self.curvature))

    def forward(self, index: Int[Tensor, "*b"]) -> Float[Tensor, "*b m"]:
        """The points of these rows.

        Raises:
            InputError: the index is not of an integer type.
        """
        if index.dtype not in (torch.int64, torch.int32):
            raise InputError(
                f"HyperbolicEmbedding: the index is {index.dtype}; give int64 or int32, for "
                "example index.long()"
            )
        return functional.embedding(index, self.weight, sparse=self.sparse)

    def extra_repr(self) -> str:
        """Sizes, storage, and the curvature where it is a number."""
        fixed = "" if isinstance(self.curvature, nn.Module) else f", curvature={self.curvature}"
        return (
            f"{self.num_embeddings}, {self.embedding_dim}, model={self.model!r}, "
            f"sparse={self.sparse}{fixed}"
        )


def _manifold_now(module: nn.Module) -> PoincareBall | LogHyperbolic | Lorentz:
    """At the top of the file, so that a module that records it can be pickled."""
    return cast("HyperbolicEmbedding", module).manifold()
