"""Linear directions against spectra that are known."""

from __future__ import annotations

import numpy as np
import pytest

from immersion.core.errors import InputError
from immersion.measure.spectrum import spectrum


def cloud(n: int, deviations: np.ndarray, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(len(deviations), len(deviations))))
    return (rng.normal(size=(n, len(deviations))) * deviations @ turn + 7).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [40, 1500])
def test_equal_variances_count_their_directions(width: int, dtype: type) -> None:
    """Both ways round: fewer features than points (covariance) and more (Gram matrix)."""
    rng = np.random.default_rng(0)
    frame, _ = np.linalg.qr(rng.normal(size=(width, 6)))
    x = (rng.normal(size=(1000, 6)) @ frame.T).astype(dtype)
    found = spectrum(x)
    assert found.directions.value == 6
    assert abs(found.participation.value - 6) < 4 * found.participation.stderr + 0.1
    assert spectrum(x, share=0.5).directions.value == 3


def test_against_the_full_covariance() -> None:
    x = cloud(900, np.linspace(1, 0.01, 60) ** 2, dtype=np.float64)
    variances = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    found = spectrum(x, share=0.9)
    assert found.participation.value == pytest.approx(
        variances.sum() ** 2 / np.square(variances).sum(), rel=1e-9
    )
    needed = int(np.argmax(np.cumsum(variances) >= 0.9 * variances.sum())) + 1
    assert found.directions.value == needed


def test_the_error_is_the_spread_over_repetitions() -> None:
    deviations = np.linspace(1, 0, 50) ** 2
    found = [spectrum(cloud(800, deviations, seed)) for seed in range(40)]
    spread = np.std([f.participation.value for f in found], ddof=1)
    reported = np.mean([f.participation.stderr for f in found])
    assert 0.7 < reported / spread < 1.4


def test_more_points_than_the_sample_and_the_bound_of_the_sample() -> None:
    x = np.random.default_rng(0).normal(size=(600, 500)).astype(np.float32)
    found = spectrum(x, sample=100)
    assert found.directions.n == 100
    assert found.directions.value <= 99
    assert "cannot exceed 99" in found.directions.caveats[0]
    assert spectrum(x, sample=100) == found
    assert spectrum(x, sample=100, seed=1).participation.value != found.participation.value


@pytest.mark.parametrize(
    "x",
    [np.full((100, 7), 0.1, np.float32), np.zeros((100, 7)), np.eye(10)],
    ids=["0.1", "0", "10"],
)
def test_what_cannot_be_decided_is_said(x: np.ndarray) -> None:
    found = spectrum(x)
    assert not found.directions.decidable
    assert not found.participation.decidable
    assert found.directions.caveats


def test_one_point_apart_from_the_rest() -> None:
    x = np.zeros((100, 5), np.float32)
    x[3] = 1
    found = spectrum(x)
    assert found.directions.value == 1
    assert np.isfinite(found.directions.stderr)


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_share_out_of_range(share: float) -> None:
    with pytest.raises(InputError, match="share"):
        spectrum(np.eye(30), share=share)
