"""A network's map as an immersion: the geometry that it pulls back to its domain."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from immersion.core.derivatives import BatchedMap, directional, jacobian_columns
from immersion.core.errors import InputError
from immersion.core.linalg import singular_values, symmetric_eigen
from immersion.core.metric import Metric
from immersion.learned.tracing import evaluating

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float
    from torch import Tensor


@final
class Immersion(Metric):
    """A map f: domain -> codomain with the pullback metric G = J^T H J.

    J is the Jacobian of f and H the metric of the codomain. Where J is injective, lengths and
    angles in the domain are those of the image surface; where a singular value of J vanishes, f
    folds or collapses and is no immersion.

    Args:
        f: a batched map (n, *point_shape) -> (n, *out) whose rows do not influence each other: a
            decoder, a generator, a layer. A module runs in evaluation mode and is left as it was.
        point_shape: shape of one point of the domain.
        codomain: the metric H of the codomain; Euclidean when None.

    All methods take points `z` of shape (*b, *point_shape); inputs and outputs are flattened in
    matrices. Derivatives are by forward mode: a Jacobian costs d = prod(point_shape) passes, which
    is the cheap side for maps from few to many dimensions.

    Example:
        >>> def sphere(z):
        ...     theta, phi = z.unbind(-1)
        ...     x, y = theta.sin() * phi.cos(), theta.sin() * phi.sin()
        ...     return torch.stack([x, y, theta.cos()], -1)
        >>> chart = Immersion(sphere, (2,))
        >>> chart.gram(torch.tensor([torch.pi / 6, 0.3])).round(decimals=4)
        tensor([[1.0000, 0.0000],
                [0.0000, 0.2500]])
    """

    def __init__(
        self,
        f: nn.Module | Callable[[Tensor], Tensor],
        point_shape: tuple[int, ...],
        *,
        codomain: Metric | None = None,
    ) -> None:
        if not point_shape or min(point_shape) < 1:
            raise InputError(f"point_shape must be a non-empty shape, not {point_shape}")
        self.f: BatchedMap = f
        self.point_shape = tuple(point_shape)
        self.dim = math.prod(point_shape)
        self.codomain = codomain

    def push(self, z: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *o"]:
        """Image Df(z)[u] of a tangent vector, one forward-mode pass."""
        points, vectors = self._rows(z), self._rows(u)
        with self._evaluating():
            image = directional(self.f, points, vectors)
        return image.reshape(*self._batch(z), *image.shape[1:])

    def jacobian(self, z: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b o d"]:
        """Jacobian of f, outputs by inputs, both flattened."""
        points = self._rows(z)
        basis = torch.eye(self.dim, dtype=points.dtype, device=points.device)
        directions = basis.reshape(1, self.dim, *self.point_shape).expand(
            len(points), -1, *self.point_shape
        )
        with self._evaluating():
            columns = jacobian_columns(self.f, points, directions)
        return columns.reshape(*self._batch(z), *columns.shape[1:])

    def gram(self, z: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b d d"]:
        """Matrix G(z) of the pullback metric, symmetric and positive semidefinite."""
        J = self.jacobian(z)
        if self.codomain is None:
            return J.mT @ J
        with self._evaluating():
            image = self.f(self._rows(z))
        image = image.reshape(*self._batch(z), 1, 1, *self.codomain.point_shape)
        vectors = J.mT.reshape(*J.shape[:-2], self.dim, *self.codomain.point_shape)
        lead = len(J.shape) - 2
        return self.codomain.inner(image, vectors.unsqueeze(lead + 1), vectors.unsqueeze(lead))

    def inner(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b"]:
        """Pullback inner product <Df[u], Df[v]> at `x`, two forward-mode passes."""
        image_u, image_v = self.push(x, u), self.push(x, v)
        lead = len(self._batch(x))
        if self.codomain is None:
            return (image_u * image_v).flatten(lead).sum(-1)
        with self._evaluating():
            image = self.f(self._rows(x)).reshape(image_u.shape)
        return self.codomain.inner(image, image_u, image_v)

    def singular_values(self, z: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b r"]:
        """Singular values of f at z, descending: stretch along each principal direction.

        Read off J itself under a Euclidean codomain, since forming J^T J would lose those below
        sqrt(eps) of the largest.
        """
        if self.codomain is None:
            return singular_values(self.jacobian(z))
        return symmetric_eigen(self.gram(z))[0].clamp_min(0).sqrt().flip(-1)

    def volume(self, z: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Volume factor sqrt(det G): how much f enlarges a small region of the domain."""
        values = self.singular_values(z)
        short = values.shape[-1] < self.dim
        return torch.zeros_like(values[..., 0]) if short else values.prod(-1)

    def _batch(self, z: Tensor) -> tuple[int, ...]:
        return tuple(z.shape[: z.ndim - len(self.point_shape)])

    def _rows(self, z: Tensor) -> Tensor:
        if tuple(z.shape[z.ndim - len(self.point_shape) :]) != self.point_shape:
            raise InputError(
                f"points must have shape (*batch, {', '.join(map(str, self.point_shape))}); "
                f"met {tuple(z.shape)}"
            )
        if not z.is_floating_point():
            raise InputError(f"points must be floating, not {z.dtype}")
        return z.reshape(-1, *self.point_shape)

    def _evaluating(self) -> AbstractContextManager[None]:
        return evaluating(self.f) if isinstance(self.f, nn.Module) else nullcontext()
