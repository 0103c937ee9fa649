"""Linear algebra in tangent spaces, of any manifold: bases, coordinates, the Hessian of a mean.

A tangent vector v acts on others by z -> g_x(v, z). The covector that does so on ambient arrays
comes by one reverse pass through `inner` and `to_tangent`, and turns inner products of many vectors
into a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch

from immersion.core.metric import GeodesicManifold

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: A linear, symmetric map of the tangent space at a point to itself.
Operator = Callable[["Tensor"], "Tensor"]


def trackable(a: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """The same numbers without their history, fit for reverse mode also if made in inference mode.

    To be called where inference mode is off.
    """
    return a.clone() if a.is_inference() else a.detach()


def covector(
    manifold: GeodesicManifold, x: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
) -> Float[Tensor, "*b *p"]:
    """The ambient array a with <a, z> = g_x(v, z) for tangent z, and zero on what is normal."""
    with torch.inference_mode(False), torch.enable_grad():
        x, v = trackable(x), trackable(v)
        z = torch.zeros_like(v, requires_grad=True)
        pairing = manifold.inner(x, v, manifold.to_tangent(x, z))
        (a,) = torch.autograd.grad(pairing.sum(), z)
    return a


@torch.no_grad()
def tangent_basis(
    manifold: GeodesicManifold, x: Float[Tensor, "*b *p"]
) -> Float[Tensor, "*b dim *p"]:
    """An orthonormal basis of the tangent space at each point, the same at every call.

    Random vectors are made orthonormal by the Cholesky factor of their Gram matrix, twice: once
    leaves an error of eps times the square of a condition number of about dim.
    """
    axes = len(manifold.point_shape)
    generator = torch.Generator(x.device).manual_seed(0)
    at = x.detach().unsqueeze(-1 - axes)
    at = at.expand(*x.shape[: x.ndim - axes], manifold.dim, *manifold.point_shape)
    basis = manifold.random_tangent(at, generator)
    for _ in range(2):
        rows = basis.flatten(basis.ndim - axes)
        gram = rows @ covector(manifold, at, basis).flatten(basis.ndim - axes).mT
        factor = cast("Tensor", torch.linalg.cholesky((gram + gram.mT) / 2))
        rows = cast("Tensor", torch.linalg.solve_triangular(factor, rows, upper=False))
        basis = manifold.to_tangent(at, rows.reshape(basis.shape))
    return basis


def coordinates(
    manifold: GeodesicManifold,
    x: Float[Tensor, "*b *p"],
    basis: Float[Tensor, "*b d *p"],
    vectors: Float[Tensor, "*b n *p"],
) -> Float[Tensor, "*b n d"]:
    """Inner products of tangent vectors at x with those of a basis."""
    axes = len(manifold.point_shape)
    at = x.unsqueeze(-1 - axes).expand_as(basis)
    duals = covector(manifold, at, basis).flatten(basis.ndim - axes)
    return vectors.flatten(vectors.ndim - axes) @ duals.mT


def derivative(
    manifold: GeodesicManifold,
    x: Float[Tensor, "*b *p"],
    force: Callable[[Tensor], Float[Tensor, "*b *p"]],
) -> Operator:
    """The covariant derivative of -F at a zero of F, which for a mean of logs is symmetric.

    It is the Hessian of half the mean squared distance. Being symmetric, it is had from reverse
    mode alone: each use costs one reverse pass through `force`, which runs once.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        value = force(leaf)

    def apply(v: Tensor) -> Tensor:
        (g,) = torch.autograd.grad(value, leaf, covector(manifold, x, v), retain_graph=True)
        return -manifold.egrad2rgrad(x, g)

    return apply


@torch.no_grad()
def solve(
    manifold: GeodesicManifold,
    x: Float[Tensor, "*b *p"],
    operator: Operator,
    right: Float[Tensor, "*b *p"],
) -> Float[Tensor, "*b *p"]:
    """operator^-1 right by conjugate gradients, for a positive operator.

    Stops where the residual has fallen to eps^0.75, or after 2 dim + 10 steps, at most 500. Along a
    direction in which the operator is below eps^0.5 there is no step, and what there is so far is
    the result: so a right side that is only rounding, and may be normal, yields zero.
    """
    axes = len(manifold.point_shape)

    def wide(a: Tensor) -> Tensor:
        return a.reshape(*a.shape, *(1,) * axes)

    def ratio(a: Tensor, b: Tensor, least: Tensor | float = 0.0) -> Tensor:
        return wide(torch.where(b > least, a / torch.where(b > least, b, 1), 0))

    eps = torch.finfo(right.dtype).eps
    solution = torch.zeros_like(right)
    residual = direction = manifold.to_tangent(x, right)
    square = manifold.inner(x, residual, residual)
    target = eps**1.5 * square
    for _ in range(min(2 * manifold.dim + 10, 500)):
        if not bool((square > target).any()):
            break
        image = operator(direction)
        least = eps**0.5 * manifold.inner(x, direction, direction)
        along = ratio(square, manifold.inner(x, direction, image), least)
        along = torch.where(wide(square > target), along, 0)
        solution = solution + along * direction
        residual = residual - along * image
        square_new = manifold.inner(x, residual, residual)
        square_new = torch.where(along.reshape(square.shape) == 0, 0, square_new)
        direction = residual + ratio(square_new, square) * direction
        square = square_new
    return solution
