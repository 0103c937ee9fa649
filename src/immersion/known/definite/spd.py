"""Symmetric positive definite matrices under the affine-invariant metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch

from immersion.core.errors import InputError
from immersion.core.linalg import broadcast
from immersion.core.metric import CurvedManifold
from immersion.core.scalars import safe_sqrt
from immersion.known.definite.cone import (
    cholesky,
    curvature_of_plane,
    distance_from_cone,
    factor,
    normal_matrices,
    raise_spectrum,
    require_size,
)
from immersion.known.definite.matrix_functions import (
    definite_spectrum,
    displaced_spectrum,
    matrix_function,
    spectrum,
    squared_logs,
    symmetric,
)

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class SPD(CurvedManifold):
    """Symmetric positive definite n x n matrices with the affine-invariant metric.

    g_x(u, v) = tr(x^-1 u x^-1 v), which no change of basis A x A^T alters. Points and tangent
    vectors have shape (n, n), tangent vectors are symmetric, and lengths are logarithms:
    dist(x, 2x) is sqrt(n) log 2. Complete, of curvature between -1/2 and 0, with one geodesic
    between any two points. All methods cost O(n^3).

    With the Cholesky factor x = L L^T:

        exp(x, u)  = L exp(L^-1 u L^-T) L^T
        log(x, y)  = L log(L^-1 y L^-T) L^T
        dist(x, y) = sqrt(sum over the eigenvalues w of L^-1 y L^-T of log^2 w)

    The logs are log(1 + d), d = L^-1 (y - x) L^-T, so that nothing cancels between close points.
    The relative error of dist is up to 4 eps times the condition number of x or of x^-1 y, what
    rounding the entries amounts to; log undoes exp to 1e-12 in float64 up to the condition number
    1e4, for vectors of length 1 and more (`accuracy/spd_distance.py`). Derivatives hold at repeated
    eigenvalues; the gradient of `dist` at x = y is zero. Where x is not positive definite, results
    are NaN: `check` says why.

    Source: Pennec, Fillard and Ayache, "A Riemannian framework for tensor computing", 2006; Bhatia,
    "Positive Definite Matrices", 2007, chapter 6.

    Args:
        n: size of the matrices, at least 1.
        retraction: "second-order", x + u + u x^-1 u / 2, which is positive definite for every u and
            needs no eigenvalues; or "exp".

    Example:
        >>> import immersion as im
        >>> space = im.SPD(2)
        >>> x = torch.eye(2)
        >>> y = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
        >>> space.dist(x, y)
        tensor(1.0986)
        >>> space.geodesic(x, y, 0.5)
        tensor([[1.3660, 0.3660],
                [0.3660, 1.3660]])
    """

    n: int
    retraction: Literal["second-order", "exp"] = "second-order"

    def __post_init__(self) -> None:
        require_size("SPD", self.n)
        if self.retraction not in ("second-order", "exp"):
            raise InputError(f'SPD: retraction is "second-order" or "exp", not {self.retraction!r}')

    @property
    def dim(self) -> int:
        """Dimension n (n + 1) / 2."""
        return self.n * (self.n + 1) // 2

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape (n, n)."""
        return (self.n, self.n)

    def inner(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b"]:
        """tr(x^-1 u x^-1 v)."""
        L = cholesky(x)
        first = _whiten(L, u)
        second = first if v is u else _whiten(L, v)
        return (first * second).sum((-2, -1))

    def proj(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """Symmetric part, eigenvalues raised to 20 sqrt(n) eps times the largest in absolute value.

        The zero matrix goes to the identity.
        """
        return raise_spectrum(x)

    def to_tangent(
        self, x: Float[Tensor, "*b n n"], a: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """(a + a^T) / 2."""
        return broadcast(symmetric(a), x)[0]

    def egrad2rgrad(
        self, x: Float[Tensor, "*b n n"], g: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """x sym(g) x."""
        x = symmetric(x)
        return symmetric(x @ symmetric(g) @ x)

    def christoffel(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """-(u x^-1 v + v x^-1 u) / 2."""
        L = cholesky(x)
        return -symmetric(_half_solve(L, u).mT @ _half_solve(L, v))

    def retract(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """The retraction chosen."""
        if self.retraction == "exp":
            return self.exp(x, u)
        w = _half_solve(cholesky(x), u)
        return symmetric(x + u) + w.mT @ w / 2

    def transport(
        self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """Parallel transport E v E^T with E = (y x^-1)^(1/2)."""
        L = cholesky(x)
        root = matrix_function("root", definite_spectrum(_whiten(L, y)))
        E = L @ root
        return symmetric(E @ _whiten(L, v) @ E.mT)

    def carry(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> tuple[Float[Tensor, "*b n n"], Float[Tensor, "*b n n"]]:
        """The step, and v transported: A v A^T, where A agrees with E of `transport`.

        With "second-order" to first order, A = I + u x^-1 / 2; with "exp" exactly.
        """
        L = cholesky(x)
        if self.retraction == "exp":
            half = spectrum(_whiten(L, u / 2))
            E = L @ matrix_function("exp", half)
            return symmetric(E @ E.mT), symmetric(E @ _whiten(L, v) @ E.mT)
        u, w = symmetric(u), _half_solve(L, u)
        y = symmetric(x) + u + w.mT @ w / 2
        A = _solve_lower(L, w, transposed=True).mT / 2
        Av = A @ symmetric(v)
        return y, symmetric(v + 2 * Av + Av @ A.mT)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b n n"]:
        """exp of standard normal vectors at the identity.

        Their condition number is about exp(2 sqrt(2 n)), 1e4 for n = 10 and 1e7 for n = 32. For
        large matrices take `wrapped_normal(torch.eye(n), scale)` with scale near 1 / sqrt(n).
        """
        a = normal_matrices(batch, self.n, generator, dtype, device)
        return symmetric(matrix_function("exp", spectrum(a)))

    def random_tangent(
        self, x: Float[Tensor, "*b n n"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b n n"]:
        """L z L^T with normal symmetric z."""
        L = cholesky(x)
        z = normal_matrices(x.shape[:-2], self.n, generator, x.dtype, x.device)
        return symmetric(L @ z @ L.mT)

    def violation(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """Largest |x - x^T|, plus 1 - (least eigenvalue) where x is not definite to rounding.

        Both relative to the largest absolute eigenvalue: 1 is a singular matrix, 2 is -I. Singular
        is what has its least eigenvalue below 10 sqrt(n) eps of the largest.
        """
        return distance_from_cone(x)

    def exp(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """Positive definite for every u: L times the exponential of L^-1 u L^-T times L^T."""
        L = cholesky(x)
        E = L @ matrix_function("exp", spectrum(_whiten(L, u / 2)))
        return symmetric(E @ E.mT)

    def log(
        self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """Unique everywhere: L times the logarithm of L^-1 y L^-T times L^T."""
        L, d, shift = _displacement(x, y)
        logs = matrix_function("log1p", displaced_spectrum(-d)) / 2
        return symmetric(L @ logs @ L.mT) + shift[..., None, None] * symmetric(x)

    def dist(self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """Norm of the logs of the eigenvalues of x^-1 y; gradient zero where x = y."""
        _, d, shift = _displacement(x, y)
        return safe_sqrt(squared_logs(d, shift))

    def injectivity_radius(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """Infinite."""
        return torch.full_like(x[..., 0, 0], torch.inf)

    def sectional_curvature(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b"]:
        """-|[a, b]|^2 / (4 |a ^ b|^2) of a = L^-1 u L^-T and b = L^-1 v L^-T: in [-1/2, 0]."""
        L = cholesky(x)
        a, b = _whiten(L, u), _whiten(L, v)
        turn = (a @ b - b @ a).square().sum((-2, -1)) / 4
        products = [(p * q).sum((-2, -1)) for p, q in ((a, a), (b, b), (a, b))]
        return -curvature_of_plane(turn, *products)


def _solve_lower(L: Tensor, a: Tensor, *, transposed: bool = False) -> Tensor:
    """L^-1 a, or L^-T a."""
    factor = L.mT if transposed else L
    return cast("Tensor", torch.linalg.solve_triangular(factor, a, upper=transposed))


def _half_solve(L: Tensor, u: Tensor) -> Tensor:
    """L^-1 u, for the symmetric part of u."""
    return _solve_lower(L, symmetric(u))


def _whiten(L: Tensor, u: Tensor) -> Tensor:
    """L^-1 u L^-T, for the symmetric part of u."""
    return _solve_lower(L, _half_solve(L, u).mT)


def _displacement(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """L, d and c with L L^T = 2 x and x^(-1/2) y x^(-1/2) similar to exp(c) (I - d).

    d is small without cancellation where y is near x. c is zero unless y is below x / 2 on the
    whole diagonal: there I - d would cancel, so that y is scaled up first. NaN where x is not
    positive definite. Symmetric parts enter as sums, not means, and NaN enters by the scale: each
    pass over the matrices costs a tenth of what their factorisation does.
    """
    two_x, two_y = x + x.mT, y + y.mT
    diagonals = [a.detach().diagonal(dim1=-2, dim2=-1) for a in (two_y, two_x)]
    largest = (diagonals[0] / diagonals[1]).amax(-1)
    scale = torch.where(largest < 0.5, largest, 1)
    L, definite = factor(two_x)
    shown = torch.where(definite, scale, torch.nan)
    gap = torch.addcdiv(two_x, two_y, shown[..., None, None], value=-1)
    return L, _solve_lower(L, _solve_lower(L, gap).mT), torch.log(scale)
