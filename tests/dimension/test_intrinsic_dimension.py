"""What the recommended dimension says of itself: reasons, caveats, nulls, undecidable data."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.measure.dimension import (
    against_gaussian,
    gaussian_like,
    intrinsic_dimension,
    two_nn,
)
from immersion.sampled.graph import neighbor_graph


def sphere(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    x = rng.normal(size=(n, d + 1))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def torus(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    angles = rng.uniform(0, 2 * math.pi, (n, d))
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize("d", [7, 10, 24])
def test_a_bent_manifold_that_n_does_not_resolve_is_called_so(d: int) -> None:
    """A torus of many circles has the distances and angles of a flat body of twice its dimension:
    at this n nothing tells them apart, and the result says so.
    """
    found = intrinsic_dimension(torus(np.random.default_rng(0), 1000, d))
    assert found.interval[0] > d
    assert not found.resolved and "if nearly flat" in str(found)
    assert any("strongly bent manifold of lower dimension" in c for c in found.caveats)


def test_noise_is_seen_in_the_scale_curve() -> None:
    rng = np.random.default_rng(0)
    x = np.pad(rng.uniform(size=(1500, 2)), ((0, 0), (0, 18)))
    noisy = intrinsic_dimension(x + 0.02 * rng.normal(size=x.shape))
    assert any("falls with the scale" in caveat for caveat in noisy.caveats)
    assert not intrinsic_dimension(x).caveats


def test_folds_are_seen_in_the_scale_curve() -> None:
    """A curve wound through a plane: one dimension near by, two from afar."""
    t = np.random.default_rng(0).uniform(0, 60, 2500)
    found = intrinsic_dimension(np.stack([t * np.cos(t), t * np.sin(t)], axis=1))
    low, high = found.interval
    assert low < 1 < high
    assert any("grows with the scale" in caveat for caveat in found.caveats)


def test_sheets_closer_than_the_neighbours_widen_the_interval() -> None:
    """500 points of five turns of a staircase, 3.1 apart where neighbours are 5.5 apart."""
    hits = grows = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        r, angle = 10 * np.pi * np.sqrt(rng.uniform(size=500)), 10 * np.pi * rng.uniform(size=500)
        x = np.stack([r * np.cos(angle), r * np.sin(angle), angle / 2], axis=1)
        found = intrinsic_dimension(x)
        low, high = found.interval
        hits += low <= 2 <= high
        grows += any("folds may lie closer" in caveat for caveat in found.caveats)
        assert found.estimates["two_nn"].value > 2.1
    assert hits >= 8
    assert grows >= 1


def test_every_estimator_and_the_reason_are_there() -> None:
    x = sphere(np.random.default_rng(0), 600, 2)
    found = intrinsic_dimension(x)
    assert list(found.estimates) == ["two_nn", "mle", "local_pca", "angles", "correlation"]
    assert all(abs(one.value - 2) < 0.4 for one in found.estimates.values())
    assert found.curve.scales == (2, 4, 8, 16, 32, 64)
    assert "2 log10(n) = 5.6" in found.why
    low, high = found.interval
    assert low < sum(found.interval) / 2 <= found.value < high
    assert high - low == pytest.approx(2 * 1.959964 * found.stderr, rel=1e-6)
    assert str(found).endswith("n = 600)")
    assert found.resolved
    described = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert described["method"] == "distances"
    assert described["interval"] == pytest.approx(list(found.interval))


def test_a_graph_is_never_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from immersion.measure.dimension import intrinsic

    x = sphere(np.random.default_rng(0), 400, 2)
    graph = neighbor_graph(x, 64)
    expected = intrinsic_dimension(x)

    def never(*_: object) -> None:
        pytest.fail("searched again")

    monkeypatch.setattr(intrinsic, "search_task", never)
    assert intrinsic_dimension(graph).dimension == expected.dimension


def test_the_same_seed_gives_the_same_result() -> None:
    x = np.random.default_rng(0).uniform(size=(2300, 9))  # more points than patches
    one, same, other = (intrinsic_dimension(x, seed=seed).dimension for seed in (0, 0, 1))
    assert one == same
    assert one != other


@pytest.mark.parametrize("null", ["shuffled", "gaussian"])
def test_nulls_have_the_dimension_of_the_linear_span(null: str) -> None:
    """A closed curve through 6 dimensions; shuffled or made Gaussian it fills all six."""
    t = np.random.default_rng(0).uniform(0, 2 * math.pi, 1000)
    x = np.concatenate([f(m * t)[:, None] for m in (1, 2, 3) for f in (np.cos, np.sin)], axis=1)
    found = intrinsic_dimension(x, null=null)  # pyright: ignore[reportArgumentType]
    control = found.dimension.null
    assert control is not None
    assert abs(found.value - 1) < 0.2
    assert control.value > 4.5
    assert found.dimension.z_from_null < -5
    assert all(one.null is not None for one in found.estimates.values())


@pytest.mark.parametrize("shape", [(400, 6), (50, 120)], ids=["tall", "wide"])
def test_the_gaussian_null_has_the_covariance_of_the_points(shape: tuple[int, int]) -> None:
    """Averaged over 300 seeds, within 5 standard errors of a Gaussian sample covariance."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1])) + 3
    centred = x - x.mean(0)
    expected = centred.T @ centred / len(x)
    draws = [gaussian_like(x, seed) - x.mean(0) for seed in range(300)]
    found = np.mean([draw.T @ draw / len(x) for draw in draws], axis=0)
    variances = np.diag(expected)
    error = np.sqrt((np.outer(variances, variances) + expected**2) / (300 * len(x)))
    assert (np.abs(found - expected) < 5 * error).all()
    assert gaussian_like(x.astype(np.float32), 0).dtype == np.float32


def test_against_gaussian_searches_only_the_control() -> None:
    x = sphere(np.random.default_rng(0), 500, 1)
    found = against_gaussian(two_nn, neighbor_graph(x, 12))
    assert found.value == two_nn(x).value
    assert found.null is not None and abs(found.null.value - 2) < 0.4
    assert found == against_gaussian(two_nn, x)


@pytest.mark.parametrize(
    "x",
    [np.full((60, 3), 2.5), np.repeat(np.eye(4), 30, axis=0), np.zeros((14, 2))],
    ids=["all equal", "duplicates only", "fourteen points"],
)
def test_what_cannot_be_decided_is_said(x: np.ndarray) -> None:
    found = intrinsic_dimension(x, null="shuffled")
    assert found.method == "none" and not found.dimension.decidable
    assert "are needed" in found.why
    assert str(found).startswith("not decidable")
    assert found.to_dict()["interval"] is None
    assert not found.resolved
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("jitter", [0, 1e-5])
def test_a_lattice_is_not_decidable(jitter: float) -> None:
    grid = np.stack(np.meshgrid(*[np.arange(9.0)] * 3), axis=-1).reshape(-1, 3)
    found = intrinsic_dimension(grid + jitter * np.random.default_rng(0).normal(size=grid.shape))
    assert found.method == "none" and "lattice" in found.why


def test_some_points_that_coincide_are_reported() -> None:
    x = sphere(np.random.default_rng(0), 500, 2)
    found = intrinsic_dimension(np.concatenate([x, x[:40]]))
    low, high = found.interval
    assert low < 2 < high
    assert "80 points coincide with another one and were left out" in found.caveats


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros((12, 3)), "more than 12 points; there are 12"),
        (np.full((50, 2), np.nan), r"points\[0\]"),
        (np.zeros(50), r"\(50,\)"),
        ([["a", "b"]] * 30, "numbers"),
    ],
)
def test_unusable_points_are_one_error(bad: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        intrinsic_dimension(bad)  # pyright: ignore[reportArgumentType]


def test_unusable_settings_are_one_error() -> None:
    x = np.random.default_rng(0).normal(size=(100, 3))
    with pytest.raises(InputError, match="12 are needed"):
        intrinsic_dimension(neighbor_graph(x, 11))
    with pytest.raises(InputError, match="'uniform'"):
        intrinsic_dimension(x, null="uniform")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_kinds_of_points(dtype: type) -> None:
    x = (np.random.default_rng(0).normal(size=(300, 5)) * 30 + 128).clip(0, 255).astype(dtype)
    found = intrinsic_dimension(x)
    assert found.dimension.value == pytest.approx(
        intrinsic_dimension(x.astype(np.float64)).value, rel=1e-3
    )
    assert isinstance(found.dimension, Measurement)
