"""Frechet means: the points nearest, in mean square, to sets of points."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.core.linalg import symmetric_eigen
from immersion.core.metric import GeodesicManifold
from immersion.statistics.cloud import require_cloud, shares
from immersion.statistics.descent import Descent, descend
from immersion.statistics.tangent import (
    Operator,
    coordinates,
    covector,
    derivative,
    solve,
    tangent_basis,
    trackable,
)

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: Points that vie to be the start, and points on which they are compared.
_STARTS, _JUDGES = 4, 32


def frechet_mean(
    manifold: GeodesicManifold,
    points: Float[Tensor, "*b n *p"],
    weights: Float[Tensor, "*b n"] | None = None,
    *,
    tolerance: float | None = None,
    max_iterations: int = 200,
) -> Float[Tensor, "*b *p"]:
    """The point m that minimises sum_i w_i dist(m, x_i)^2, for each set of n points in a batch.

    It exists and is unique where the points lie in a ball of radius less than half the injectivity
    radius and pi / (2 sqrt K), K the largest sectional curvature; so everywhere on spaces without
    positive curvature. Elsewhere the result is a local minimum, the one below the best of some
    points of the set.

    The gradient in the points, the weights and learned parameters of the metric is that of the
    implicit function theorem at sum_i w_i log(m, x_i) = 0: the Hessian is inverted by conjugate
    gradients, and no step of the iteration is stored. It can be taken once (not twice), in reverse
    mode, and its error is that of the residual.

    Cost: a few to some tens of `log` over all points (5 to 10 in a moderate ball), about 3 of them
    at a time in memory, and in pieces above 1 GiB; the gradient about ten reverse passes through
    one `log`.

    Args:
        manifold: any manifold with geodesics.
        points: (*b, n, *p), the mean being taken over n, the last axis before the point's shape.
        weights: one a point, not negative, of any sum; equal if None. Broadcast over the batch.
        tolerance: largest |sum_i w_i log(m, x_i)| accepted, as a share of the root mean square
            distance; eps^0.75 if None, which is 2e-12 in float64 and 6e-6 in float32. A mean is
            accepted also where rounding leaves no more to gain.
        max_iterations: steps after which to give up, with a `RuntimeWarning` that has the residual.

    Raises:
        InputError: a manifold without geodesics; points off it, NaN, or none; weights that are
            negative, not finite, all zero or of another shape; a second derivative.

    Source: Karcher 1977; Afsari 2011 (uniqueness).

    Example:
        >>> import immersion as im
        >>> circle = im.Sphere(1)
        >>> angles = torch.tensor([0.1, 0.3, 0.8])
        >>> points = torch.stack([angles.cos(), angles.sin()], -1)
        >>> m = frechet_mean(circle, points)
        >>> torch.atan2(m[1], m[0])
        tensor(0.4000)
    """
    require_cloud(manifold, points, "frechet_mean")
    w = shares(weights, points, len(manifold.point_shape), "frechet_mean")
    found = _mean(manifold, points.detach(), w.detach(), tolerance, max_iterations, "frechet_mean")
    mean = found.point
    if not torch.is_grad_enabled() or mean.numel() == 0:
        return mean
    force, _ = mean_step(manifold, mean, points, w)
    if not force.requires_grad:
        return mean

    def pull(g: Tensor) -> Tensor:
        """From the gradient in the mean to that in the force."""
        hessian = _hessian(manifold, mean, points, w)
        return covector(
            manifold, mean, solve(manifold, mean, hessian, manifold.egrad2rgrad(mean, g))
        )

    return cast("Tensor", _AtZeroOf.apply(force, mean, pull))


@dataclass(frozen=True, eq=False)
class FrechetStatistics:
    """A Frechet mean with its spread and uncertainty; nothing here holds a graph.

    Attributes:
        mean: (*b, *p).
        variance: (*b) weighted mean of the squared distances to the mean, in squared units.
        variance_error: (*b) standard error of the variance.
        standard_error: (*b) root mean square distance, to first order, of the mean of the sample
            from that of the population; NaN for one point, or where the mean is no strict minimum.
        effective_n: (*b) number of points that equal weights would need for as much certainty,
            (sum w)^2 / sum w^2; n for equal weights.
        residual: (*b) |sum_i w_i log(m, x_i)|, weights summing to 1.
        iterations: steps taken, by the slowest set of the batch.
    """

    mean: Float[Tensor, "*b *p"]
    variance: Float[Tensor, "*b"]
    variance_error: Float[Tensor, "*b"]
    standard_error: Float[Tensor, "*b"]
    effective_n: Float[Tensor, "*b"]
    residual: Float[Tensor, "*b"]
    iterations: int


def frechet_statistics(
    manifold: GeodesicManifold,
    points: Float[Tensor, "*b n *p"],
    weights: Float[Tensor, "*b n"] | None = None,
    *,
    tolerance: float | None = None,
    max_iterations: int = 200,
) -> FrechetStatistics:
    """The Frechet mean with its variance, standard error and convergence.

    The error of the mean is that of an M-estimator, tr(H^-1 C H^-1) / (n - 1) under the root, with
    C the covariance of the logs at the mean and H the Hessian of half the mean squared distance: H
    is the identity in flat space, larger under negative and smaller under positive curvature. It
    takes the points as independent, with weights that are not random.

    Costs beyond `frechet_mean`: dim reverse passes through `log` over all points, and memory for
    dim x dim and n x dim numbers.

    Args:
        manifold: any manifold with geodesics.
        points: (*b, n, *p).
        weights: as in `frechet_mean`.
        tolerance: as in `frechet_mean`.
        max_iterations: as in `frechet_mean`.

    Raises:
        InputError: as `frechet_mean`.

    Source: Bhattacharya and Patrangenaru 2005.

    Example:
        >>> import immersion as im
        >>> line = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
        >>> found = frechet_statistics(im.Euclidean(1), line)
        >>> found.mean, found.variance, found.standard_error
        (tensor([2.5000]), tensor(1.2500), tensor(0.6455))
    """
    require_cloud(manifold, points, "frechet_statistics")
    axes = len(manifold.point_shape)
    points = points.detach()
    w = shares(weights, points, axes, "frechet_statistics").detach()
    found = _mean(manifold, points, w, tolerance, max_iterations, "frechet_statistics")
    mean = found.point
    with torch.no_grad():
        logs = manifold.log(mean.unsqueeze(-1 - axes), points)
        square = manifold.inner(mean.unsqueeze(-1 - axes), logs, logs)
        variance = (w * square).sum(-1)
        effective_n = 1 / w.square().sum(-1)
        small_sample = effective_n / (effective_n - 1)
        small_sample = torch.where(effective_n > 1 + 1e-6, small_sample, torch.nan)

        basis = tangent_basis(manifold, mean)
        hessian = _hessian(manifold, mean, points, w)
        images = torch.stack([hessian(v) for v in basis.unbind(-1 - axes)], -1 - axes)
        matrix = coordinates(manifold, mean, basis, images)
        curvatures, vectors = symmetric_eigen((matrix + matrix.mT) / 2)
        strict = (curvatures > torch.finfo(mean.dtype).eps ** 0.5).all(-1, keepdim=True)
        curvatures = torch.where(strict, curvatures, torch.nan)
        influence = coordinates(manifold, mean, basis, logs) @ vectors / curvatures.unsqueeze(-2)
        spread = (w.square() * influence.square().sum(-1)).sum(-1)
        variance_spread = (w.square() * (square - variance.unsqueeze(-1)).square()).sum(-1)
    return FrechetStatistics(
        mean=mean,
        variance=variance,
        variance_error=(small_sample * variance_spread).sqrt(),
        standard_error=(small_sample * spread).sqrt(),
        effective_n=effective_n,
        residual=found.residual,
        iterations=found.iterations,
    )


def mean_step(
    manifold: GeodesicManifold,
    x: Float[Tensor, "*b *p"],
    points: Float[Tensor, "*b n *p"],
    w: Float[Tensor, "*b n"],
) -> tuple[Float[Tensor, "*b *p"], Float[Tensor, "*b"]]:
    """Weighted means of log(x, x_i) and of its squared length, in pieces that fit the memory."""
    axes = len(manifold.point_shape)
    n = points.shape[-1 - axes]
    at = x.unsqueeze(-1 - axes)
    forces: list[Tensor] = []
    squares: list[Tensor] = []
    for piece in row_chunks(n, 4 * points.itemsize * points.numel() // n):
        some = points.narrow(-1 - axes, piece.start, piece.stop - piece.start)
        share = w[..., piece]
        logs = manifold.log(at, some)
        forces.append((_wide(share, axes) * logs).sum(-1 - axes))
        squares.append((share * manifold.inner(at, logs, logs)).sum(-1))
    return sum(forces[1:], forces[0]), sum(squares[1:], squares[0])


def _mean(
    manifold: GeodesicManifold,
    points: Float[Tensor, "*b n *p"],
    w: Float[Tensor, "*b n"],
    tolerance: float | None,
    max_iterations: int,
    where: str,
) -> Descent:
    """The descent from the best start, with a warning where it failed."""
    axes = len(manifold.point_shape)
    found = descend(
        manifold,
        _start(manifold, points, w),
        lambda x: mean_step(manifold, x, points, w),
        points.abs().flatten(points.ndim - axes - 1).amax(-1),
        tolerance=torch.finfo(points.dtype).eps ** 0.75 if tolerance is None else tolerance,
        max_iterations=max_iterations,
    )
    failed = ~found.converged
    if bool(failed.any()):
        residual = float(found.residual[failed].nan_to_num(torch.inf).max())
        spread = float(found.variance[failed].sqrt().max())
        warnings.warn(
            f"{where}: {int(failed.sum())} of {failed.numel()} means did not converge in "
            f"{found.iterations} iterations: the mean of the logs has length {residual:.3g}, the "
            f"points a spread of {spread:.3g}. Points may lie too far apart for a unique mean; "
            "else raise max_iterations",
            RuntimeWarning,
            stacklevel=3,
        )
    return found


@torch.no_grad()
def _start(
    manifold: GeodesicManifold, points: Float[Tensor, "*b n *p"], w: Float[Tensor, "*b n"]
) -> Float[Tensor, "*b *p"]:
    """The ambient mean brought to the manifold, or a point of the set where that is better.

    They are compared on points drawn evenly from the set by weight.
    """
    axes = len(manifold.point_shape)
    count = min(w.shape[-1], _JUDGES)
    levels = (torch.arange(count, device=w.device, dtype=torch.float64) + 0.5) / count
    levels = levels.expand(*w.shape[:-1], count).contiguous()
    drawn = torch.searchsorted(w.double().cumsum(-1), levels).clamp(max=w.shape[-1] - 1)
    judges = torch.take_along_dim(points, _wide(drawn, axes), -1 - axes)
    some = torch.arange(0, count, math.ceil(count / _STARTS), device=w.device)
    ambient = manifold.proj((_wide(w, axes) * points).sum(-1 - axes)).unsqueeze(-1 - axes)
    starts = torch.cat([ambient, judges.index_select(judges.ndim - 1 - axes, some)], -1 - axes)
    cost = manifold.dist(starts.unsqueeze(-1 - axes), judges.unsqueeze(-2 - axes)).square().sum(-1)
    best = cost.nan_to_num(torch.inf).argmin(-1, keepdim=True)
    return torch.take_along_dim(starts, _wide(best, axes), -1 - axes).squeeze(-1 - axes)


def _hessian(
    manifold: GeodesicManifold,
    mean: Float[Tensor, "*b *p"],
    points: Float[Tensor, "*b n *p"],
    w: Float[Tensor, "*b n"],
) -> Operator:
    """The Hessian of half the mean squared distance, at the mean."""
    with torch.inference_mode(False):
        points, w = trackable(points), trackable(w)
    return derivative(manifold, mean, lambda x: mean_step(manifold, x, points, w)[0])


def _wide(a: Float[Tensor, "*b"], axes: int) -> Tensor:
    """One number a point, in the shape that multiplies points."""
    return a.reshape(*a.shape, *(1,) * axes)


class _AtZeroOf(torch.autograd.Function):
    """The mean, as a function of the force that vanishes there (implicit function theorem)."""

    @staticmethod
    def forward(ctx: Any, force: Tensor, mean: Tensor, pull: Operator) -> Tensor:
        ctx.pull = pull
        ctx.save_for_backward(force)
        return mean.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        return (
            cast("Tensor", _Once.apply(ctx.pull(grad_outputs[0]), *ctx.saved_tensors)),
            None,
            None,
        )


class _Once(torch.autograd.Function):
    """The value, and an error where someone wants to know how it depends on the rest."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *rest: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> None:
        raise InputError("frechet_mean can be differentiated once, not twice")
