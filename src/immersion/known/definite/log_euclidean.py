"""Symmetric positive definite matrices under the log-Euclidean metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from immersion.core.linalg import broadcast
from immersion.core.metric import CurvedManifold
from immersion.core.scalars import safe_length
from immersion.known.definite.cone import (
    distance_from_cone,
    normal_matrices,
    raise_spectrum,
    require_size,
)
from immersion.known.definite.matrix_functions import (
    Spectrum,
    definite_spectrum,
    matrix_derivative,
    matrix_difference,
    matrix_function,
    second_derivative,
    spectrum,
    symmetric,
)

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class LogEuclideanSPD(CurvedManifold):
    """Symmetric positive definite n x n matrices, flat by way of the matrix logarithm.

    dist(x, y) = |log x - log y|, and everything else is what the map log pulls back from the
    symmetric matrices with the Frobenius product. Points and tangent vectors have shape (n, n),
    tangent vectors are symmetric, and lengths are logarithms as with `SPD`. It is complete and
    flat, and means have a closed form, exp(mean log x_i), but only orthogonal changes of basis,
    scaling and inversion leave it as it is. All methods cost O(n^3); `christoffel` and derivatives
    of all but `dist` and `log` at a fixed x take O(n^3) memory.

    With l and Q the eigenvalues and eigenvectors of x, and the divided difference
    f_ij = (log l_i - log l_j) / (l_i - l_j), or 1 / l_i where they are equal:

        Dlog_x[u] = Q (f_ij (Q^T u Q)_ij) Q^T       g_x(u, v) = <Dlog_x[u], Dlog_x[v]>

    (Daleckii and Krein 1965), with derivatives that hold at repeated eigenvalues. log x - log y is
    formed from x - y, so that it keeps its digits between close points. Relative errors are a few
    eps times the condition number of x. A matrix that is not positive definite is taken as one
    whose eigenvalues are at least eps^2 of the largest: `check` sees it.

    Source: Arsigny, Fillard, Pennec and Ayache, "Geometric means in a novel vector space structure
    on symmetric positive-definite matrices", 2007.

    Args:
        n: size of the matrices, at least 1.

    Example:
        >>> import immersion as im
        >>> space = im.LogEuclideanSPD(2)
        >>> x = torch.diag(torch.tensor([1.0, 4.0]))
        >>> y = torch.diag(torch.tensor([4.0, 1.0]))
        >>> space.geodesic(x, y, 0.5)
        tensor([[2., 0.],
                [0., 2.]])
    """

    n: int

    def __post_init__(self) -> None:
        require_size("LogEuclideanSPD", self.n)

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
        """<Dlog_x[u], Dlog_x[v]>."""
        s = definite_spectrum(symmetric(x))
        first = _push(s, u)
        second = first if v is u else _push(s, v)
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
        """Dexp[Dexp[sym g]] at log x: the inverse of Dlog_x twice, since Dlog_x is self-adjoint."""
        logs = _logarithm(definite_spectrum(symmetric(x)))
        return _pull(logs, _pull(logs, g))

    def christoffel(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """Dexp[D^2 log_x[u, v]] at log x."""
        s = definite_spectrum(symmetric(x))
        return _pull(_logarithm(s), second_derivative("log", s, symmetric(u), symmetric(v)))

    def retract(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """The exponential map; x + u need not be positive definite."""
        return self.exp(x, u)

    def transport(
        self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """Parallel transport Dexp[Dlog_x[v]] at log y, whatever the path."""
        there = _logarithm(definite_spectrum(symmetric(y)))
        return _pull(there, _push(definite_spectrum(symmetric(x)), v))

    def carry(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> tuple[Float[Tensor, "*b n n"], Float[Tensor, "*b n n"]]:
        """The step and the parallel transport of v, at two eigendecompositions for both."""
        s = definite_spectrum(symmetric(x))
        logs = spectrum(symmetric(matrix_function("log", s) + _push(s, u)))
        return symmetric(matrix_function("exp", logs)), _pull(logs, _push(s, v))

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
        """Dexp[z] at log x with normal symmetric z."""
        z = normal_matrices(x.shape[:-2], self.n, generator, x.dtype, x.device)
        return _pull(_logarithm(definite_spectrum(symmetric(x))), z)

    def violation(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """Largest |x - x^T|, plus 1 - (least eigenvalue) where x is not definite to rounding.

        Both relative to the largest absolute eigenvalue: 1 is a singular matrix, 2 is -I. Singular
        is what has its least eigenvalue below 10 sqrt(n) eps of the largest.
        """
        return distance_from_cone(x)

    def exp(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """Matrix exponential of log x + Dlog_x[u]."""
        s = definite_spectrum(symmetric(x))
        logs = symmetric(matrix_function("log", s) + _push(s, u))
        return symmetric(matrix_function("exp", spectrum(logs)))

    def log(
        self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """Dexp[log y - log x] at log x; unique everywhere."""
        s, difference = _difference(x, y)
        return _pull(_logarithm(s), difference)

    def dist(self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """|log x - log y|; gradient zero where x = y."""
        return safe_length(_difference(x, y)[1].flatten(-2))

    def injectivity_radius(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """Infinite."""
        return torch.full_like(x[..., 0, 0], torch.inf)

    def sectional_curvature(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b"]:
        """Zero: log is an isometry to a vector space."""
        return torch.zeros_like((x * u * v)[..., 0, 0])


def _push(s: Spectrum, u: Tensor) -> Tensor:
    """Dlog_x[u], for the spectrum of x."""
    return matrix_derivative("log", s, symmetric(u))


def _logarithm(s: Spectrum) -> Spectrum:
    """Spectrum of log x from that of x."""
    return Spectrum(matrix_function("log", s), s.values.log(), s.vectors)


def _pull(logs: Spectrum, w: Tensor) -> Tensor:
    """Inverse of Dlog at the point whose logarithm has this spectrum: Dexp there, applied to w."""
    return symmetric(matrix_derivative("exp", logs, symmetric(w)))


def _difference(x: Tensor, y: Tensor) -> tuple[Spectrum, Tensor]:
    """Spectrum of x, and log y - log x."""
    x, y = symmetric(x), symmetric(y)
    s = definite_spectrum(x)
    return s, matrix_difference("log", definite_spectrum(y), s, y - x)
