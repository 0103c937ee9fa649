"""Noise level: how far points lie off the smooth manifold that runs through them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.measure.dimension.uncertainty import patch_stderr
from immersion.measure.singular.dims import require_points, whole_dim
from immersion.measure.singular.patches import fewest_for, measure_patches
from immersion.sampled.graph import NeighborGraph, as_points, neighbor_graph

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray

    from immersion.core.measurement import Setting
    from immersion.measure.singular.patches import Patches

_BULK = 4.0
"""Patches that leave more than so many times the median are no smooth sheet and do not count."""

_CLEAR, _HIDING = 0.05, 0.3
"""Noise over patch radius below which it leaves the choice of neighbours alone, and above which it
makes that choice."""

_CHOICE = 2.0
"""Share of the variance lost by that choice over (noise / radius)^2, met on circles and spheres."""

_FEWEST = 20
"""Patches below which no noise level is decidable."""


def noise_level(
    points: ArrayLike | torch.Tensor | NeighborGraph,
    dim: int | None = None,
    *,
    k: int | None = None,
) -> Measurement:
    """Standard deviation, per normal coordinate, of the noise off the manifold.

    A quadratic over the tangent space leaves of a patch of radius h the noise and the next orders
    of the shape: E s^2 = (D - d) sigma^2 + c h^6. Two patches at each point, of k and 2k
    neighbours, give both unknowns; sigma^2 is the mean over the points.

    Args:
        points: (n, D) points, or a Euclidean graph with 2k neighbours.
        dim: dimension d < D of the manifold; `intrinsic_dimension`, rounded, by default.
        k: neighbours of the smaller patch; by default the number, from the fewest that leave
            freedom on in powers of two, that gives the least error.

    Returns:
        sigma in the units of the points. Its standard error adds that of overlapping patches and
        how far sigma moves if the next order were h^8. Where sigma^2 is below its error the data
        are free of noise within the resolution, and the value is near 0. Points at singular places
        are left out. NaN, with the reason, where n does not resolve d.

    Raises:
        InputError: unusable points, dim outside 1..D - 1, too few neighbours or points for dim.

    Fails quietly where: noise as long as the patch, sigma sqrt(D - d) > h / 2 (a caveat says so)
    hides which points are neighbours; noise in some normal directions only is averaged over all;
    noise along the manifold is not noise off it.

    Cost: the graph, then O(n k p^2) for p = 1 + d + d (d + 1) / 2; 10,000 points of a surface in
    space 0.5 s of one core.

    Source: residual variance of local polynomials as in Aamari and Levrard 2019; extrapolation to
    scale zero after Richardson.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> turn = rng.uniform(0, 2 * np.pi, 2000)
        >>> ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        >>> sigma = noise_level(ring + rng.normal(scale=0.01, size=ring.shape), 1, k=40)
        >>> abs(sigma.value - 0.01) < 3 * sigma.stderr < 0.001
        True
    """
    graph, d, why = _prepared(points, dim, k)
    small = k or fewest_for(max(d, 1))
    settings: dict[str, Setting] = {"dim": d, "k": small}
    if why:
        return Measurement("noise_level", math.nan, math.nan, graph.n, settings, caveats=(why,))
    if k is not None:
        near, wide = measure_patches(graph, (k, 2 * k), np.full(graph.n, d))
        return noise_of(graph, near, wide)
    growing = not isinstance(points, NeighborGraph)
    return noise_by_scale(graph, np.full(graph.n, d), small, growing=growing)[0]


def noise_by_scale(
    graph: NeighborGraph, dims: NDArray[np.int64], k: int, *, growing: bool
) -> tuple[Measurement, int, NeighborGraph]:
    """Noise level at the number of neighbours, of k, 2k, 4k ..., that gives it best.

    Larger patches are tried while the standard error falls, or noise hides the neighbours.

    Args:
        graph: of 2k neighbours at least.
        dims: (n,) dimension at each point.
        k: neighbours of the smallest patch.
        growing: whether a graph of more neighbours may be computed.

    Returns:
        The noise level, its k, and the graph, with 2k neighbours at least.
    """
    near, wide = measure_patches(graph, (k, 2 * k), dims)
    best = noise_of(graph, near, wide)
    ratio = _ratio(best, near)
    while best.decidable and ratio > _CLEAR:
        if 4 * k > graph.k:
            if not growing or 4 * k > graph.n // 4:
                break
            graph = neighbor_graph(graph.points, 4 * k)
        near = wide
        (wide,) = measure_patches(graph, (4 * k,), dims)
        found = noise_of(graph, near, wide)
        if not found.decidable or (found.stderr > best.stderr and ratio < _HIDING):
            break
        best, k, ratio = found, 2 * k, _ratio(found, near)
    return best, k, graph


def noise_of(graph: NeighborGraph, near: Patches, wide: Patches) -> Measurement:
    """Noise level from patches of two sizes at each point."""
    settings: dict[str, Setting] = {"dim": int(near.dims.max()), "k": near.k}
    normal = np.maximum(graph.points.shape[1] - near.dims, 1)
    first, second = near.residual_length() ** 2 / normal, wide.residual_length() ** 2 / normal
    known = np.isfinite(first) & np.isfinite(second) & (near.dims < graph.points.shape[1])
    if known.any():
        known &= second <= _BULK * np.median(second[known])
    n = int(np.count_nonzero(known))
    if n < _FEWEST:
        why = f"only {n} patches are smooth; {_FEWEST} are needed"
        return Measurement("noise_level", math.nan, math.nan, n, settings, caveats=(why,))
    ratio = np.minimum(near.radius[known] / wide.radius[known], 0.98)
    # On a slope, noise along the chart shows as noise off it.
    slope = wide.slope[known] / normal[known]
    first = first[known] / (1 + slope * ratio**2)
    grown = second[known] / (1 + slope) - first
    part = first - grown * ratio**6 / (1 - ratio**6)
    other = first - grown * ratio**8 / (1 - ratio**8)
    variance = float(part.mean())
    influence = np.zeros(graph.n)
    influence[known] = part - variance
    chance = patch_stderr(graph, influence, known, wide.k)
    variance = max(variance, 0.0)
    sigma, reach = math.sqrt(variance), float(np.median(near.radius[known]))
    # Of noisy points, those off the sheet on the same side become neighbours.
    chosen = _CHOICE * variance * variance / max(reach * reach, 1e-300)
    stderr = math.hypot(chance, float((part - other).mean()), chosen)
    notes: list[str] = []
    if variance < 2 * stderr:
        notes.append(
            f"not distinguishable from zero: at most {math.sqrt(variance + 2 * stderr):.2g}"
        )
    if sigma > _HIDING * reach:
        notes.append(
            f"noise hides which points are neighbours within {reach:.2g}: a lower bound; use more "
            "neighbours"
        )
    error = math.sqrt(variance + stderr) - sigma
    return Measurement("noise_level", sigma, error, n, settings, caveats=tuple(notes))


def _ratio(noise: Measurement, near: Patches) -> float:
    return noise.value / max(float(np.nanmedian(near.radius)), 1e-300)


def _prepared(
    points: ArrayLike | torch.Tensor | NeighborGraph, dim: int | None, k: int | None
) -> tuple[NeighborGraph, int, str]:
    """The graph, its dimension (0: none), and why nothing can be decided, or an empty text."""
    if k is not None and k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    x = points if isinstance(points, NeighborGraph) else as_points(points)
    whole = whole_dim(x, dim)
    d, why = whole.dim, whole.why
    width = (x.points if isinstance(x, NeighborGraph) else x).shape[1]
    if not why and d >= width:
        if dim is not None:
            raise InputError(f"dim must lie in 1..D - 1 = {width - 1}, not be {dim}")
        why = f"the data fills all {width} coordinates: there is no direction off the manifold"
    fewest = fewest_for(max(d, 1))
    if k is not None and not why and k < fewest:
        raise InputError(f"charts of dimension {d} need k >= {fewest} neighbours, not {k}")
    need = 2 * (k or fewest)
    return require_points(x, 1 if why else need, "noise_level"), d, why
