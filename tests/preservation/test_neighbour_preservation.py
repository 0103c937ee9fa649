"""Trustworthiness and continuity against ranks by definition, in easy and in hard places."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from immersion.core.errors import InputError
from immersion.known.sphere import Sphere
from immersion.measure.preservation import mirror
from immersion.measure.preservation.neighbours import (
    continuity,
    judge_neighbourhoods,
    map_task,
    trustworthiness,
)
from immersion.measure.preservation.quality import map_quality
from immersion.measure.preservation.space import as_space
from immersion.sampled.graph import NeighborGraph, neighbor_graph
from preservation.oracle import neighbour_scores


def judged(x: np.ndarray, y: np.ndarray, k: int) -> tuple[np.ndarray, ...]:
    found = judge_neighbourhoods(map_task(x, y, k, "auto", 0))
    return found.trust, found.kept, found.recall


def clouds() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Data on which a careless rank goes wrong."""
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(300, 40))
    flat = wide[:, :2] + 0.1 * rng.normal(size=(300, 2))
    tight = rng.normal(size=(6, 40))[rng.integers(0, 6, 300)] + 1e-4 * wide
    outlier = wide.copy()
    outlier[7] *= 1e6
    grid = np.stack(np.meshgrid(np.arange(15), np.arange(20)), -1).reshape(-1, 2)
    binary = rng.integers(0, 2, (300, 12))
    return {
        "gaussian": (wide, flat),
        "float32": (wide.astype(np.float32), flat.astype(np.float32)),
        "far from the origin": (wide + 1e4, flat - 1e6),
        "clusters below the product's rounding": (tight, flat),
        "one outlier": (outlier, flat),
        "a lattice": (grid, grid[:, ::-1] // 2),
        "binary": (binary, binary[:, :9]),
        "duplicates": (np.repeat(wide[:60], 5, axis=0), np.repeat(flat[:60], 5, axis=0)),
        "duplicates torn apart": (np.repeat(wide[:60], 5, axis=0), flat),
        "huge": (wide * 1e150, flat * 1e150),
        "tiny": (wide * 1e-150, flat * 1e-150),
        "constant features": (np.concatenate([wide, np.full((300, 30), 7.25)], 1), flat),
        "reversed view": (wide[::-1, ::-1], flat[::-1, ::-1]),
        "high to high": (wide, wide[:, :20] ** 3),
    }


@pytest.mark.parametrize("k", [1, 4, 60, 149])
@pytest.mark.parametrize("name", clouds())
def test_scores_are_those_of_exact_ranks(name: str, k: int) -> None:
    """Ranks are integers, so what differs is the rounding of one quotient."""
    x, y = clouds()[name]
    for ours, truth in zip(judged(x, y, k), neighbour_scores(x, y, k), strict=True):
        np.testing.assert_allclose(ours, truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tiles", [0, 1, 6, 7, 1000])
def test_blocks_that_keep_tiles_have_the_distances_of_all_pairs(
    tiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """9 blocks of 40 and one of 13; 6 tiles are 3 blocks ahead, and all fit where T^2 / 4 do."""
    monkeypatch.setattr(mirror, "_BUDGET", 4 * 40 * 40 * tiles)
    x = np.random.default_rng(11).normal(size=(373, 20))
    space = as_space(x, "points")
    kept = mirror.Mirror(space, 40)
    most = 0
    for start in range(0, 373, 40):
        rows = np.arange(start, min(373, start + 40))
        found = np.empty((len(rows), 373), np.float32)
        kept.rows(start, found)
        most = max(most, len(kept._tiles))
        truth = cdist(x[rows], x, "sqeuclidean")
        bound = space.c * (space.squares[rows][:, None] + space.squares)
        assert (np.abs(found - truth) <= bound).all()
    assert most <= tiles and (tiles == 0 or most > 0) and not kept._tiles


def test_ten_thousand_features_and_few_points() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 10_000))
    y = x @ rng.normal(size=(10_000, 3))
    for ours, truth in zip(judged(x, y, 7), neighbour_scores(x, y, 7), strict=True):
        np.testing.assert_allclose(ours, truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1500, 30)).astype(np.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = map_quality(x, x[:, :2], 10)
    finally:
        torch.set_num_threads(before)
    again = map_quality(x, x[:, :2], 10)
    assert found.measurements == again.measurements
    for one, other in ((found.trust, again.trust), (found.order, again.order)):
        np.testing.assert_array_equal(one, other)


def test_forms_of_input_agree() -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 50, (200, 11))
    y = (x[:, :2] / 7).astype(np.float32)
    expected = trustworthiness(x, y, 9).value
    strided = np.zeros((400, 22), np.float64)
    strided[::2, ::2] = x
    forms = (
        x.astype(np.float16), x.tolist(), torch.as_tensor(x), neighbor_graph(x, 20),
        strided[::2, ::2], x.astype(np.uint8), np.asfortranarray(x.astype(np.float32)),
    )  # fmt: skip
    for form in forms:
        assert trustworthiness(form, y, 9).value == expected


def test_continuity_is_trustworthiness_with_the_spaces_exchanged() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(400, 12)), rng.normal(size=(400, 2))
    assert continuity(x, y, 8).value == trustworthiness(y, x, 8).value


def test_an_isometry_is_perfect_and_a_random_map_meets_its_null() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2000, 3))
    turned = 3 * x @ np.linalg.qr(rng.normal(size=(3, 3)))[0] + 100
    assert trustworthiness(x, turned, 12).value == continuity(x, turned, 12).value == 1
    for measure in (trustworthiness, continuity):
        found = measure(x, rng.normal(size=(2000, 2)), 12)
        # The error is conservative for independent ranks: one false alarm in 1e5.
        assert abs(found.z_from_null) < 4.4


def test_a_sample_of_the_points_brackets_the_value_of_all() -> None:
    """95% intervals of 60 draws hold the whole in at least 52: 60 fair ones fail once in 10,000."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(3000, 10))
    y = x[:, :2]
    whole = map_quality(x, y, 10, sample="all")
    held = np.zeros(6, int)
    for seed in range(60):
        part = map_quality(x, y, 10, sample=150, random_state=seed)
        for slot, (one, all_) in enumerate(zip(part.measurements, whole.measurements, strict=True)):
            low, high = one.interval()
            held[slot] += low <= all_.value <= high
    assert held.min() >= 52, held


def test_a_sample_scores_its_points_as_the_whole_does() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(500, 9))
    part = map_quality(x, x[:, 1:3], 7, sample=50, random_state=3)
    whole = map_quality(x, x[:, 1:3], 7)
    assert len(part.rows) == 50 and len(set(part.rows.tolist())) == 50
    np.testing.assert_array_equal(part.trust, whole.trust[part.rows])
    np.testing.assert_array_equal(part.kept, whole.kept[part.rows])
    np.testing.assert_array_equal(part.order, whole.order[part.rows])


def test_ties_are_told() -> None:
    grid = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0)), -1).reshape(-1, 2)
    found = trustworthiness(grid, grid + 0.3 * np.random.default_rng(0).normal(size=(144, 2)), 5)
    assert any("69.4%" in caveat and "index decides" in caveat for caveat in found.caveats)
    # Four neighbours at distance 1 and four at sqrt 2: the 10 x 10 inner points of 144.
    assert found.settings["tied_points"] == 100 / 144
    assert found.settings["tied_images"] == 0


def test_points_that_all_coincide_are_not_decidable() -> None:
    x = np.random.default_rng(0).normal(size=(30, 12))
    for first, second in ((np.ones((30, 4)), x), (x, np.ones((30, 4)))):
        quality = map_quality(first, second, 3)
        assert all(not one.decidable and one.caveats for one in quality.measurements)


@pytest.mark.parametrize(
    ("x", "y", "k", "message"),
    [
        (np.ones((5, 2)), np.ones((6, 2)), 1, "5 points and 6 images"),
        (np.ones((10, 2)), np.ones((10, 2)), 5, r"k = 5 must be a whole number in 1\.\.4"),
        (np.ones((10, 2)), np.ones((10, 2)), 2.5, "whole number"),
        (np.ones((10, 2)), np.ones((10, 2)), 0, "k = 0"),
        (np.ones((1, 2)), np.ones((1, 2)), 1, "k = 1"),
        (np.full((10, 2), math.nan), np.ones((10, 2)), 2, "points: points"),
        (np.ones((10, 2)), np.full((10, 2), math.inf), 2, "embedding: points"),
        (np.array([["a"]]), np.ones((1, 1)), 1, "must be numbers"),
        (np.empty((0, 3)), np.empty((0, 2)), 1, "shape"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_error(x: object, y: object, k: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        trustworthiness(x, y, k)  # type: ignore[arg-type]


def test_a_graph_needs_points_whose_distances_rank_as_its_metric() -> None:
    x = np.random.default_rng(0).normal(size=(40, 6))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = trustworthiness(neighbor_graph(x, 4, metric="cosine"), x[:, :2], 4)
    assert cosine.value == trustworthiness(unit, x[:, :2], 4).value
    distances = np.sqrt(np.square(x[:, None] - x).sum(axis=2))
    with pytest.raises(InputError, match="knows distances only"):
        trustworthiness(NeighborGraph.from_distances(distances, 4), x[:, :2], 4)
    with pytest.raises(InputError, match="has metric"):
        trustworthiness(neighbor_graph(unit, 4, metric=Sphere(5)), x[:, :2], 4)


@pytest.mark.parametrize("sample", [0, 1, 11, 4.5, "some"])
def test_bad_samples_are_refused(sample: object) -> None:
    x = np.random.default_rng(0).normal(size=(10, 2))
    with pytest.raises(InputError, match="sample"):
        trustworthiness(x, x, 2, sample=sample)  # type: ignore[arg-type]
