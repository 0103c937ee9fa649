"""The polar factor, the nearest matrix with orthonormal columns, and its derivative.

a = q h with q orthonormal and h symmetric. Through a singular value decomposition, automatic
differentiation divides by differences of singular values: NaN at eye(6, 3), where they repeat. The
polar factor itself is smooth wherever a has full rank, and its derivative divides by sums h_i + h_j
only (Higham 2008, Functions of Matrices, chapter 8):

    D[d] = q k + (I - q q^T) d h^-1,   h k + k h = q^T d - d^T q.

D is symmetric, so one formula serves forward and reverse mode; and as the Lyapunov equation is
differentiated by itself, derivatives of every order exist.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from immersion.core.linalg import symmetric_eigen
from immersion.known.orthonormal.factors import excess, identity, plus_product, polish, sym
from immersion.known.orthonormal.operators import batched_operator

if TYPE_CHECKING:
    from jaxtyping import Float

#: Largest |u|^2 of the steps that a CUDA graph repeats; optimisers keep below it.
CAPTURED = 3.0


def polar(a: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
    """Nearest n x p matrix with orthonormal columns, p <= n; accurate whatever the condition of a.

    Where a is rank-deficient several are nearest; the one that the singular value decomposition
    gives is taken, and the derivative in the directions that are free is zero.
    """
    return cast("Tensor", _polar(a, "any"))


def polar_rotation(a: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Nearest rotation: the polar factor, its last singular direction turned where det a < 0."""
    return cast("Tensor", _polar(a, "rotation"))


def polar_step(x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
    """Polar factor of x + u by matrix products alone, for x orthonormal and u tangent.

    Then (x + u)^T (x + u) = I + u^T u has eigenvalues in [1, 1 + |u|^2], where Newton-Schulz
    iterations converge; how many are needed follows from |u|. Each starts from the Gram matrix of
    what it corrects, so rounding does not add up over steps.
    """
    return cast("Tensor", _polar(x + u, "step"))


def lyapunov(h: Float[Tensor, "*b p p"], c: Float[Tensor, "*b p p"]) -> Float[Tensor, "*b p p"]:
    """k with h k + k h = c, for symmetric h; zero where h_i + h_j is zero to rounding."""
    return cast("Tensor", _lyapunov(h, c))


def _numeric(a: Tensor, how: str) -> Tensor:
    if how == "step":
        return _by_products(a)
    return polish(_by_svd(a, rotation=how == "rotation"))


def _by_svd(a: Float[Tensor, "*b n p"], *, rotation: bool) -> Float[Tensor, "*b n p"]:
    left, _, right = cast("tuple[Tensor, ...]", torch.linalg.svd(a, full_matrices=False))
    if rotation:
        sign = torch.ones_like(left[..., 0, :])
        sign[..., -1] = torch.where(torch.det(left) * torch.det(right) < 0, -1, 1).to(a.dtype)
        left = left * sign.unsqueeze(-2)
    return left @ right


def _by_products(a: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
    """Polar factor of a whose singular values are at least 1, up to rounding.

    The Taylor polynomial of (I + e)^(-1/2), e = a^T a - I, leaves a residual below |e|^(d+1), d its
    degree. If no degree up to 4 brings that below rounding, a is scaled so that |e| < 1 and
    improved by steps of degree 3, under which an eigenvalue l of a^T a becomes l r(l - 1)^2 <= 1,
    until one does. The number of steps depends on the largest |u| of the batch, which has to be
    known on the host: at most two synchronisations on a GPU. While a CUDA graph is captured that is
    not allowed, and the steps are those for |u|^2 = 3.
    """
    if a.numel() == 0:
        return a.clone()
    e = excess(a)
    tiny = torch.finfo(a.dtype).eps / 16
    rest = _largest(e)
    if _degree(rest, tiny) == 1:
        return plus_product(a, a, e, -0.5)
    square = e @ e
    # The root of |e^2| is nearer to the spectral norm of e than |e| is, and saves a degree.
    rest = min(rest, math.sqrt(_largest(square)))
    degree = _degree(rest, tiny)
    if degree is None:
        scale = 1 + rest / 2
        a = a / math.sqrt(scale)
        low, high = 1 / scale, (1 + rest) / scale
        while degree is None:
            e = excess(a)
            a = _improved(a, e, e @ e, 3)
            low, high = min(_moved(low), _moved(high)), 1.0
            degree = _degree(1 - low, tiny)
        e = excess(a)
        square = e @ e
    return _improved(a, e, square, degree)


def _largest(e: Float[Tensor, "*b p p"]) -> float:
    if e.is_cuda and torch.cuda.is_current_stream_capturing():
        return CAPTURED
    # A matrix that is not finite stays so by itself and decides nothing for the others.
    norms = cast("Tensor", torch.linalg.matrix_norm(e))
    return float(torch.nan_to_num(norms, nan=0, posinf=0).amax())


def _degree(rest: float, tiny: float) -> int | None:
    return next((d for d in (1, 2, 3, 4) if rest ** (d + 1) <= tiny), None)


def _moved(eigenvalue: float) -> float:
    e = eigenvalue - 1
    return eigenvalue * (1 - e / 2 * (1 - 3 * e / 4 * (1 - 5 * e / 6))) ** 2


def _improved(
    a: Float[Tensor, "*b n p"],
    e: Float[Tensor, "*b p p"],
    square: Float[Tensor, "*b p p"],
    degree: int,
) -> Float[Tensor, "*b n p"]:
    """a times the Taylor polynomial of (I + e)^(-1/2), with one more product above degree 2."""
    r = torch.add(e, square, alpha=-3 / 4)
    if degree > 2:
        high = e if degree == 3 else torch.add(e, square, alpha=-7 / 8)
        r = plus_product(r, square, high, 5 / 8)
    return plus_product(a, a, r, -0.5)


def _derivative(
    a: Float[Tensor, "*b n p"], q: Float[Tensor, "*b n p"], d: Float[Tensor, "*b n p"]
) -> Float[Tensor, "*b n p"]:
    h, m = sym(q.mT @ a), q.mT @ d
    change = q @ lyapunov(h, m - m.mT)
    if a.shape[-2] > a.shape[-1]:
        inverse = 2 * lyapunov(h, identity(a).expand_as(h))
        change = change + (d - q @ m) @ inverse
    return change


def _solve(h: Tensor, c: Tensor) -> Tensor:
    values, vectors = symmetric_eigen(h)
    sums = values.unsqueeze(-1) + values.unsqueeze(-2)
    size = values.abs().amax(-1)[..., None, None]
    solvable = sums.abs() > h.shape[-1] * torch.finfo(h.dtype).eps * size
    inside = vectors.mT @ c @ vectors
    quotient = torch.where(solvable, inside / torch.where(solvable, sums, 1), 0)
    return vectors @ quotient @ vectors.mT


def _solve_backward(inputs: tuple[Tensor, Tensor], k: Tensor, g: Tensor) -> Any:
    s = lyapunov(inputs[0], g)
    return -(s @ k.mT + k.mT @ s), s


def _solve_forward(
    inputs: tuple[Tensor, Tensor], k: Tensor, dh: Tensor | None, dc: Tensor | None
) -> Tensor:
    change = torch.zeros_like(k) if dc is None else dc
    return lyapunov(inputs[0], change if dh is None else change - dh @ k - k @ dh)


def _backward(inputs: tuple[Tensor, str], q: Tensor, g: Tensor) -> Any:
    return _derivative(inputs[0], q, g), None


def _forward(inputs: tuple[Tensor, str], q: Tensor, d: Tensor) -> Tensor:
    return _derivative(inputs[0], q, d)


_lyapunov = batched_operator("lyapunov", _solve, _solve_backward, _solve_forward)
_polar = batched_operator("polar", _numeric, _backward, _forward)
