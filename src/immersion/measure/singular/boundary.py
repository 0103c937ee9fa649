"""The boundary of a sampled manifold: which points are near it, how far, and which way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.measure.singular.dims import require_points, whole_dim
from immersion.measure.singular.patches import fewest_for, measure_patches
from immersion.measure.singular.places import cover, flag
from immersion.measure.singular.points import flagged_share, void_p_values
from immersion.measure.singular.voids import cap_share, section
from immersion.sampled.graph import NeighborGraph, as_points

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray

    from immersion.core.measurement import Setting

    Array = NDArray[np.float64]

_NEIGHBOURS = 64


@dataclass(frozen=True, eq=False)
class Boundary:
    """How each point lies to the boundary of the manifold.

    Attributes:
        distance: (n,) distance to the boundary in the units of the points, where it was found;
            infinite at points that are not flagged: further away than most of `radii`.
        stderr: (n,) standard error of `distance`.
        outward: (n, D) unit tangent vector towards the boundary; at points that are not flagged the
            direction that is emptiest, by chance or not.
        scores: (n,) -k log(1 - share) for the share of the patch that is empty on one side.
        p_values: (n,) against a full ball; NaN where not decidable.
        flagged: (n,) points near the boundary, false alarms controlled at `alpha`.
        radii: (n,) radius of each patch; a boundary further off is not seen.
        share: share of the points that are flagged.
        dim: dimension of the patches.
        k: neighbours of a patch.
        alpha: level of the control.
        caveats: when not to trust it, or why nothing could be decided.
    """

    distance: Array
    stderr: Array
    outward: Array
    scores: Array
    p_values: Array
    flagged: NDArray[np.bool_]
    radii: Array
    share: Measurement
    dim: int
    k: int
    alpha: float
    caveats: tuple[str, ...]

    @property
    def points(self) -> NDArray[np.int64]:
        """Points flagged, by ascending distance to the boundary."""
        own = np.flatnonzero(self.flagged)
        return own[np.argsort(self.distance[own], kind="stable")]


def boundary(
    points: ArrayLike | torch.Tensor | NeighborGraph,
    *,
    dim: int | None = None,
    k: int | None = None,
    alpha: float = 0.05,
    seed: int = 0,
) -> Boundary:
    """Find the points near the boundary of a manifold, their distance to it and its direction.

    At a point at distance t from the boundary the k nearest neighbours fill the part u . v < t of a
    tangent ball. The direction v of the largest empty cap is the outward one; the neighbour that
    reaches furthest along it bounds t from below, and what it falls short by on average is added.

    Args:
        points: (n, D) points, or a Euclidean graph with k neighbours.
        dim: dimension of the manifold; `intrinsic_dimension`, rounded, by default.
        k: neighbours of a patch; 64 by default, more for dimensions above 4, fewer for few points.
            More see further and follow a bent boundary less.
        alpha: level of the control: without a boundary the probability that any point is flagged is
            at most alpha (see `singularity`).
        seed: of the simulated null distribution.

    Raises:
        InputError: unusable points, dim outside 1..D, k too small for dim or above n - 1, alpha
            outside (0, 1), a graph with too few neighbours.

    Fails quietly where: the density falls to nothing smoothly (it has no boundary then), or jumps
    within a patch (looks like one); noise along the manifold blurs the boundary.

    Cost: the graph, then O(n k (p^2 + k d)) for p = 1 + d + d (d + 1) / 2.

    Source: compare Berry and Sauer 2017, Density estimation on manifolds with boundary, who use the
    mean of the neighbours; the empty cap is the likelihood ratio for an even density.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> square = rng.uniform(-1, 1, (3000, 2))
        >>> found = boundary(square)
        >>> near = 1 - np.abs(square[found.points]).max(axis=1)
        >>> bool(len(near) > 300 and near.max() < 0.2)
        True
        >>> bool(np.corrcoef(near, found.distance[found.points])[0, 1] > 0.8)
        True
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha must lie between 0 and 1, not {alpha}")
    x = points if isinstance(points, NeighborGraph) else as_points(points)
    n = x.n if isinstance(x, NeighborGraph) else len(x)
    whole = whole_dim(x, dim)
    d, why = whole.dim, whole.why
    least = fewest_for(max(d, 1))
    if k is not None and not why and not least <= k < n:
        raise InputError(f"patches of dimension {d} have {least}..{n - 1} neighbours, not {k}")
    most = x.k if isinstance(x, NeighborGraph) else n // 8
    used = k or max(least, min(max(_NEIGHBOURS, 2 * least), most))
    if not why and used > n // 2:
        why = f"{n} points are too few for patches of {used} neighbours in dimension {d}"
    settings: dict[str, Setting] = {"dim": d, "k": used, "alpha": alpha, "seed": seed}
    if why:
        width = (x.points if isinstance(x, NeighborGraph) else x).shape[1]
        nan = np.full(n, np.nan)
        share = Measurement("boundary_share", math.nan, math.nan, n, settings, caveats=(why,))
        return Boundary(
            nan, nan.copy(), np.zeros((n, width)), nan.copy(), nan.copy(), np.zeros(n, bool),
            nan.copy(), share, d, used, alpha, (why,),
        )  # fmt: skip
    graph = require_points(x, used, "boundary")
    (found,) = measure_patches(graph, (used,), np.full(n, d), directions=True)
    p = void_p_values(found, seed)
    flagged, _, _ = flag(p, cover(graph, min(used, least)), alpha)
    cap = cap_share(found.extent, d)
    # Neighbours beyond the plane at s come in steps of 1 / density there. The plane that reaches
    # least leans on d of them, and the boundary lies as many steps further on average.
    gap = (1 - cap) / np.maximum(used * section(found.extent, d), 1e-3)
    reach = np.clip(found.extent + d * gap, 0, 1)
    distance = np.where(flagged, found.radius * reach, np.inf)
    stderr = np.where(flagged, found.radius * d * gap, np.inf)
    caveats: list[str] = []
    if missing := int(np.count_nonzero(~np.isfinite(p))):
        caveats.append(f"{missing} of {n} points are not decidable (their neighbours coincide)")
    share = flagged_share("boundary_share", graph, flagged, p, used, settings)
    scores = np.where(np.isfinite(p), -used * np.log(np.maximum(1 - cap, 1e-12)), np.nan)
    return Boundary(
        distance, stderr, found.outward, scores, p, flagged, found.radius, share, d, used, alpha,
        tuple(caveats),
    )  # fmt: skip
