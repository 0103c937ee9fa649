"""Curves through points: piecewise geodesics, and the curves of Bezier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from immersion.core.errors import InputError
from immersion.core.metric import GeodesicManifold
from immersion.statistics.cloud import require_cloud

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def geodesic_interpolation(
    manifold: GeodesicManifold,
    points: Float[Tensor, "*b k *p"],
    t: Float[Tensor, "*t"],
    times: Float[Tensor, "k"] | None = None,
) -> Float[Tensor, "*b *t *p"]:
    """Points at times t of the path that runs through k points along shortest geodesics.

    Between two knots the speed is constant; at a knot the direction may jump. The gradient in the
    points and in t is that of the geodesics.

    Cost: k - 1 `log` and one `exp` for each time.

    Args:
        manifold: any manifold with geodesics.
        points: (*b, k, *p), at least two, in order.
        t: times of any shape, between the first and the last knot.
        times: (k,) when the path passes each point, increasing; from 0 to 1 in equal steps if None.

    Raises:
        InputError: a manifold without geodesics; points off it or fewer than two; times that do
            not increase; t outside of them.

    Example:
        >>> import immersion as im
        >>> corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
        >>> geodesic_interpolation(im.Euclidean(2), corner, torch.tensor([0.25, 0.75]))
        tensor([[0.5000, 0.0000],
                [1.0000, 0.5000]])
    """
    require_cloud(manifold, points, "geodesic_interpolation", least=2)
    knot_axis = points.ndim - 1 - len(manifold.point_shape)
    k = points.shape[knot_axis]
    knots = _knots(points, k, times)
    t = t.to(points)
    inside = (t >= knots[0]) & (t <= knots[-1])
    if not bool(inside.all()):
        raise InputError(
            f"geodesic_interpolation: time {float(t[~inside][0]):.6g} is outside the path, which "
            f"runs from {float(knots[0]):.6g} to {float(knots[-1]):.6g}"
        )
    starts = points.narrow(knot_axis, 0, k - 1)
    velocities = manifold.log(starts, points.narrow(knot_axis, 1, k - 1))
    flat = t.reshape(-1)
    piece = (torch.searchsorted(knots, flat.detach(), right=True) - 1).clamp(0, k - 2)
    share = (flat - knots[piece]) / (knots[piece + 1] - knots[piece])
    path = manifold.exp(
        starts.index_select(knot_axis, piece),
        share.reshape(-1, *(1,) * len(manifold.point_shape))
        * velocities.index_select(knot_axis, piece),
    )
    return path.reshape(*points.shape[:knot_axis], *t.shape, *manifold.point_shape)


def bezier(
    manifold: GeodesicManifold, points: Float[Tensor, "*b k *p"], t: Float[Tensor, "*t"]
) -> Float[Tensor, "*b *t *p"]:
    """Points at times t of the Bezier curve with k control points, by de Casteljau's algorithm.

    The curve is smooth. It starts at the first and ends at the last point, with the directions of
    the geodesics to their neighbours in the row, and is drawn towards the others.

    Cost: k (k - 1) / 2 geodesics for each time.

    Args:
        manifold: any manifold with geodesics.
        points: (*b, k, *p), at least two, each within the injectivity radius of the next.
        t: times of any shape, usually in [0, 1]; outside, the geodesics are prolonged.

    Raises:
        InputError: a manifold without geodesics; points off it or fewer than two.

    Source: Park and Ravani 1995.

    Example:
        >>> import immersion as im
        >>> control = torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 0.0]])
        >>> bezier(im.Euclidean(2), control, torch.tensor(0.5))
        tensor([1., 1.])
    """
    require_cloud(manifold, points, "bezier", least=2)
    axes = len(manifold.point_shape)
    batch = points.shape[: points.ndim - 1 - axes]
    flat = t.to(points).reshape(-1)
    control = points.unsqueeze(-2 - axes)  # (*b, 1, k, *p)
    while (k := control.shape[-1 - axes]) > 1:
        ahead = control.narrow(-1 - axes, 1, k - 1)
        control = manifold.geodesic(control.narrow(-1 - axes, 0, k - 1), ahead, flat.unsqueeze(-1))
    return control.reshape(*batch, *t.shape, *manifold.point_shape)


def _knots(points: Tensor, k: int, times: Float[Tensor, "k"] | None) -> Float[Tensor, "k"]:
    """When the path passes each point."""
    if times is None:
        return torch.linspace(0, 1, k, dtype=points.dtype, device=points.device)
    if times.shape != (k,) or not bool((times.diff() > 0).all()):
        raise InputError(
            f"geodesic_interpolation: times are {k} increasing numbers, one a point, not a tensor "
            f"of shape {tuple(times.shape)}"
            + (f" that holds {times.tolist()}" if times.shape == (k,) and k < 10 else "")
        )
    return times.to(points)
