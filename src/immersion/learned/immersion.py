"""A network's map as an immersion: the geometry that it pulls back to its domain."""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from immersion.core.derivatives import directional, jacobian_columns
from immersion.core.errors import InputError
from immersion.core.linalg import broadcast, orthonormal_columns, singular_values, symmetric_eigen
from immersion.core.metric import Metric
from immersion.learned.tracing import eagerly, in_evaluation_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

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
    is the cheap side for maps from few to many dimensions. Results can be differentiated, in z and
    in the parameters of f, where torch differentiates the operations of f twice; under
    `torch.no_grad()` they hold no graph. `f` runs eagerly although it be compiled.

    Raises:
        InputError: points are not floating or of another shape; f does not map n rows to n rows.
        NotImplementedError: (from torch) an operation of f has no forward derivative.

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
        self.f = f
        self.codomain = codomain
        self._point_shape = tuple(point_shape)

    @property
    def dim(self) -> int:
        """Dimension of the domain."""
        return math.prod(self._point_shape)

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape of one point of the domain."""
        return self._point_shape

    def push(self, z: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *o"]:
        """Image Df(z)[u] of a tangent vector, one forward-mode pass."""
        self._check(z, u)
        z, u = broadcast(z, u)
        with self._evaluating():
            image = directional(self._map, self._rows(z), self._rows(u))
        return image.reshape(*self._batch(z), *image.shape[1:])

    def jacobian(self, z: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b o d"]:
        """Jacobian of f, outputs by inputs, both flattened."""
        self._check(z)
        points = self._rows(z)
        basis = torch.eye(self.dim, dtype=z.dtype, device=z.device)
        directions = basis.reshape(1, self.dim, *self.point_shape).expand(
            len(points), -1, *self.point_shape
        )
        with self._evaluating():
            columns = jacobian_columns(self._map, points, directions)
        return columns.reshape(*self._batch(z), *columns.shape[1:])

    def gram(self, z: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b d d"]:
        """Matrix G(z) of the pullback metric, symmetric and positive semidefinite."""
        J = self.jacobian(z)
        return J.mT @ J if self.codomain is None else self._products(self.codomain, z, J)

    def inner(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b"]:
        """Pullback inner product <Df[u], Df[v]> at `x`, two forward-mode passes."""
        image_u = self.push(x, u)
        image_v = image_u if v is u else self.push(x, v)
        if self.codomain is not None:
            return self.codomain.inner(self._image(x), image_u, image_v)
        products = image_u * image_v
        axes = image_u.ndim - max(len(self._batch(x)), len(self._batch(u)))
        batch = products.shape[: products.ndim - axes]
        return products.reshape(*batch, math.prod(products.shape[len(batch) :])).sum(-1)

    def singular_values(self, z: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b r"]:
        """Singular values of f at z, descending: stretch along each principal direction.

        r = min(d, o). Forming J^T J would lose those below sqrt(eps) of the largest, so they are
        read off J itself, and under a metric H of the codomain off H^(1/2) Q R with J = Q R.
        """
        J = self.jacobian(z)
        if self.codomain is None:
            return singular_values(J)
        Q = orthonormal_columns(J)
        values, vectors = symmetric_eigen(self._products(self.codomain, z, Q))
        root = vectors * values.clamp_min(0).sqrt()[..., None, :]
        return singular_values(root.mT @ Q.mT @ J)

    def volume(self, z: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Volume factor sqrt(det G): how much f enlarges a small region of the domain.

        A product of d stretches: in many dimensions it leaves the range of the dtype, where the
        sum of the logarithms of `singular_values` does not.
        """
        values = self.singular_values(z)
        short = values.shape[-1] < self.dim
        return torch.zeros_like(values[..., 0]) if short else values.prod(-1)

    def _products(
        self, H: Metric, z: Float[Tensor, "*b *p"], columns: Float[Tensor, "*b o m"]
    ) -> Float[Tensor, "*b m m"]:
        """Inner products at f(z) of every two columns, vectors of the codomain."""
        image = self._image(z).reshape(*self._batch(z), 1, 1, *H.point_shape)
        vectors = columns.mT.reshape(*columns.mT.shape[:-1], *H.point_shape)
        batch = len(self._batch(z))
        return H.inner(image, vectors.unsqueeze(batch + 1), vectors.unsqueeze(batch))

    def _image(self, z: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *o"]:
        with self._evaluating():
            image = self._map(self._rows(z).clone())
        return image.reshape(*self._batch(z), *image.shape[1:])

    def _map(self, points: Float[Tensor, "n *p"]) -> Float[Tensor, "n *o"]:
        image = self.f(points)
        if not isinstance(image, torch.Tensor) or image.shape[:1] != points.shape[:1]:
            met = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
            raise InputError(
                f"f must map (n, *point_shape) to (n, *out), one tensor with a row a point; "
                f"{tuple(points.shape)} gave {met}"
            )
        return image

    def _batch(self, z: Tensor) -> tuple[int, ...]:
        return tuple(z.shape[: z.ndim - len(self.point_shape)])

    def _rows(self, z: Tensor) -> Tensor:
        return z.reshape(math.prod(self._batch(z)), *self.point_shape)

    def _check(self, *tensors: Tensor) -> None:
        for z in tensors:
            if tuple(z.shape[max(0, z.ndim - len(self.point_shape)) :]) != self.point_shape:
                raise InputError(
                    f"points must have shape (*batch, {', '.join(map(str, self.point_shape))}); "
                    f"met {tuple(z.shape)}"
                )
            if not z.is_floating_point():
                raise InputError(f"points must be floating, not {z.dtype}")

    @contextmanager
    def _evaluating(self) -> Generator[None]:
        mode = in_evaluation_mode(self.f) if isinstance(self.f, nn.Module) else nullcontext()
        with mode, eagerly():
            yield
