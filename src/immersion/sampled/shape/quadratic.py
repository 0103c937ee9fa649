"""A patch of points as a quadratic over its tangent space: least squares, and the frame turned.

The frame of local principal components tilts where the patch is one-sided, since it takes some of
the curvature for slope. Turned by the gradient of the fit until none is left, it is the tangent
space at the foot of the quadratic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    Array = NDArray[np.float64]

_LEAST = 1e-7
"""Smallest eigenvalue of a Gram matrix with unit diagonal whose fit the points determine."""


@dataclass(frozen=True, eq=False)
class QuadraticFit:
    """Quadratics over the tangent spaces of m patches of K points in r coordinates.

    Attributes:
        frame: (m, r, d) orthonormal tangent frames.
        u: (m, K, d) coordinates of the points in them.
        normal: (m, K, r) what is left of the points beside them.
        design: (m, K, p) `quadratic_columns` of u.
        inverse: (m, p, p) inverse of the Gram matrix of `design`, zero where not decided.
        fit: (m, p, r) coefficients of the heights `normal`, zero where not decided.
        decided: (m,) whether the points determine them.
    """

    frame: Array
    u: Array
    normal: Array
    design: Array
    inverse: Array
    fit: Array
    decided: NDArray[np.bool_]

    def residual(self) -> Array:
        """(m, K, r) what the quadratic leaves of each point."""
        return self.normal - self.design @ self.fit


def quadratic_fit(points: Array, dim: int, turns: int) -> QuadraticFit:
    """Fit quadratics of the dimension to patches (m, K, r), their frames turned `turns` times.

    Each turn shrinks the slope that is left by the square of the patch over the radius of
    curvature.
    """
    centred = points - points.mean(axis=1, keepdims=True)
    frame = np.linalg.eigh(centred.swapaxes(1, 2) @ centred)[1][:, :, ::-1][:, :, :dim]
    found = _over(points, frame)
    for _ in range(turns if dim < points.shape[2] else 0):
        # The gradient tilts the frame; a tilt beyond 45 degrees is no tangent but noise.
        tilt = found.fit[:, 1 : 1 + dim]
        steep = np.sqrt((tilt**2).sum(axis=(1, 2)))
        tilt = tilt / np.maximum(steep, 1)[:, None, None]
        found = _over(points, np.linalg.qr(found.frame + tilt.swapaxes(1, 2))[0])
    return found


def _over(points: Array, frame: Array) -> QuadraticFit:
    u = points @ frame
    design = quadratic_columns(u)
    inverse, decided = gram_inverse(design.swapaxes(1, 2) @ design)
    normal = points - u @ frame.swapaxes(1, 2)
    fit = inverse @ (design.swapaxes(1, 2) @ normal)
    return QuadraticFit(frame, u, normal, design, inverse, fit, decided)


def coefficients(dim: int) -> int:
    """Number p of coefficients of a quadratic in dim variables: 1 + d + d (d + 1) / 2.

    Example:
        >>> [coefficients(d) for d in (1, 2, 3)]
        [3, 6, 10]
    """
    return 1 + dim + dim * (dim + 1) // 2


def quadratic_columns(u: Array) -> Array:
    """(..., p) columns 1, u_i, u_i^2 / 2 and u_i u_j for i < j, of u (..., d).

    Their coefficients are value, gradient and entries of the Hessian.
    """
    first, second = np.triu_indices(u.shape[-1])
    products = u[..., first] * u[..., second] * np.where(first == second, 0.5, 1.0)
    return np.concatenate([np.ones((*u.shape[:-1], 1)), u, products], axis=-1)


def hessians(coefficient: Array, dim: int) -> Array:
    """Symmetric (..., d, d, r) from the coefficients (..., p, r) of `quadratic_columns`."""
    first, second = np.triu_indices(dim)
    full = np.empty((*coefficient.shape[:-2], dim, dim, coefficient.shape[-1]))
    full[..., first, second, :] = coefficient[..., 1 + dim :, :]
    full[..., second, first, :] = coefficient[..., 1 + dim :, :]
    return full


def gram_inverse(gram: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Inverses of Gram matrices (m, p, p), zero where the points do not determine a fit."""
    scale = np.sqrt(np.maximum(np.einsum("mpp->mp", gram), 1e-300))
    unit = gram / scale[:, :, None] / scale[:, None, :]
    decided = np.linalg.eigvalsh(unit)[:, 0] > _LEAST
    unit[~decided] = np.eye(gram.shape[1])
    # numpy types its solvers in part only.
    invert: Any = np.linalg.inv
    inverse: Array = invert(unit) / scale[:, :, None] / scale[:, None, :]
    inverse[~decided] = 0
    return inverse, decided


def patch_offsets(
    x: NDArray[np.floating], rows: NDArray[np.int64], near: NDArray[np.integer]
) -> Array:
    """(m, k + 1, D) offsets of points from centres: the centre itself first, its k neighbours."""
    patch = np.zeros((len(rows), near.shape[1] + 1, x.shape[1]))
    patch[:, 1:] = x[near]
    patch[:, 1:] -= x[rows][:, None, :]
    return patch


def own_axes(patch: Array) -> tuple[Array, Array]:
    """Coordinates (m, K, r) of patches (m, K, D) in orthonormal axes (m, r, D) that hold them.

    r is the less of K and D; axes beyond a patch's rank are zero.

    Cost a patch: K^2 D flops and a symmetric eigenproblem of size K where D > K; nothing otherwise.
    """
    m, size, width = patch.shape
    if width <= size:
        return patch, np.broadcast_to(np.eye(width), (m, width, width))
    # Scaled, so that squares neither overflow nor vanish.
    scale = np.abs(patch).max(axis=(1, 2), keepdims=True)
    unit = patch / np.where(scale > 0, scale, 1)
    variances, vectors = np.linalg.eigh(unit @ unit.swapaxes(1, 2))
    # Below rounding there is no direction, only its noise; such axes are zero.
    kept = variances > variances[:, -1:] * size * 1e-15
    root = np.sqrt(np.where(kept, variances, 1))
    points = vectors * np.where(kept, root, 0)[:, None, :]
    span = (vectors * np.where(kept, 1 / root, 0)[:, None, :]).swapaxes(1, 2) @ unit
    return points * scale, span
