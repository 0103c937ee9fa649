"""The logarithm of rotation matrices: the shortest rotation vector fields, accurate also near pi.

r = c + s with c symmetric and s skew-symmetric; they commute, and in the plane of an angle t they
are cos t and sin t. Hence log r = s f(c), f(cos t) = t / sin t, which is smooth except at c = -1:
one decomposition of a symmetric matrix, whose repeated eigenvalues do no harm. Planes of angles
near pi are split off at the widest gap between cosines; there t = pi - (pi - t), so log is
pi J - s f(-c) with J the orthogonal matrix s / sin t.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from immersion.core.linalg import symmetric_eigen
from immersion.core.scalars import safe_length
from immersion.known.orthonormal.factors import conjugate, settled, skew, sym
from immersion.known.orthonormal.operators import batched_operator, with_gradients

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

#: Cosines between which the planes of small and of large angles are told apart.
WINDOW = (-0.75, 0.5)


def orthogonal_log(
    x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]
) -> Float[Tensor, "*b n n"]:
    """Skew-symmetric L of least norm with x exp(L) = y, for rotations x and y.

    For angles up to pi - 1e-8 the error is a few eps over the distance to the next plane that is
    as close to pi. At pi itself, where both directions of rotation are equally short, one is
    chosen, and where planes of angle pi are not unique, they are too: finite, the same every time,
    of norm |log|. The gradient is that of the closed form (psi(ad L) with psi(z) = z / (1 - e^-z));
    it grows as 1 / (2 pi - t1 - t2) where two planes approach pi. Derivatives of first order only.
    """
    return _between(settled(x), settled(y))


def orthogonal_dist(x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
    """Frobenius norm of `orthogonal_log`; its gradient is a unit vector, zero at y = x."""
    x, y = settled(x), settled(y)
    L = _between(x, y)
    length = safe_length(L.flatten(-2))
    apart = (length > 0)[..., None, None]
    unit = torch.where(apart, L / torch.where(apart, length[..., None, None], 1), 0)
    return with_gradients(length, x, y, -x @ unit, y @ unit)


def _between(x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    return cast("Tensor", _rotation_log(x.mT @ (y - x)))


def theta_over_sine(cosine: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """t / sin t of cos t, 1 at t = 0; for cosines above -1."""
    h = torch.sqrt((1 - cosine).clamp_min(0) / (1 + cosine).clamp_min(1e-30))  # tan(t / 2)
    small = h < 1e-8
    safe = torch.where(small, 1, h)
    return torch.where(small, 1, torch.atan(safe) / safe * (1 + safe * safe))


def log_of_rotation(d: Tensor) -> Tensor:
    """log(I + d). The skew part of d keeps its digits where it is small. No derivative."""
    r = d.double()
    n = r.shape[-1]
    s = skew(r)
    c, q = symmetric_eigen(sym(r) + torch.eye(n, dtype=r.dtype, device=r.device))
    c = c.clamp(-1, 1)
    low, high = WINDOW
    edges = torch.nn.functional.pad(c.clamp(low, high), (1, 0), value=low)
    edges = torch.nn.functional.pad(edges, (0, 1), value=high)
    gap = edges.diff().argmax(-1, keepdim=True)
    cut = (edges.gather(-1, gap) + edges.gather(-1, gap + 1)) / 2
    far = c < cut
    w = skew(q.mT @ s @ q)
    f = theta_over_sine(torch.where(far, -c, c))
    near = torch.where(far.unsqueeze(-1) | far.unsqueeze(-2), 0, w * f.unsqueeze(-2))
    both = far.unsqueeze(-1) & far.unsqueeze(-2)
    w = torch.where(both, w, 0)
    inside = near + math.pi * _complex_structure(w, far, d.dtype) - w * f.unsqueeze(-2)
    return (q @ skew(inside) @ q.mT).to(d.dtype)


def _complex_structure(
    w: Float[Tensor, "*b n n"], far: Bool[Tensor, "*b n"], dtype: torch.dtype
) -> Float[Tensor, "*b n n"]:
    """The orthogonal and skew-symmetric J with w = J |w| on the axes chosen, zero elsewhere.

    Rounding turns the complex eigenvectors of a plane of small |w| into each other, which shows in
    the length of the real part only, and a few Newton-Schulz steps J (3 + J^2) / 2 restore that.
    Where w is zero to the rounding of `dtype` it tells no planes: its singular vectors, in which
    these axes come first, are turned into each other in pairs.
    """
    n = w.shape[-1]
    index = torch.arange(n, device=w.device)
    # The size of w is 1 at most, so axes that are not chosen come last.
    others = torch.where((index.unsqueeze(-1) == index) & ~far.unsqueeze(-1), 2.0, 0.0)
    back = cast("tuple[Tensor, ...]", torch.linalg.svd(w + others.to(w.dtype)))[2].flip(-2)
    v = skew(back @ w @ back.mT)
    chosen = index < far.sum(-1, keepdim=True)
    where = chosen.unsqueeze(-1) & chosen.unsqueeze(-2)
    even = index[:-1:2]
    tiny = 16 * n * torch.finfo(dtype).eps
    way = torch.where(v[..., even + 1, even] < 0, -1.0, 1.0).to(v.dtype)
    zero = (v.abs().amax(-1) < tiny)[..., even]
    extra = torch.zeros_like(v)
    extra[..., even + 1, even] = torch.where(zero, tiny * way, 0)
    v = torch.where(where, v + extra - extra.mT, 0)
    values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(1j * v))
    structure = (vectors @ (values.sign().unsqueeze(-1) * conjugate(vectors))).imag
    structure = torch.where(where, structure, 0)
    for _ in range(6):
        structure = 1.5 * structure + 0.5 * structure @ structure @ structure
    return skew(back.mT @ structure @ back)


def _adjoint(L: Tensor, g: Tensor) -> Tensor:
    """psi(-ad L) of the skew part of g, psi(z) = z / (1 - e^-z)."""
    values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(1j * L.double()))
    phi = values.unsqueeze(-1) - values.unsqueeze(-2)
    # On the cut locus, |phi| = 2 pi, the directions that would leave it are given no weight.
    sine = torch.sin(phi / 2)
    regular = sine.abs() > 1e-12
    half = torch.where(phi.abs() < 1e-8, 1, phi / 2 / torch.where(regular, sine, 1))
    half = torch.where(regular | (phi.abs() < 1), half, 0)
    back = conjugate(vectors)
    turned = back @ skew(g).to(vectors.dtype) @ vectors * (half * torch.exp(0.5j * phi))
    return skew((vectors @ turned @ back).real).to(g.dtype)


def _log_backward(inputs: tuple[Tensor], L: Tensor, g: Tensor) -> Any:
    back = _rotation_log_adjoint(L, g)
    return back + inputs[0] @ back


_rotation_log = batched_operator("rotation_log", log_of_rotation, _log_backward)
_rotation_log_adjoint = batched_operator("rotation_log_adjoint", _adjoint)
