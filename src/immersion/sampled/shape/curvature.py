"""Curvature of a sampled manifold at each point, from local quadratic charts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from immersion.core.measurement import Measurement
from immersion.sampled.shape.charts import (
    chosen_rows,
    quadratic_charts,
    require_charts,
)
from immersion.sampled.shape.quadratic import hessians

if TYPE_CHECKING:
    from immersion.core.measurement import Setting
    from immersion.sampled.graph import NeighborGraph
    from immersion.sampled.shape.charts import Charts

    Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curvature:
    """Mean and scalar curvature at chosen points; NaN where the neighbours do not decide it.

    Attributes:
        rows: (m,) points of the graph.
        mean_vector: (m, D) mean curvature vector tr(II) / d, in 1 / length; it points to the
            centre of curvature, and has length 1 / r on a sphere of radius r.
        mean_vector_stderr: (m,) standard error of the vector: root of its total variance.
        mean: (m,) length of the vector, the share of noise in its square subtracted.
        mean_stderr: (m,) standard error of `mean`.
        scalar: (m,) scalar curvature of the manifold itself, in 1 / length^2: d (d - 1) / r^2 on a
            sphere, twice the Gaussian curvature on a surface, 0 for d = 1.
        scalar_stderr: (m,) standard error of `scalar`.
        dim: dimension d that was assumed.
        k: neighbours of each patch.
    """

    rows: NDArray[np.int64]
    mean_vector: Array
    mean_vector_stderr: Array
    mean: Array
    mean_stderr: Array
    scalar: Array
    scalar_stderr: Array
    dim: int
    k: int
    _mean_bias: Array
    _scalar_bias: Array

    @property
    def decided(self) -> NDArray[np.bool_]:
        """(m,) where the neighbours determine the curvature."""
        return np.isfinite(self.scalar)

    def average_mean(self) -> Measurement:
        """Average over the points of the length of the mean curvature vector."""
        return self._average("mean_curvature", self.mean, self.mean_stderr, self._mean_bias)

    def average_scalar(self) -> Measurement:
        """Average over the points of the scalar curvature."""
        return self._average("scalar_curvature", self.scalar, self.scalar_stderr, self._scalar_bias)

    def _average(self, name: str, values: Array, stderr: Array, bias: Array) -> Measurement:
        """Mean with an error that lets k + 1 points share one patch, and keeps the common bias."""
        ok = np.isfinite(values)
        n = int(np.count_nonzero(ok))
        settings: dict[str, Setting] = {"dim": self.dim, "k": self.k}
        if n == 0:
            why = "no point has neighbours that determine a quadratic chart"
            return Measurement(name, math.nan, math.nan, 0, settings, caveats=(why,))
        independent = max(1.0, n / (self.k + 1))
        sampling = math.sqrt(float((stderr[ok] ** 2).mean()) / independent)
        shift = abs(float(bias[ok].mean()))
        caveats: list[str] = []
        if n < len(values):
            caveats.append(f"{len(values) - n} of {len(values)} points are not decidable, left out")
        if shift > sampling:
            caveats.append(
                "the patches are so large that the next order of the shape moves the result more "
                "than chance does: fewer neighbours or more points"
            )
        return Measurement(
            name, float(values[ok].mean()), math.hypot(sampling, shift), n, settings,
            caveats=tuple(caveats),
        )  # fmt: skip


def local_curvature(graph: NeighborGraph, dim: int, rows: ArrayLike | None = None) -> Curvature:
    """Mean and scalar curvature from a quadratic fit to each point's k neighbours.

    In a chart without gradient the Hessian of the fit is the second fundamental form II, and

    * mean curvature vector H = tr(II) / d,
    * scalar curvature S = |tr(II)|^2 - |II|^2 (Gauss), the part that noise adds to both squares
      subtracted.

    Args:
        graph: its points and k neighbours; k >= (d + 1)(d + 2) / 2 + d + 2, better twice that.
        dim: dimension d of the manifold.
        rows: points at which to estimate; all by default.

    Returns:
        Values with standard errors that add the deletion of single neighbours (jackknife) and what
        orders beyond the second may still do: a third of what they were corrected for, and all that
        noise could hide. Where noise rules, the errors come out about twice too large. NaN where
        the neighbours do not span a quadratic (duplicates, lattices, a dimension too high).

    Raises:
        InputError: too few neighbours or coordinates for `dim`, or a graph without points.

    Fails quietly where: the manifold bends within a patch by more than a radian, noise is as large
    as patch^2 x curvature (the standard error says so), or two sheets lie in one patch.

    Cost: see `quadratic_charts`; 70,000 points in 50 coordinates, k = 50, d = 5:
    37 s of one core.

    Source: quadratic fits as in Cazals and Pouget 2005; Gauss's equation.

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> x = np.random.default_rng(0).normal(size=(3000, 3))
        >>> ball = 2 * x / np.linalg.norm(x, axis=1, keepdims=True)
        >>> found = local_curvature(neighbor_graph(ball, 24), 2)
        >>> abs(found.average_mean().value - 1 / 2) < 0.01
        True
        >>> abs(found.average_scalar().value - 2 / 4) < 0.02
        True
    """
    require_charts(graph, dim)
    chosen = chosen_rows(graph, rows)
    m = len(chosen)
    vector = np.empty((m, graph.points.shape[1]))
    vector_stderr, mean, mean_stderr, mean_bias = (np.empty(m) for _ in range(4))
    scalar, scalar_stderr, scalar_bias = (np.empty(m) for _ in range(3))
    for part, charts in quadratic_charts(graph, dim, chosen):
        h = np.where(charts.decided, charts.radius, math.nan)
        traces = _traces(charts)
        noise = charts.variance()
        form, shift = hessians(charts.fit, dim), hessians(charts.drift, dim)
        trace = np.einsum("miir->mr", form) / dim
        trace_shift = np.einsum("miir->mr", shift) / dim
        # Change of the second fundamental form when a point is left out: deleted x left_out.
        deleted = hessians(charts.solve.swapaxes(1, 2)[..., None], dim)[..., 0]
        left_out = charts.left_out()
        trace_deleted = np.einsum("mkii->mk", deleted)[..., None] / dim * left_out
        # Mean curvature: total variance of the vector, and of its part along itself.
        spread = (trace_deleted**2).sum(axis=(1, 2)) + (trace_shift**2).sum(axis=1)
        vector[part] = np.einsum("mr,mrD->mD", trace, charts.span) / h[:, None]
        vector_stderr[part] = np.sqrt(spread) / h
        size = np.sqrt((trace**2).sum(axis=1))
        along = trace / np.maximum(size, 1e-300)[:, None]
        clean = np.sqrt(np.maximum(size**2 - noise * traces[0] / dim**2, 0))
        across = (np.einsum("mkr,mr->mk", trace_deleted, along) ** 2).sum(axis=1)
        bias = np.einsum("mr,mr->m", trace_shift, along)
        mean[part], mean_bias[part] = clean / h, bias / h
        # What noise added to the length is known to its own size only.
        mean_stderr[part] = np.sqrt(across + bias**2 + (size - clean) ** 2) / h
        # Scalar curvature is quadratic in the fit, so each deletion is exact.
        value = _scalar(form, form)
        traced = np.einsum("mkii->mk", deleted)
        change = np.einsum("mk,mr,mkr->mk", traced, trace * dim, left_out)
        change -= np.einsum("mkij,mijr,mkr->mk", deleted, form, left_out, optimize=True)
        own = traced**2 - (deleted**2).sum(axis=(2, 3))
        change = -2 * change + own * (left_out**2).sum(axis=2)
        change -= change.mean(axis=1, keepdims=True)
        bias = 2 * _scalar(form, shift)
        second = _scalar(shift, shift)
        scalar[part] = (value - noise * traces[1]) / h**2
        scalar_bias[part] = bias / h**2
        scalar_stderr[part] = np.sqrt((change**2).sum(axis=1) + bias**2 + second**2) / h**2
    return Curvature(
        chosen, vector, vector_stderr, mean, mean_stderr, scalar, scalar_stderr, dim, graph.k,
        mean_bias, scalar_bias,
    )  # fmt: skip


def _scalar(a: Array, b: Array) -> Array:
    """Of (..., d, d, r) the symmetric form whose square is |tr a|^2 - |a|^2."""
    traces = (np.einsum("...iir->...r", a) * np.einsum("...iir->...r", b)).sum(axis=-1)
    return traces - (a * b).sum(axis=(-3, -2, -1))


def _traces(charts: Charts) -> tuple[Array, Array]:
    """Expected squares |tr Q|^2 and |tr Q|^2 - |Q|^2 of fits to noise of unit variance."""
    dim = charts.dim
    first, second = np.triu_indices(dim)
    bent = charts.solve[:, 1 + dim :]
    covariance = bent @ bent.swapaxes(1, 2)
    diagonal = first == second
    squares = covariance[:, diagonal][:, :, diagonal].sum(axis=(1, 2))
    weight = np.where(diagonal, 1.0, 2.0)
    return squares, squares - np.einsum("mpp,p->m", covariance, weight)
