"""Logarithms and distances, against geomstats (NumPy backend): time a pair of points, and error."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import mpmath
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import expm

import immersion as im
from known_jobs.paired import Job, Outcome

# geomstats 2.8.0 imports a name that NumPy 2.4 no longer has.
vars(np).setdefault("trapz", np.trapezoid)

from geomstats.geometry.grassmannian import Grassmannian  # noqa: E402
from geomstats.geometry.spd_matrices import SPDMatrices  # noqa: E402
from geomstats.geometry.stiefel import Stiefel  # noqa: E402

Array = NDArray[np.float64]
Call = Callable[[], Any]


def geometry_jobs(seed: int) -> list[Job]:
    """All comparisons of closed forms, float64."""
    return [
        _stiefel_log(seed, 20, 5, length=1.0, target=30.0),
        _stiefel_log(seed, 20, 5, length=2.0, target=30.0),
        _grassmann_dist(seed, 20, 5, target=200.0),
        _spd_dist(seed, 10, target=3.5),
    ]


def timed(call: Call, error: Callable[[Any], float], batch: int, least: float = 0.2) -> Outcome:
    """Milliseconds a pair over calls that take `least` seconds together, and the error."""
    found = call()
    calls, begin = 0, time.perf_counter()
    while (spent := time.perf_counter() - begin) < least:
        found = call()
        calls += 1
    return Outcome(1e3 * spent / calls / batch, {"relative error": error(np.asarray(found))})


def _frames(rng: np.random.Generator, batch: int, n: int, p: int) -> Array:
    return np.linalg.qr(rng.standard_normal((batch, n, p)))[0]


def _stiefel_log(seed: int, n: int, p: int, *, length: float, target: float) -> Job:
    """Pairs whose logarithm is known: y = expm(W) x with W of the tangent vector u."""
    batch = 32
    rng = np.random.default_rng(seed)
    x = _frames(rng, batch, n, p)
    a = rng.standard_normal((batch, n, p))
    inner = x.swapaxes(-1, -2) @ a
    u = a - x @ (inner + inner.swapaxes(-1, -2)) / 2
    half = u - x @ (x.swapaxes(-1, -2) @ u) / 2
    u *= length / np.sqrt((u * half).sum((-1, -2)))[:, None, None]
    half = u - x @ (x.swapaxes(-1, -2) @ u) / 2
    w = half @ x.swapaxes(-1, -2)
    y = expm(w - w.swapaxes(-1, -2)) @ x

    def error(found: Array) -> float:
        return float(np.linalg.norm(found - u, axis=(-1, -2)).max() / np.linalg.norm(u[0]))

    manifold, metric = im.CanonicalStiefel(n, p), Stiefel(n, p).metric
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    return Job(
        name=f"CanonicalStiefel({n},{p}) log, |u| = {length:g}",
        peer_name="geomstats StiefelCanonicalMetric",
        ours=partial(timed, partial(manifold.log, *tensors), error, batch),
        peer=partial(timed, lambda: metric.log(y, x), error, batch),
        target=target,
        settings={"dtype": "float64", "batch": batch, "reference": "expm of a known vector"},
        judged_by="relative error",
        negligible=1e-12,
    )


def _grassmann_dist(seed: int, n: int, p: int, *, target: float) -> Job:
    """Pairs of subspaces with known principal angles; geomstats takes projectors."""
    batch = 1000
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((batch, n, 2 * p)))[0]
    angles = rng.uniform(0.05, 1.5, (batch, p))
    turns = _frames(rng, batch, p, p)
    x = basis[..., :p]
    y = (x * np.cos(angles)[:, None] + basis[..., p:] * np.sin(angles)[:, None]) @ turns
    exact = np.linalg.norm(angles, axis=-1)

    def error(found: Array, unit: float = 1.0) -> float:
        return float(np.abs(found / (unit * exact) - 1).max())

    manifold, metric = im.Grassmann(n, p), Grassmannian(n, p).metric
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    projectors = x @ x.swapaxes(-1, -2), y @ y.swapaxes(-1, -2)
    return Job(
        name=f"Grassmann({n},{p}) dist",
        peer_name="geomstats Grassmannian",
        ours=partial(timed, partial(manifold.dist, *tensors), error, batch),
        # The Frobenius norm of projectors is in units of sqrt(1/2).
        peer=partial(timed, partial(metric.dist, *projectors), partial(error, unit=2**0.5), batch),
        target=target,
        settings={"dtype": "float64", "batch": batch, "reference": "principal angles by design"},
        judged_by="relative error",
        negligible=1e-12,
    )


def _spd_dist(seed: int, n: int, *, target: float) -> Job:
    """Random positive definite pairs of condition about 100, judged by 40 digits on some."""
    batch, checked = 1000, 4
    rng = np.random.default_rng(seed)
    x, y = (
        (q * np.exp(rng.uniform(-2.3, 2.3, (batch, 1, n)))) @ q.swapaxes(-1, -2)
        for q in (_frames(rng, batch, n, n), _frames(rng, batch, n, n))
    )
    x, y = (x + x.swapaxes(-1, -2)) / 2, (y + y.swapaxes(-1, -2)) / 2
    exact = np.array([spd_distance(x[k], y[k]) for k in range(checked)])

    def error(found: Array) -> float:
        return float(np.abs(found[:checked] / exact - 1).max())

    manifold, metric = im.SPD(n), SPDMatrices(n).metric
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    return Job(
        name=f"SPD({n}) dist",
        peer_name="geomstats SPDAffineMetric",
        ours=partial(timed, partial(manifold.dist, *tensors), error, batch),
        peer=partial(timed, partial(metric.dist, x, y), error, batch),
        target=target,
        settings={"dtype": "float64", "batch": batch, "reference": "mpmath, 40 digits, 4 pairs"},
        judged_by="relative error",
        negligible=1e-12,
    )


def spd_distance(x: Array, y: Array) -> float:
    """Affine-invariant distance by 40 digits: the logarithms of the eigenvalues of L^-1 Y L^-T."""
    with mpmath.workdps(40):
        inverse = mpmath.inverse(mpmath.cholesky(mpmath.matrix(x.tolist())))
        values = mpmath.eigsy(inverse * mpmath.matrix(y.tolist()) * inverse.T, eigvals_only=True)
        return float(mpmath.sqrt(mpmath.fsum(mpmath.log(value) ** 2 for value in values)))
