"""How many linear directions a cloud of points fills."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from immersion.core.errors import InputError
from immersion.core.linalg import symmetric_eigen
from immersion.core.measurement import Measurement
from immersion.sampled.graph import as_points

_FEWEST = 20
_GROUPS = 8


@dataclass(frozen=True)
class Spectrum:
    """Two counts of the directions that points fill.

    Attributes:
        participation: participation ratio (sum of variances)^2 / sum of squared variances; equal
            variances in r directions give r, and one dominant direction gives about 1.
        directions: how many principal directions hold `share` of the variance.
    """

    participation: Measurement
    directions: Measurement


def spectrum(
    points: ArrayLike, *, share: float = 0.99, sample: int = 1000, seed: int = 0
) -> Spectrum:
    """Participation ratio and number of directions, with delete-a-group jackknife errors.

    Both are read off the (m, m) Gram matrix of a random sample of m points, so the cost is
    O(m^2 D + m^3) whatever n is; the jackknife takes the axes as fixed. Neither can exceed m - 1,
    which a caveat says where it binds.

    Args:
        points: (n, D).
        share: variance that the counted directions hold, in (0, 1).
        sample: most points used.
        seed: which points.

    Source: participation ratio of covariance eigenvalues, Gao et al. 2017; jackknife, Busing,
    Meijer, van der Leeden 1999.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> flat = rng.normal(size=(500, 3)) @ np.eye(3, 40)
        >>> spectrum(flat).directions.value, round(spectrum(flat).participation.value, 1)
        (3.0, 3.0)
    """
    if not 0 < share < 1:
        raise InputError(f"share must lie between 0 and 1, not {share}")
    x = as_points(points)
    m = min(len(x), sample)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(x), m, replace=False)) if m < len(x) else np.arange(m)
    chosen = x[rows].astype(np.float64 if x.dtype == np.float64 else np.float32)
    largest = float(np.abs(chosen).max())
    chosen = chosen - chosen.mean(axis=0, dtype=np.float64).astype(chosen.dtype)
    settings = {"share": share, "sample": m, "seed": seed}
    # Centring leaves rounding of this size on points that coincide.
    rounding = chosen.size * (float(np.finfo(chosen.dtype).eps) * largest) ** 2
    scale = float(np.square(chosen, dtype=np.float64).sum())
    if m < _FEWEST or scale <= rounding:
        why = f"{m} points; {_FEWEST} are needed" if m < _FEWEST else "all points coincide"
        undecided = [
            Measurement(name, math.nan, math.nan, m, settings, None, (why,))
            for name in ("participation_ratio", "linear_directions")
        ]
        return Spectrum(undecided[0], undecided[1])
    scores = _scores(chosen)
    full = _counts(np.square(scores).sum(axis=0), share)
    group_of = rng.permutation(m) % _GROUPS
    partial = np.array([_without(scores, group_of == g, share) for g in range(_GROUPS)])
    spread = (_GROUPS - 1) / _GROUPS * np.square(partial - partial.mean(axis=0)).sum(axis=0)
    caveats = (
        (f"cannot exceed {m - 1}, the directions that {m} points span",)
        if full[1] > 0.5 * (m - 1)
        else ()
    )
    names = ("participation_ratio", "linear_directions")
    measured = [
        Measurement(name, value, math.sqrt(variance), m, settings, None, caveats)
        for name, value, variance in zip(names, full, spread, strict=True)
    ]
    return Spectrum(measured[0], measured[1])


def _scores(centred: NDArray[np.floating]) -> NDArray[np.float64]:
    """Coordinates (m, min(m, D)) of the points along their principal axes, most variance first."""
    x = torch.from_numpy(centred)  # pyright: ignore[reportUnknownMemberType]
    tall = x.shape[1] < len(x)
    variances, vectors = symmetric_eigen(x.T @ x if tall else x @ x.T)
    if tall:
        return (x @ vectors.flip(1)).double().numpy()
    scores = vectors.double() * variances.double().clamp_min(0).sqrt()
    return scores.flip(1).numpy()


def _without(
    scores: NDArray[np.float64], left_out: NDArray[np.bool_], share: float
) -> tuple[float, float]:
    """The counts without one group, to first order: its axes are those of all points.

    Axes turn with the sample only to second order in the variances, so one eigenvalue problem
    serves all groups.
    """
    rest = scores[~left_out]
    return _counts(np.square(rest).sum(axis=0) - rest.sum(axis=0) ** 2 / len(rest), share)


def _counts(variances: NDArray[np.float64], share: float) -> tuple[float, float]:
    held = np.cumsum(np.sort(variances)[::-1])
    if held[-1] <= 0:
        return 0.0, 0.0
    participation = held[-1] ** 2 / np.square(variances).sum()
    # The tolerance keeps an exact rank from growing by the rounding of the sum.
    directions = np.count_nonzero(held < share * held[-1] * (1 - 1e-9)) + 1
    return float(participation), float(directions)
