"""Principal geodesics: the directions from the mean along which points vary most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from immersion.core.errors import InputError
from immersion.core.linalg import symmetric_eigen
from immersion.core.metric import GeodesicManifold
from immersion.statistics.cloud import require_cloud
from immersion.statistics.frechet import frechet_mean
from immersion.statistics.tangent import coordinates, covector, tangent_basis

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class PrincipalGeodesics:
    """The mean of a set of points, and the geodesics through it along which they vary most.

    Attributes:
        manifold: where the points are.
        mean: (*p) their Frechet mean.
        directions: (c, *p) orthonormal tangent vectors at the mean, by falling variance; each with
            its largest entry positive. Zero where the points do not vary at all.
        variances: (c,) variance of the coordinates along each, in squared units of the metric.
        explained: (c,) share of the variance of all directions.
        explained_error: (c,) standard error of the share, from the spread of the sample.
        total_variance: mean squared distance to the mean.
        tangent_residual: mean squared length that c directions leave in the tangent space.
        geodesic_residual: mean squared distance from each point to its reconstruction. The
            analysis is done in the tangent space, where distances other than those to the mean
            are distorted by curvature; if this differs much from `tangent_residual`, beside the
            total variance, the picture is distorted as much, and the points are too spread out
            for it.
    """

    manifold: GeodesicManifold
    mean: Float[Tensor, "*p"]
    directions: Float[Tensor, "c *p"]
    variances: Float[Tensor, "c"]
    explained: Float[Tensor, "c"]
    explained_error: Float[Tensor, "c"]
    total_variance: float
    tangent_residual: float
    geodesic_residual: float

    @property
    def linearisation_error(self) -> float:
        """(geodesic - tangent residual) / total variance: negative where curvature is positive."""
        if self.total_variance == 0:
            return 0.0
        return (self.geodesic_residual - self.tangent_residual) / self.total_variance

    def transform(self, points: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b c"]:
        """Coordinates of points along the directions: inner products with log(mean, x)."""
        logs = self.manifold.log(self.mean, self.manifold.check(points))
        axes = len(self.manifold.point_shape)
        rows = logs.reshape(-1, *self.manifold.point_shape)
        found = coordinates(self.manifold, self.mean, self.directions, rows)
        return found.reshape(*logs.shape[: logs.ndim - axes], len(self.directions))

    def inverse_transform(self, coordinates: Float[Tensor, "*b c"]) -> Float[Tensor, "*b *p"]:
        """The points exp(mean, sum_j c_j direction_j).

        Raises:
            InputError: not c coordinates a point.
        """
        c = len(self.directions)
        if coordinates.ndim == 0 or coordinates.shape[-1] != c:
            raise InputError(
                f"inverse_transform: coordinates of shape {tuple(coordinates.shape)} for {c} "
                f"directions; give (..., {c})"
            )
        vectors = coordinates.to(self.mean) @ self.directions.flatten(1)
        shape = (*coordinates.shape[:-1], *self.manifold.point_shape)
        return self.manifold.exp(self.mean, vectors.reshape(shape))

    def residuals(self, points: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Distance from each point to what its coordinates give back."""
        return self.manifold.dist(points, self.inverse_transform(self.transform(points)))


@torch.no_grad()
def principal_geodesics(
    manifold: GeodesicManifold,
    points: Float[Tensor, "n *p"],
    n_components: int = 2,
) -> PrincipalGeodesics:
    """Principal geodesic analysis by principal components of the logs at the Frechet mean.

    This is the linearised analysis of Fletcher et al.: exact in flat space, and to second order in
    the spread elsewhere. How far it is off is in the result (`geodesic_residual`).

    Cost: that of `frechet_mean` and an eigenvalue problem of size min(n, dim); memory for the
    points and for min(n, dim) tangent vectors. In float32, variances below 1e-6 of the largest are
    rounding.

    Args:
        manifold: any manifold with geodesics.
        points: (n, *p), at least two.
        n_components: number c of directions, at most min(n - 1, dim).

    Raises:
        InputError: a manifold without geodesics; points off it, fewer than two or in more than one
            batch dimension; n_components out of range.

    Source: Fletcher, Lu, Pizer, Joshi 2004.

    Example:
        >>> import immersion as im
        >>> angle = torch.linspace(-0.5, 0.5, 11)
        >>> arc = torch.stack([angle.cos(), angle.sin(), 0 * angle], -1)
        >>> found = principal_geodesics(im.Sphere(2), arc, 1)
        >>> found.mean.round(decimals=4).abs(), found.explained
        (tensor([1., 0., 0.]), tensor([1.]))
        >>> found.transform(arc[-1]).round(decimals=4)
        tensor([0.5000])
    """
    require_cloud(manifold, points, "principal_geodesics", least=2)
    n = len(points)
    if points.ndim != 1 + len(manifold.point_shape):
        raise InputError(
            f"principal_geodesics takes one set of points, of shape (n, "
            f"{', '.join(map(str, manifold.point_shape))}), not {tuple(points.shape)}"
        )
    if not 1 <= n_components <= min(n - 1, manifold.dim):
        raise InputError(
            f"principal_geodesics: n_components is between 1 and {min(n - 1, manifold.dim)} for "
            f"{n} points in {manifold.dim} dimensions, not {n_components}"
        )
    mean = frechet_mean(manifold, points)
    logs = manifold.log(mean, points)
    directions, scores = _leading(manifold, mean, logs, n_components)
    square = manifold.inner(mean, logs, logs)
    total = square.mean()
    variances = scores.square().mean(0)
    scale = torch.where(total > 0, total, 1)
    explained = variances / scale
    # The share is a ratio of means; its error is that of its linear part (delta method).
    influence = (scores.square() - explained * square.unsqueeze(-1)) / scale
    fitted = scores @ directions.flatten(1)
    fitted = fitted.reshape(points.shape)
    return PrincipalGeodesics(
        manifold=manifold,
        mean=mean,
        directions=directions,
        variances=variances,
        explained=explained,
        explained_error=influence.std(0) / n**0.5,
        total_variance=float(total),
        tangent_residual=float(manifold.inner(mean, logs - fitted, logs - fitted).mean()),
        geodesic_residual=float(manifold.dist(points, manifold.exp(mean, fitted)).square().mean()),
    )


def _leading(
    manifold: GeodesicManifold,
    mean: Float[Tensor, "*p"],
    logs: Float[Tensor, "n *p"],
    count: int,
) -> tuple[Float[Tensor, "c *p"], Float[Tensor, "n c"]]:
    """The leading principal directions of tangent vectors, and their coordinates along them.

    By the matrix of coordinates in a basis, or by the Gram matrix of the vectors: the smaller one.
    """
    n = len(logs)
    if manifold.dim < n:
        basis = tangent_basis(manifold, mean)
        table = coordinates(manifold, mean, basis, logs)
        _, axes = symmetric_eigen(table.mT @ table)
        rows = axes.flip(-1)[:, :count].mT @ basis.flatten(1)
        scores = table @ axes.flip(-1)[:, :count]
    else:
        duals = covector(manifold, mean.expand_as(logs), logs).flatten(1)
        gram = logs.flatten(1) @ duals.mT
        squares, axes = symmetric_eigen((gram + gram.mT) / 2)
        lengths = squares.clamp_min(0).sqrt().flip(0)[:count]
        real = lengths > lengths[0] * torch.finfo(lengths.dtype).eps ** 0.5
        axes = torch.where(real, axes.flip(-1)[:, :count], 0)
        rows = (axes / torch.where(real, lengths, 1)).mT @ logs.flatten(1)
        scores = axes * lengths
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    sign = torch.where(largest < 0, -1, 1).to(rows.dtype)
    directions = (sign * rows).reshape(count, *manifold.point_shape)
    return directions, scores * sign.squeeze(1)
