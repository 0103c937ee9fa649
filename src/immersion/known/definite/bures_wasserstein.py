"""Symmetric positive definite matrices under the Bures-Wasserstein metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from immersion.core.linalg import broadcast
from immersion.core.metric import CurvedManifold
from immersion.core.scalars import safe_length
from immersion.known.definite.cone import (
    cholesky,
    curvature_of_plane,
    distance_from_cone,
    normal_matrices,
    raise_spectrum,
    require_size,
)
from immersion.known.definite.matrix_functions import (
    Spectrum,
    definite_spectrum,
    eigenvalues,
    lyapunov,
    lyapunov_root,
    matrix_difference,
    matrix_function,
    product_spectrum,
    spectrum,
    symmetric,
)

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class BuresWassersteinSPD(CurvedManifold):
    """Symmetric positive definite n x n matrices as covariances of normal distributions.

    dist is the 2-Wasserstein distance of the centred normal distributions with covariances x and y:

        dist(x, y)^2 = tr x + tr y - 2 tr (x^(1/2) y x^(1/2))^(1/2)

    Points and tangent vectors have shape (n, n), tangent vectors are symmetric, and lengths are in
    units of standard deviation, the root of those of x. With S_u the solution of S x + x S = u:

        g_x(u, v) = tr(S_u x S_v) = tr(S_u v) / 2       exp(x, u) = (I + S_u) x (I + S_u)

    The optimal map T, with T x T = y, gives log(x, y) = (T - I) x + x (T - I). Not complete:
    singular matrices lie at distance sqrt(least eigenvalue of x), and `exp` is the geodesic only
    where I + S_u is positive definite; beyond, it still gives a positive semidefinite matrix. The
    curvature is not negative. All methods cost O(n^3); derivatives of `transport` take more memory,
    O(n^3) the first and O(n^4) the second.

    dist is not formed from the traces, which cancel between close points, but as |(T - I) L|, where
    x = L L^T and (T - I) L = L^-T ((L^T y L)^(1/2) - L^T L) comes from y - x. Relative errors are a
    few eps times the condition numbers of x and y. Derivatives hold at repeated eigenvalues; the
    gradient of `dist` at x = y is zero. Where a point is not positive definite, `log` and `dist`
    are NaN: `check` says why.

    Source: Bhatia, Jain and Lim, "On the Bures-Wasserstein distance between positive definite
    matrices", 2019; Massart and Absil, "Quotient geometry with simple geodesics for the manifold of
    fixed-rank positive-semidefinite matrices", 2020; curvature: Takatsu, "Wasserstein geometry of
    Gaussian measures", 2011.

    Args:
        n: size of the matrices, at least 1.

    Example:
        >>> import immersion as im
        >>> space = im.BuresWassersteinSPD(2)
        >>> x = torch.diag(torch.tensor([1.0, 4.0]))
        >>> y = torch.diag(torch.tensor([4.0, 1.0]))
        >>> space.dist(x, y)
        tensor(1.4142)
        >>> space.geodesic(x, y, 0.5)
        tensor([[2.2500, 0.0000],
                [0.0000, 2.2500]])
    """

    n: int

    def __post_init__(self) -> None:
        require_size("BuresWassersteinSPD", self.n)

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
        """tr(S_u v) / 2."""
        return (_solve(x, u) * v).sum((-2, -1)) / 2

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
        """2 (sym(g) x + x sym(g))."""
        return 4 * symmetric(symmetric(g) @ symmetric(x))

    def christoffel(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """-(S_u x S_v + S_v x S_u)."""
        return -2 * symmetric(_solve(x, u) @ symmetric(x) @ _solve(x, v))

    def retract(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """The exponential map, a quadratic polynomial in u."""
        return self.exp(x, u)

    def transport(
        self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """An isometry that does not depend on a path, and is not parallel: that has no closed form.

        v is written in coordinates a = R_x^-1 v, and carried to R_y a. R_x is the square root of
        the operator S -> S x + x S, so that g_x(v, v) = |a|^2 / 2. It commutes with orthogonal
        changes of basis, and is parallel where x, y and v commute.
        """
        s, t = definite_spectrum(symmetric(x)), definite_spectrum(symmetric(y))
        coordinates = lyapunov_root(s, lyapunov(s, symmetric(v)))
        return symmetric(lyapunov_root(t, coordinates))

    def carry(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> tuple[Float[Tensor, "*b n n"], Float[Tensor, "*b n n"]]:
        """The step, and the vector whose S is that of v: S_v y + y S_v."""
        x, s = symmetric(x), definite_spectrum(symmetric(x))
        move = lyapunov(s, symmetric(u))
        y = _push(x, u, move)
        return y, 2 * symmetric(lyapunov(s, symmetric(v)) @ y)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b n n"]:
        """Matrix exponential of standard normal symmetric matrices, the same as `SPD.random`.

        Normal vectors at the identity would often lead past the boundary, which lies at distance 1.
        """
        a = normal_matrices(batch, self.n, generator, dtype, device)
        return symmetric(matrix_function("exp", spectrum(a)))

    def random_tangent(
        self, x: Float[Tensor, "*b n n"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b n n"]:
        """sqrt(2) R_x z with normal symmetric z, R_x as in `transport`."""
        z = normal_matrices(x.shape[:-2], self.n, generator, x.dtype, x.device)
        return math.sqrt(2) * symmetric(lyapunov_root(definite_spectrum(symmetric(x)), z))

    def violation(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """Largest |x - x^T|, plus 1 - (least eigenvalue) where x is not definite to rounding.

        Both relative to the largest absolute eigenvalue: 1 is a singular matrix, 2 is -I. Singular
        is what has its least eigenvalue below 10 sqrt(n) eps of the largest.
        """
        return distance_from_cone(x)

    def exp(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """x + u + S_u x S_u."""
        return _push(x, u, _solve(x, u))

    def log(
        self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """(T - I) x + x (T - I); unique everywhere."""
        L, moved = _displacement(x, y)
        return 2 * symmetric(moved @ L.mT)

    def dist(self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """|(T - I) L|, with gradient zero where x = y."""
        return safe_length(_displacement(x, y)[1].flatten(-2))

    def injectivity_radius(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """sqrt(least eigenvalue of x), the distance to the singular matrices."""
        least = eigenvalues(symmetric(x))[..., 0]
        return torch.sqrt(least.clamp_min(torch.finfo(x.dtype).tiny))

    def sectional_curvature(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b"]:
        """3 tr(W^T x W) / |u ^ v|^2, not negative; W solves W x + x W = x^(1/2) [S_u, S_v] x^(1/2).

        O'Neill's formula for x = M M^T, a submersion from the flat space of the M.
        """
        s = definite_spectrum(symmetric(x))
        p, q = lyapunov(s, symmetric(u)), lyapunov(s, symmetric(v))
        root = matrix_function("root", s)
        vertical = lyapunov(s, root @ (p @ q - q @ p) @ root)
        turn = 3 * (root @ vertical).square().sum((-2, -1))
        products = [(a * b).sum((-2, -1)) / 2 for a, b in ((p, u), (q, v), (p, v))]
        return curvature_of_plane(turn, *products)


def _solve(x: Tensor, u: Tensor) -> Tensor:
    """S_u, with S x + x S = u."""
    return lyapunov(definite_spectrum(symmetric(x)), symmetric(u))


def _push(x: Tensor, u: Tensor, move: Tensor) -> Tensor:
    """x + u + S x S for S = S_u."""
    return symmetric(x + u + move @ symmetric(x) @ move)


def _displacement(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The Cholesky factor L of x, and (T - I) L.

    The eigenvalues of L^T y L are squares of singular values of N^T L, y = N N^T: from the product
    itself the small ones would keep no digit where the condition numbers exceed 1 / sqrt(eps).
    """
    x, y = symmetric(x), symmetric(y)
    L, N = cholesky(x), cholesky(y.detach())
    gram = symmetric(L.mT @ L)
    g = definite_spectrum(gram)
    image = product_spectrum(symmetric(L.mT @ y @ L), N.mT @ L.detach())
    square = Spectrum(symmetric(gram @ gram), g.values.square(), g.vectors)
    change = matrix_difference("root", image, square, symmetric(L.mT @ (y - x) @ L))
    return L, cast("Tensor", torch.linalg.solve_triangular(L.mT, change, upper=True))
