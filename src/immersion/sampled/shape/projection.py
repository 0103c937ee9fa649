"""Distance of points to a sampled manifold, and their feet on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.sampled.graph import as_points
from immersion.sampled.shape.charts import (
    quadratic_charts,
    require_charts,
)
from immersion.sampled.shape.quadratic import hessians, quadratic_columns

if TYPE_CHECKING:
    from immersion.sampled.graph import NeighborGraph
    from immersion.sampled.shape.charts import Charts

    Array = NDArray[np.float64]

_STEPS = 25


@dataclass(frozen=True, eq=False)
class Projection:
    """Feet of points on a sampled manifold.

    Attributes:
        distance: (m,) distance to the manifold, in the units of the points.
        stderr: (m,) its standard error, from the fit of the manifold; NaN where the neighbours do
            not determine it or the foot lies outside the patch: then `distance` is that to the
            nearest point of the data, an upper bound.
        foot: (m, D) nearest point on the manifold; the nearest data point where not decided.
        nearest: (m,) the data point whose patch was used.
    """

    distance: Array
    stderr: Array
    foot: Array
    nearest: NDArray[np.int64]

    @property
    def decided(self) -> NDArray[np.bool_]:
        """(m,) where the distance is measured and not only bounded."""
        return np.isfinite(self.stderr)


def distance_to_manifold(
    graph: NeighborGraph, queries: ArrayLike | torch.Tensor, dim: int
) -> Projection:
    """Distance of each query to the quadratic chart around its nearest data point.

    The chart smooths the noise of its patch, so the distance of a noisy data point to its own
    manifold is its noise, and that of a clean one is of the fourth order in the patch.

    Args:
        graph: its points and k neighbours; k >= (d + 1)(d + 2) / 2 + d + 2.
        queries: (m, D) any points.
        dim: dimension d of the manifold.

    Raises:
        InputError: queries of another width or not finite; what `quadratic_charts` needs.

    Fails quietly where: the query is further from the manifold than its reach (another sheet may
    be as near), or beyond a boundary within half a patch.

    Cost: m n D products for the nearest points, a chart a query, 25 Newton steps of size d.

    Source: Federer's projection onto the local polynomials of Aamari and Levrard 2019.

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> x = np.random.default_rng(0).normal(size=(2000, 3))
        >>> sphere = x / np.linalg.norm(x, axis=1, keepdims=True)
        >>> found = distance_to_manifold(neighbor_graph(sphere, 16), [[0, 0, 1.3], [0.8, 0, 0]], 2)
        >>> found.distance.round(3).tolist()
        [0.3, 0.2]
    """
    require_charts(graph, dim)
    q = as_points(queries)
    width = graph.points.shape[1]
    if q.shape[1] != width:
        raise InputError(f"queries have {q.shape[1]} coordinates, the graph's points {width}")
    nearest = _nearest(graph.points, q)
    distance, stderr, foot = np.empty(len(q)), np.empty(len(q)), np.empty((len(q), width))
    for part, charts in quadratic_charts(graph, dim, nearest):
        at = nearest[part]
        origin = graph.points[at].astype(np.float64)
        step = q[part] - origin
        unit = np.where(charts.radius > 0, charts.radius, 1)
        inside, on, error = _foot(charts, step / unit[:, None])
        reached = charts.decided & inside
        foot[part] = origin + np.where(reached, unit, 0)[:, None] * on
        distance[part] = np.linalg.norm(q[part] - foot[part], axis=1)
        stderr[part] = np.where(reached, unit * error, np.nan)
    return Projection(distance, stderr, foot, nearest)


def _foot(charts: Charts, step: Array) -> tuple[NDArray[np.bool_], Array, Array]:
    """Whether the foot lies in the patch, the foot (m, D) from the origin, and its error."""
    dim = charts.dim
    inner = np.einsum("mrD,mD->mr", charts.span, step)
    target = np.einsum("mrd,mr->md", charts.frame, inner)
    height = inner - np.einsum("mrd,md->mr", charts.frame, target)
    form = hessians(charts.fit, dim)
    gradient = charts.fit[:, 1 : 1 + dim]
    identity = np.eye(dim)
    # numpy types its solvers in part only.
    solve: Any = np.linalg.solve
    u: Array = target / np.maximum(_size(target), 1)[:, None]
    for _ in range(_STEPS):
        surface = np.einsum("mp,mpr->mr", quadratic_columns(u), charts.fit)
        miss = height - surface
        slope = gradient + np.einsum("mijr,mj->mir", form, u)
        pull = target - u + np.einsum("mir,mr->mi", slope, miss)
        convex: Array = identity + slope @ slope.swapaxes(1, 2)
        newton: Array = convex - np.einsum("mijr,mr->mij", form, miss)
        # Beyond a focal point Newton's matrix turns indefinite and its step uphill.
        good: NDArray[np.bool_] = np.linalg.eigvalsh(newton)[:, 0] > 0.1
        system: Array = np.where(good[:, None, None], newton, convex)
        move: Array = solve(system, pull[:, :, None])[:, :, 0]
        u = u + move / np.maximum(2 * _size(move), 1)[:, None]
        u /= np.maximum(_size(u), 1)[:, None]
    columns = quadratic_columns(u)
    on = np.einsum("mrd,md->mr", charts.frame, u)
    on += np.einsum("mp,mpr->mr", columns, charts.fit)
    foot = np.einsum("mr,mrD->mD", on, charts.span)
    miss = inner - on
    away = _size(step - foot)
    direction = miss / np.maximum(away, 1e-300)[:, None]
    weight = np.einsum("mpk,mp->mk", charts.solve, columns)
    left_out = charts.left_out()
    drift = np.einsum("mp,mpr->mr", columns, charts.drift)
    along = (weight**2 * np.einsum("mkr,mr->mk", left_out, direction) ** 2).sum(axis=1)
    along += np.einsum("mr,mr->m", drift, direction) ** 2
    total = (weight**2 * (left_out**2).sum(axis=2)).sum(axis=1) + (drift**2).sum(axis=1)
    # Errors across the direction lengthen the distance by their square over twice itself.
    across = np.minimum(np.sqrt(total), total / np.maximum(2 * away, 1e-300))
    return _size(u) < 1 - 1e-6, foot, np.hypot(np.sqrt(along), across)


def _size(v: Array) -> Array:
    return np.sqrt((v * v).sum(axis=-1))


def _nearest(points: NDArray[np.floating], q: NDArray[np.floating]) -> NDArray[np.int64]:
    """Index of the nearest data point of each query; the first of equal ones."""
    centre = points.mean(axis=0, dtype=np.float64)
    base, asked = points - centre, q - centre
    square = (base**2).sum(axis=1)
    found = np.empty(len(q), np.int64)
    for part in row_chunks(len(q), 16 * len(points), 1 << 28):
        found[part] = np.argmin(square - 2 * (asked[part] @ base.T), axis=1)
    return found
