"""What distance ratios show in a ball: the integral against simulation and known limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from immersion.measure.dimension import calibration
from immersion.measure.dimension.calibration import ball_log_ratio, calibrated


def ball(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    x = rng.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True) * rng.uniform(size=(n, 1)) ** (1 / d)


@pytest.mark.parametrize(("near", "far"), [(1, 2), (4, 8)])
@pytest.mark.parametrize("d", [1, 2, 6, 24])
def test_the_mean_log_ratio_by_simulation(d: int, near: int, far: int) -> None:
    """40 clouds of 200 points; the tolerance is four standard errors over the clouds."""
    rng = np.random.default_rng(d)
    means = []
    for _ in range(40):
        x = ball(rng, 200, d)
        r = np.sort(cdist(x, x), axis=1)[:, 1:]
        means.append(np.log(r[:, far - 1] / r[:, near - 1]).mean())
    error = float(np.std(means, ddof=1)) / math.sqrt(40)
    assert abs(ball_log_ratio(float(d), 200, near, far) - float(np.mean(means))) < 4 * error


def test_many_points_leave_no_bias() -> None:
    """With n -> infinity the mean is (1/near + ... + 1/(far - 1)) / d."""
    for d in (1.0, 2.0, 3.5):
        assert ball_log_ratio(d, 10**9, 1, 2) == pytest.approx(1 / d, rel=3e-3)
        assert ball_log_ratio(d, 10**9, 2, 4) == pytest.approx((1 / 2 + 1 / 3) / d, rel=3e-3)


@pytest.mark.parametrize("d", [1.0, 7.3, 30.0, 150.0])
@pytest.mark.parametrize("n", [50, 3000, 10**6])
def test_the_integrals_have_converged(d: float, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    coarse = ball_log_ratio(d, n, 1, 2)
    monkeypatch.setattr(calibration, "_CENTRES", 96)
    monkeypatch.setattr(calibration, "_RADII", 4000)
    fine = ball_log_ratio.__wrapped__(d, n, 1, 2)
    assert coarse == pytest.approx(fine, rel=2e-3)


def test_calibration_is_the_inverse() -> None:
    for d in (0.7, 2.0, 11.0, 60.0):
        for near, far in ((1, 2), (16, 32)):
            mean = ball_log_ratio(d, 1000, near, far)
            assert calibrated(mean, 1000, near, far) == pytest.approx(d, rel=1e-4)


def test_beyond_its_range() -> None:
    assert calibrated(1e-9, 1000) == math.inf
    assert calibrated(1e3, 1000) == 0.05
