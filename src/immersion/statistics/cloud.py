"""What every statistic asks of the points and weights it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from immersion.core.errors import InputError
from immersion.core.metric import GeodesicManifold

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def require_cloud(
    manifold: object, points: Float[Tensor, "*b n *p"], where: str, least: int = 1
) -> None:
    """Raise unless the points are at least `least` points of a manifold with geodesics.

    Raises:
        InputError: no geodesics; points of a wrong shape or dtype, off the manifold, or too few.
    """
    if not isinstance(manifold, GeodesicManifold):
        raise InputError(
            f"{where} needs geodesics (exp, log, dist), which {manifold} has not in closed form: "
            "it is no GeodesicManifold"
        )
    manifold.check(points)
    if points.ndim == len(manifold.point_shape):
        raise InputError(
            f"{where} needs points of shape (..., n, {', '.join(map(str, manifold.point_shape))}), "
            f"not one point of shape {tuple(points.shape)}"
        )
    n = points.shape[-1 - len(manifold.point_shape)]
    if n < least:
        raise InputError(f"{where} needs at least {least} points, not {n}: {tuple(points.shape)}")


def shares(
    weights: Float[Tensor, "*b n"] | None, points: Float[Tensor, "*b n *p"], axes: int, where: str
) -> Float[Tensor, "*b n"]:
    """The weights of the points, divided by their sum; all equal where none are given.

    Args:
        weights: one number a point, broadcast over the batch; None for equal ones.
        points: what they weigh.
        axes: number of axes of one point.
        where: name of the caller, for errors.

    Raises:
        InputError: another shape, a weight that is negative or not finite, or a sum of zero.
    """
    batch = points.shape[: points.ndim - axes]
    if weights is None:
        return points.new_full((batch[-1],), 1 / batch[-1]).expand(batch)
    fits = all(
        size in (1, of)
        for size, of in zip(weights.shape[:-1][::-1], batch[:-1][::-1], strict=False)
    )
    if not 0 < weights.ndim <= len(batch) or weights.shape[-1] != batch[-1] or not fits:
        raise InputError(
            f"{where}: weights of shape {tuple(weights.shape)} for points in a batch of shape "
            f"{tuple(batch)}; give one weight a point"
        )
    given = weights.detach()
    if not bool((torch.isfinite(given) & (given >= 0)).all()):
        raise InputError(f"{where}: weights are finite and not negative; one is {_worst(given)}")
    if not bool((given.sum(-1) > 0).all()):
        raise InputError(f"{where}: all weights are zero; give at least one point some weight")
    weights = weights.to(points.dtype).expand(batch)
    return weights / weights.sum(-1, keepdim=True)


def _worst(weights: Float[Tensor, "*b n"]) -> float:
    """A weight that cannot be used: one that is not finite, else the least."""
    broken = weights[~torch.isfinite(weights)]
    return float(broken[0] if len(broken) else weights.min())
