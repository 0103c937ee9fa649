"""Matrices of one rank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.autograd import Function

from immersion.core.errors import InputError
from immersion.core.linalg import broadcast, orthonormal_columns
from immersion.core.metric import Manifold
from immersion.core.scalars import safe_sqrt
from immersion.known.definite.matrix_functions import (
    Spectrum,
    finite_part,
    matrix_derivative,
    spectrum,
    zero_with_gradient,
)
from immersion.known.orthonormal.polar import polar

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: Columns that a sketch has beyond the rank it has to find.
OVERSAMPLED = 4


@dataclass(frozen=True)
class FixedRank(Manifold):
    """m x n matrices of exactly that rank r, with the metric of the ambient space.

    Points and tangent vectors are dense and have shape (m, n). With x = U S V^T the tangent vectors
    at x are those without a part outside both the column space U and the row space V:

        to_tangent(x, a) = a - (I - U U^T) a (I - V V^T)

    Its dimension is r (m + n - r). The metric projection keeps the r largest singular values; it is
    the retraction too, of second order. Neither exp nor dist has a closed form. The set is not
    closed: matrices of lower rank lie in its closure, and near one, where the least singular value
    is small, the manifold bends with a radius of that size.

    proj costs a singular value decomposition, O(m n min(m, n)). Everything else costs O(m n r): x
    and x + u have rank r and at most 2r, so that their singular vectors follow from a sketch, their
    product with a few fixed columns, and a decomposition of size 2r + 4. The fixed columns are as
    good as random; a matrix made against them would be seen by `violation` after the step.

    Derivatives hold at repeated singular values: projectors, not vectors, are differentiated, and
    what is divided by is the gap between the singular values kept and dropped. The derivative of
    proj and retract costs an eigendecomposition of size m + n. Where the gap is zero, so that the
    projection is not unique, values and gradients are finite.

    Source: Vandereycken, "Low-rank matrix completion by Riemannian optimization", 2013; Feppon and
    Lermusiaux, "A geometric approach to dynamical model order reduction", 2018.

    Args:
        m: rows.
        n: columns.
        rank: r, from 1 to min(m, n).

    Example:
        >>> import immersion as im
        >>> space = im.FixedRank(2, 3, 1)
        >>> x = space.proj(torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
        >>> x
        tensor([[3., 0., 0.],
                [0., 0., 0.]])
        >>> space.to_tangent(x, torch.ones(2, 3))
        tensor([[1., 1., 1.],
                [1., 0., 0.]])
    """

    m: int
    n: int
    rank: int

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= min(self.m, self.n):
            raise InputError(
                "FixedRank(m, n, rank) needs a rank from 1 to min(m, n), "
                f"not m={self.m}, n={self.n}, rank={self.rank}"
            )

    @property
    def dim(self) -> int:
        """Dimension r (m + n - r)."""
        return self.rank * (self.m + self.n - self.rank)

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape (m, n)."""
        return (self.m, self.n)

    def inner(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b"]:
        """Sum of the products of the entries, whatever x."""
        return (u * v).sum((-2, -1))

    def proj(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The r largest singular values and their vectors.

        Singular values below 10 sqrt(m + n) eps of the largest are raised to twice that, since a
        matrix of lower rank has no nearest point; of the zero matrix they become 1.
        """
        return _truncated(x, _leading(x, self.rank, min(self.m, self.n)))

    def to_tangent(
        self, x: Float[Tensor, "*b m n"], a: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """a - (I - U U^T) a (I - V V^T)."""
        return _without_normal(*_spaces(x, self.rank), a)

    def egrad2rgrad(
        self, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """Tangent part of g."""
        return self.to_tangent(x, g)

    def christoffel(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """Zero: the metric is that of the ambient space."""
        return torch.zeros_like(x + u + v)

    def retract(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """proj(x + u), for tangent u; by a sketch, which another u would lose parts of."""
        return _truncated(x + u, _leading(x + u, self.rank, 2 * self.rank))

    def transport(
        self, x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> Float[Tensor, "*b m n"]:
        """R v Q^T with the shortest rotations R and Q of the column and the row space of x to y's.

        An isometry that does not depend on a path, and not parallel transport. Where a principal
        angle is a right one, and several rotations are shortest, it takes one of them.
        """
        (U, V), (Y, Z) = _spaces(x, self.rank), _spaces(y, self.rank)
        return _turned(V, Z, _turned(U, Y, v).mT).mT

    def carry(
        self, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"], v: Float[Tensor, "*b m n"]
    ) -> tuple[Float[Tensor, "*b m n"], Float[Tensor, "*b m n"]]:
        """The step, and the projection of v to the tangent space there."""
        leading = _leading(x + u, self.rank, 2 * self.rank)
        y = _truncated(x + u, leading)
        return y, _without_normal(*_bases(y, leading[2]), v)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b m n"]:
        """A B^T / sqrt(r) with normal m x r and n x r matrices: entries of variance 1."""
        shape = (*batch, self.m + self.n, self.rank)
        factors = torch.randn(shape, generator=generator, dtype=dtype, device=device)
        a, b = factors[..., : self.m, :], factors[..., self.m :, :]
        return a @ b.mT / math.sqrt(self.rank)

    def random_tangent(
        self, x: Float[Tensor, "*b m n"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b m n"]:
        """Normal ambient matrices, projected."""
        a = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return self.to_tangent(x, a)

    def violation(self, x: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
        """Norm of the singular values beyond r, relative to the largest; 1 more if rank is missing.

        Rank is missing where the r-th is below 10 sqrt(m + n) eps of the largest. Relative, because
        the set has no scale of its own. NaN has NaN.
        """
        safe, finite = finite_part(x)
        values = cast("Tensor", torch.linalg.svdvals(safe))
        largest = values[..., 0]
        rest = safe_sqrt(values[..., self.rank :].square().sum(-1))
        relative = rest / torch.where(largest > 0, largest, 1)
        missing = values[..., self.rank - 1] <= _least_ratio(self.m, self.n, x.dtype) * largest
        return torch.where(finite[..., 0, 0], relative + missing.to(x.dtype), torch.nan)


def _spaces(x: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Orthonormal bases of the column and row space of x of that rank, smooth in x."""
    return _bases(x, _leading(x, rank, rank)[2])


def _bases(x: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The same from a basis of the row space, which need not carry a gradient.

    x V and x^T U have full rank, and the bases that QR makes of them are differentiable to any
    order, whether singular values repeat or not. What is built of the bases does not depend on
    which they are.
    """
    U = orthonormal_columns(x @ start)
    return U, orthonormal_columns(x.mT @ U)


def _without_normal(U: Tensor, V: Tensor, a: Tensor) -> Tensor:
    """a - (I - U U^T) a (I - V V^T)."""
    outside = a - U @ (U.mT @ a)
    return a - outside + (outside @ V) @ V.mT


def _turned(start: Tensor, end: Tensor, v: Tensor) -> Tensor:
    """R v for the shortest rotation R of one column space to another, both given by bases.

    R reflects twice: in the first space, and in the one halfway. That is spanned by the sum of two
    bases as near to each other as can be.
    """
    v, _ = broadcast(v, start[..., :1])
    nearest = end @ polar(end.mT @ start)
    halfway = orthonormal_columns(start + nearest)
    v = v - 2 * (start @ (start.mT @ v))
    return v - 2 * (halfway @ (halfway.mT @ v))


def _least_ratio(m: int, n: int, dtype: torch.dtype) -> float:
    """Least over largest singular value below which rank counts as missing: rounding."""
    return 10 * math.sqrt(m + n) * torch.finfo(dtype).eps


def _leading(x: Tensor, rank: int, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """U (m, r), singular values (r,), V (n, r) of the r largest, without gradient.

    x has rank at most `most`. The column space of a wide enough sketch x W is that of x, and its
    singular vectors follow from a small matrix; where it would not be small, x is decomposed.
    """
    x = x.detach()
    m, n = x.shape[-2:]
    width = most + OVERSAMPLED
    if 2 * width >= min(m, n):
        left, values, right = _decomposed(x)
    else:
        Q = orthonormal_columns(x @ _columns(n, width, x))
        W = orthonormal_columns(x.mT @ Q)
        left, values, right = _decomposed(Q.mT @ (x @ W))
        left, right = Q @ left, W @ right
    return left[..., :rank], values[..., :rank], right[..., :rank]


def _decomposed(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, S, V of x = U S V^T; S is NaN, and no error, where x is not finite."""
    safe, finite = finite_part(x)
    U, S, rows = cast("tuple[Tensor, ...]", torch.linalg.svd(safe, full_matrices=False))
    return U, torch.where(finite.squeeze(-1), S, torch.nan), rows.mT


def _columns(n: int, width: int, like: Tensor) -> Tensor:
    """A fixed n x width matrix without structure: sines of large angles, beyond their period."""
    rows = torch.arange(1, n + 1, dtype=torch.float64, device=like.device).unsqueeze(-1)
    columns = torch.arange(1, width + 1, dtype=torch.float64, device=like.device)
    return torch.sin(1e4 * torch.sin(math.sqrt(2) * rows + math.sqrt(3) * rows * columns)).to(
        like.dtype
    )


def _truncated(x: Tensor, leading: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Nearest matrix of the rank of the leading singular vectors of x, with all derivatives."""
    if not torch.compiler.is_compiling():
        return cast("Tensor", _Truncation.apply(x, *leading))
    value = _joined(*leading)
    if not x.requires_grad:
        return value
    return value + _derivative(x.detach(), zero_with_gradient(x), leading[1].shape[-1])


def _joined(U: Tensor, values: Tensor, V: Tensor) -> Tensor:
    """U diag(values) V^T, where values that are zero to rounding are raised."""
    largest = values[..., :1]
    least = _least_ratio(U.shape[-2], V.shape[-2], U.dtype)
    raised = torch.where(least * largest < values, values, 2 * least * largest)
    return (U * torch.where(largest == 0, 1, raised).unsqueeze(-2)) @ V.mT


def _derivative(x: Tensor, e: Tensor, rank: int) -> Tensor:
    """Derivative of the truncation of x in the direction e; also its adjoint.

    The matrix [[0, x], [x^T, 0]] has eigenvalues plus and minus the singular values, and keeping
    the r largest of these is a function of it: t where |t| is above the cut, 0 elsewhere.
    """
    both, values, vectors = spectrum(_dilated(x))
    largest = values[..., -1:]
    after = values[..., -rank - 1 : -rank].clamp_min(0)
    cut = (values[..., -rank:][..., :1] + after) / 2
    cut = torch.maximum(cut, torch.finfo(x.dtype).eps * largest)
    cut = torch.where(cut > 0, cut, 1)
    scaled = Spectrum(both / cut.unsqueeze(-1), values / cut, vectors)
    return matrix_derivative("tail", scaled, _dilated(e))[..., : x.shape[-2], x.shape[-2] :]


def _dilated(a: Tensor) -> Tensor:
    """[[0, a], [a^T, 0]]."""
    m, n = a.shape[-2:]
    above = torch.nn.functional.pad(a, (m, 0, 0, n))
    return above + above.mT


class _Truncation(Function):
    """Nearest matrix of a rank. The derivative is symmetric, so that it serves both directions."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, U: Tensor, values: Tensor, V: Tensor) -> Tensor:
        return _joined(U, values, V)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, _, values, _ = inputs
        ctx.rank = values.shape[-1]
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        (x,) = cast("tuple[Tensor]", ctx.saved_tensors)
        return _derivative(x, grad_outputs[0], ctx.rank), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        (x,) = cast("tuple[Tensor]", ctx.saved_tensors)
        return _derivative(x, tangents[0], ctx.rank)
