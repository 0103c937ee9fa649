"""How strongly a classifier reacts to steps along the data's tangent space and off it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from immersion.core.derivatives import jacobian_rows
from immersion.core.errors import InputError
from immersion.core.linalg import length, orthonormal_columns, singular_values
from immersion.core.measurement import Measurement, Setting, proportion
from immersion.sampled.graph import NeighborGraph
from immersion.sampled.tangents import local_tangents

_LOGITS = 10
"""Leading logits differentiated a sample: those beyond hardly ever win after a small step."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Reaction of the logits to steps on and off the data, over m sample points.

    Attributes:
        ratio: geometric mean of s_off / s_on, the largest singular values of the logits' Jacobian
            restricted to the normal and to the tangent space. Its null takes a random subspace of
            the same dimension for the tangent space.
        tangent_energy: share of the squared Jacobian in the tangent space; null d / D.
        tangent_fit: share of the squared step to a neighbour held out of the fit that lies in the
            tangent space; null d / D. Near the null, the tangent spaces mean nothing.
        flipped_off, flipped_on, flipped_random: share of points whose predicted class changes
            within `reach` of the distance to their nearest neighbour, stepping along the steepest
            normal, the steepest tangent and a random normal direction.
        step_off: median length of the shortest normal step found that changes the class, in units
            of the distance to the nearest neighbour; NaN when under half of the points changed.
        rows: (m,) which points were probed.
        fragility: (m,) that length a point, infinity where nothing changed within one unit.
    """

    ratio: Measurement
    tangent_energy: Measurement
    tangent_fit: Measurement
    flipped_off: Measurement
    flipped_on: Measurement
    flipped_random: Measurement
    step_off: Measurement
    rows: NDArray[np.int64]
    fragility: NDArray[np.float64]


def off_manifold_sensitivity(
    logits: Callable[[torch.Tensor], torch.Tensor],
    graph: NeighborGraph,
    shape: tuple[int, ...],
    rows: NDArray[np.int64],
    dim: int,
    *,
    reach: float = 0.5,
    steps: int = 16,
    seed: int = 0,
) -> Sensitivity:
    """Split the logits' Jacobian into tangent and normal parts and walk along both.

    The Jacobian J of the ten leading logits is exact, by reverse mode. With T a basis of the
    tangent space, J_on = J T and J_off = J - J T T^T. The class that is nearest in the linear
    approximation gives the steepest direction; the model itself is then evaluated along it, so a
    flip is a fact and not an extrapolation.

    Args:
        logits: batched map (m, *shape) -> (m, C) in evaluation mode, C >= 2, on the CPU.
        graph: neighbour graph of the inputs, flattened; gives tangents and the unit of length.
        shape: shape of one input.
        rows: the points to probe.
        dim: dimension of the tangent spaces, at most k - 2.
        reach: fraction of the nearest-neighbour distance within which flips are counted.
        steps: evaluations along each direction, up to one nearest-neighbour distance.
        seed: random directions and subspaces.

    Cost: 10 backward passes and 3 x steps forward passes over m points.

    Source: the split follows Stutz, Hein, Schiele 2019 and Shamir, Melamed, BenShmuel 2021.
    """
    if len(rows) < 2:
        raise InputError(f"sensitivity needs at least 2 points to probe; met {len(rows)}")
    tangents = local_tangents(graph, dim, rows)
    dtype = torch.float64 if graph.points.dtype == np.float64 else torch.float32
    x = torch.from_numpy(graph.points[rows]).to(dtype)  # pyright: ignore[reportUnknownMemberType]
    basis = torch.from_numpy(tangents.basis).to(dtype)  # pyright: ignore[reportUnknownMemberType]
    generator = torch.Generator().manual_seed(seed)

    def classify(points: torch.Tensor) -> torch.Tensor:
        return logits(points.reshape(len(points), *shape))

    with torch.no_grad():
        start = classify(x)
    if start.ndim != 2 or start.shape[1] < 2:
        raise InputError(f"logits must have shape (n, C >= 2); met {tuple(start.shape)}")
    leading = start.topk(min(_LOGITS, start.shape[1])).indices
    values, J = jacobian_rows(lambda z: classify(z).gather(1, leading), x)
    on, off = _split(J, basis)
    noise = torch.randn(basis.mT.shape, generator=generator, dtype=dtype)
    random_basis = orthonormal_columns(noise).mT
    null_on, null_off = _split(J, random_basis)
    width = x.shape[1]
    settings = {
        "dim": dim, "D": width, "k": graph.k, "reach": reach, "steps": steps, "seed": seed,
    }  # fmt: skip

    noise = torch.randn(x.shape, generator=generator, dtype=dtype)
    noise = noise - (noise[:, None] @ basis.mT @ basis)[:, 0]
    unit = torch.from_numpy(graph.distances[rows, 0]).to(dtype)  # pyright: ignore[reportUnknownMemberType]
    walks = {
        name: _first_flip(classify, x, direction, unit, start.argmax(1), steps)
        for name, direction in (
            ("off", _steepest(values, off)),
            ("on", _steepest(values, (on @ basis))),
            ("random", noise),
        )
    }
    chance = dim / width
    return Sensitivity(
        ratio=_ratio(
            "off_on_ratio",
            off,
            on,
            settings,
            _ratio("off_on_ratio", null_off, null_on, {**settings, "tangent_space": "random"}),
        ),
        tangent_energy=_mean_share(
            "tangent_energy",
            (
                on.square().sum((1, 2)) / J.square().sum((1, 2)).clamp_min(torch.finfo(dtype).tiny)
            ).numpy(),
            settings,
            chance,
        ),
        tangent_fit=_mean_share("tangent_fit", tangents.held_out, settings, chance),
        flipped_off=_flipped("flipped_off", walks["off"], reach, settings),
        flipped_on=_flipped("flipped_on", walks["on"], reach, settings),
        flipped_random=_flipped("flipped_random", walks["random"], reach, settings),
        step_off=_median("step_off", walks["off"], settings),
        rows=rows,
        fragility=walks["off"],
    )


def _split(J: torch.Tensor, basis: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """J on the tangent space (m, o, d) in its basis, and the rest of J (m, o, D)."""
    on = J @ basis.mT
    off = J - on @ basis
    # What rounding leaves of a J that lies in the tangent space is no normal part.
    rounding = 8 * torch.finfo(J.dtype).eps * length(J)
    return on, off * (length(off) > rounding)[..., None]


def _steepest(values: torch.Tensor, J: torch.Tensor) -> torch.Tensor:
    """Direction in which, to first order, another class overtakes the first at the least length."""
    gradient = J[:, 1:] - J[:, :1]
    gap = values[:, :1] - values[:, 1:]
    steps = gap / length(gradient).clamp_min(torch.finfo(J.dtype).tiny)
    return gradient[torch.arange(len(J)), steps.argmin(1)]


def _first_flip(
    classify: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    direction: torch.Tensor,
    unit: torch.Tensor,
    predicted: torch.Tensor,
    steps: int,
) -> NDArray[np.float64]:
    """Shortest tried step, in units, that changes the predicted class; infinity if none does."""
    tiny = torch.finfo(x.dtype).tiny
    step = direction * (unit / length(direction).clamp_min(tiny))[:, None]
    first = np.full(len(x), np.inf)
    with torch.no_grad():
        for s in range(1, steps + 1):
            share = s / steps
            changed = (classify(x + share * step).argmax(1) != predicted).numpy()
            first[changed & np.isinf(first)] = share
    return first


def _ratio(
    name: str,
    off: torch.Tensor,
    on: torch.Tensor,
    settings: Mapping[str, Setting],
    null: Measurement | None = None,
) -> Measurement:
    largest = [singular_values(J)[:, 0].double() for J in (off, on)]
    usable = (largest[0] > 0) & (largest[1] > 0)
    logs: NDArray[np.float64] = (largest[0][usable] / largest[1][usable]).log().numpy()
    if len(logs) < 2:
        why = "the logits do not react to steps on or off the data at these points"
        return Measurement(name, math.nan, math.nan, len(logs), settings, null, (why,))
    mean = math.exp(logs.mean())
    return Measurement(
        name, mean, mean * float(logs.std(ddof=1)) / math.sqrt(len(logs)), len(logs), settings, null
    )


def _mean_share(
    name: str, shares: NDArray[np.floating], settings: Mapping[str, Setting], chance: float
) -> Measurement:
    m = len(shares)
    null = Measurement(name, chance, 0.0, m, {**settings, "direction": "random"})
    return Measurement(
        name, float(shares.mean()), float(shares.std(ddof=1)) / math.sqrt(m), m, settings, null
    )


def _flipped(
    name: str, first: NDArray[np.float64], reach: float, settings: Mapping[str, Setting]
) -> Measurement:
    # The slack takes in steps that equal the reach but for rounding.
    return proportion(name, int(np.count_nonzero(first <= reach + 1e-9)), len(first), settings)


def _median(name: str, first: NDArray[np.float64], settings: Mapping[str, Setting]) -> Measurement:
    """Median with the error from the order statistics one standard error of rank away."""
    m = len(first)
    ordered = np.sort(first)
    middle = ordered[m // 2]
    if not math.isfinite(middle):
        why = "under half of the points changed class within one nearest-neighbour distance"
        return Measurement(name, math.nan, math.nan, m, settings, None, (why,))
    half = math.sqrt(m) / 2
    low, high = ordered[max(0, int(m / 2 - half))], ordered[min(m - 1, math.ceil(m / 2 + half))]
    spread = (high - low) / 2 if math.isfinite(high) else math.nan
    return Measurement(name, float(middle), float(spread), m, settings)
