"""Exponents that reach a given frame: what the logarithm of the Stiefel manifold iterates.

Canonical metric. The frame V = [x q]^T y is completed to a rotation [V V'] whose logarithm has a
lower right block C of zero. Turning V' by exp(G) changes C by F(G) = G + ..., in which ad(log)
acts through (z/2) coth(z/2). Zimmermann (2017, arXiv 1604.05054) takes F(G) = G, and Zimmermann
and Hueper (2022, arXiv 2103.12046) the next term, a Sylvester equation. Where A = 0 all terms can
be summed: in the singular vectors of B, F multiplies by (h(s_i - s_j) + h(s_i + s_j)) / 2, with
h(t) = (t/2) cot(t/2). Dividing by that needs 2 to 10 steps at 0.9 of the injectivity radius, the
more the smaller p, where the Sylvester equation needs 5 to 26 and F(G) = G 11 to 75
(`accuracy/stiefel_log.py`).

Euclidean metric. Newton's method on the exponent, from the logarithm of the rotation that takes
[I; 0] to V in the plainest way (`turn`). Its steps are cut to a length of 1, and halved where the
frame reached does not come nearer. Then all of 4000 random pairs at 0.97 to 0.99 of the injectivity
radius are solved in 10 steps; with no bound on the step up to a twentieth of them (p = 2) are not,
and with 30 applications for the linear system of a step up to all (p = 10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from immersion.core.linalg import length, symmetric_eigen
from immersion.known.orthonormal.factors import identity, skew, sym
from immersion.known.orthonormal.logarithms.exponent import Exponent, minimal_residual
from immersion.known.orthonormal.logarithms.rotation import log_of_rotation, theta_over_sine
from immersion.known.orthonormal.moves import householder

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: Steps after which an iteration gives up: frames beyond the injectivity radius may need more.
CANONICAL_LIMIT, NEWTON_LIMIT = 60, 40
#: Length of the longest step of Newton's method.
LONGEST_STEP = 1.0
#: Rounding: residuals below it times the length of the exponent cannot be told from zero.
ROUNDING = 2e-15


def canonical_exponent(less: Float[Tensor, "b m p"]) -> Float[Tensor, "b m p"]:
    """c = [A; B] that reaches V = [I; 0] + less under the canonical metric."""
    p = less.shape[-1]
    rotation = _completion(less)
    log = _log(rotation)
    for _ in range(CANONICAL_LIMIT):
        B, C = log[..., p:, :p], log[..., p:, p:]
        if bool((_size(C) <= ROUNDING * _size(log)).all()):
            break
        squares, R = symmetric_eigen(B @ B.mT)
        s = squares.clamp_min(0).sqrt()
        gaps, sums = s.unsqueeze(-1) - s.unsqueeze(-2), s.unsqueeze(-1) + s.unsqueeze(-2)
        # Beyond conjugate points F is no longer positive, and a full step would lead astray.
        factor = ((_half_cotangent(gaps) + _half_cotangent(sums)) / 2).clamp_min(0.1)
        G = skew(R @ ((R.mT @ C @ R) / factor) @ R.mT)
        # exp(-G) - I, to the third order that a correction needs, and exactly orthogonal
        turn = -cast("Tensor", torch.linalg.solve(identity(G) + G / 2, G))
        right = rotation[..., p:]
        right = right + right @ turn + torch.nn.functional.pad(turn, (0, 0, p, 0))
        rotation = torch.cat([less, right], -1)
        log = _log(rotation)
    return log[..., :p]


def euclidean_exponent(less: Float[Tensor, "b m p"]) -> Float[Tensor, "b m p"]:
    """c = [A; B] that reaches V = [I; 0] + less under the Euclidean metric."""
    c = _log(_completion(less))[..., : less.shape[-1]]
    step = torch.zeros_like(c)
    nearest = torch.full_like(c[:, :1, :1], torch.inf)
    part = torch.ones_like(nearest)
    for _ in range(NEWTON_LIMIT):
        trial = c + part * step
        exponent = Exponent.of(trial, 1.0)
        gap = exponent.gap(less)
        size = _size(gap)
        nearer = size < nearest
        rounding = ROUNDING * _size(trial)
        stuck = ~nearer & ((nearest <= 1e3 * rounding) | (part * _size(step) < 1e-3))
        c, nearest = torch.where(nearer, trial, c), torch.where(nearer, size, nearest)
        if bool(((size <= rounding) | stuck).all()):
            break
        # As exact as Newton's step deserves: its own error is the square of the gap.
        tolerance = (0.3 * size[:, 0, 0]).clamp(1e-3, 0.1)
        new = minimal_residual(exponent.push, gap, tolerance, 200)
        step = torch.where(nearer, new, step)
        part = torch.where(nearer, LONGEST_STEP / _size(new).clamp_min(LONGEST_STEP), part / 2)
    return c


def _completion(less: Float[Tensor, "b m p"]) -> Float[Tensor, "b m m"]:
    """[V V'] - I for the rotation that takes [I; 0] to V and moves nothing across both (`turn`)."""
    p = less.shape[-1]
    eye = torch.eye(less.shape[-2], dtype=less.dtype, device=less.device)
    first, rest = eye[:, :p].expand_as(less), eye[:, p:].expand(len(less), -1, -1)
    right = -householder(first, 2 * first + less, rest)
    whole = torch.cat([less, right], -1)
    # Columns of V opposite to those of [I; 0] are reflected; an odd number needs one more.
    reflected = cast("Tensor", torch.linalg.det(eye + whole)) < 0
    if bool(reflected.any()):
        lower = right[..., p:, :] + eye[p:, p:]
        axis = cast("tuple[Tensor, ...]", torch.linalg.svd(lower))[2][..., -1:, :]
        flipped = right - 2 * (rest + right) @ axis.mT @ axis
        right = torch.where(reflected[:, None, None], flipped, right)
    return torch.cat([less, right], -1)


def _log(D: Float[Tensor, "b m m"]) -> Float[Tensor, "b m m"]:
    """log(I + D); with the care that angles near pi need only where there are any."""
    values, vectors = symmetric_eigen(sym(D))
    if bool((values < -1.5).any()):
        return log_of_rotation(D)
    f = theta_over_sine((1 + values).clamp_max(1))
    return skew(skew(D) @ (vectors * f.unsqueeze(-2)) @ vectors.mT)


def _half_cotangent(t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """(t / 2) cot(t / 2), with its pole at 2 pi kept out of reach."""
    h = t.clamp(-6, 6) / 2
    small = h.abs() < 1e-4
    safe = torch.where(small, 1, h)
    return torch.where(small, 1 - h * h / 3, safe / torch.tan(safe))


def _size(c: Float[Tensor, "b m p"]) -> Float[Tensor, "b 1 1"]:
    return length(c.flatten(-2))[:, None, None]
