"""Matrices with unit columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from immersion.core.errors import InputError
from immersion.core.metric import CurvedManifold
from immersion.known.combined.combination import CurvedCombination
from immersion.known.sphere import Sphere

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@final
@dataclass(frozen=True)
class Oblique(CurvedCombination):
    """n x p matrices whose p columns have unit length: a product of p spheres S^(n-1).

    The metric is that of the ambient space, so squared angles of the columns add up:
    dist(x, y)^2 = sum_j angle(x_j, y_j)^2. All methods cost O(n p). For unit rows, as those of the
    weight of a linear layer, see `Viewed` with `transposed=True`.

    Args:
        n: length of the columns, at least 2.
        p: number of columns, at least 1.
        retraction: "polar", every column of x + u divided by its length; or "exp".

    Raises:
        InputError: n below 2, p below 1, or an unknown retraction.

    Example:
        >>> import torch, immersion as im
        >>> im.Oblique(3, 2).dim
        4
        >>> im.Oblique(2, 2).proj(torch.tensor([[3.0, 0.0], [4.0, 2.0]]))
        tensor([[0.6000, 0.0000],
                [0.8000, 1.0000]])
    """

    n: int
    p: int
    retraction: Literal["polar", "exp"] = "polar"

    def __post_init__(self) -> None:
        if self.n < 2 or self.p < 1:
            raise InputError(
                f"Oblique(n, p) needs columns of length n >= 2 and p >= 1 of them, "
                f"not n = {self.n}, p = {self.p}"
            )
        if self.retraction not in ("polar", "exp"):
            raise InputError(f'Oblique: retraction is "polar" or "exp", not {self.retraction!r}')

    @property
    def parts(self) -> tuple[CurvedManifold, ...]:
        """The sphere of one column, once: the columns come as one batch."""
        return (Sphere(self.n - 1, self.retraction),)

    @property
    def dim(self) -> int:
        """p (n - 1)."""
        return self.p * (self.n - 1)

    @property
    def point_shape(self) -> tuple[int, ...]:
        """(n, p)."""
        return (self.n, self.p)

    def _split(self, x: Float[Tensor, "*b n p"]) -> Sequence[Tensor]:
        return (x.mT,)

    def _join(self, pieces: Sequence[Tensor]) -> Float[Tensor, "*b n p"]:
        return pieces[0].mT

    def _row(self, numbers: Sequence[Tensor]) -> Float[Tensor, "*b p"]:
        return numbers[0]

    def _repeats(self) -> tuple[int, ...]:
        return (self.p,)
