"""Curves, correlations and distortion against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

from immersion.core.errors import InputError
from immersion.datasets import swiss_roll
from immersion.measure.preservation.distortion import map_distortion
from immersion.measure.preservation.quality import map_quality
from immersion.sampled.graph import neighbor_graph
from preservation.oracle import neighbour_scores, q_nx, ranks


def example(n: int = 400, width: int = 20, dtype: type = np.float64) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, width)) * np.geomspace(3, 0.3, width)
    return x.astype(dtype), (x[:, :2] + 0.2 * rng.normal(size=(n, 2))).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [4, 20])
def test_the_curve_is_that_of_the_coranking_matrix(width: int, dtype: type) -> None:
    """Float32 distances may exchange two ranks: 400 points have 400 * K pairs at size K."""
    x, y = example(width=width, dtype=dtype)
    found = map_quality(x, y, 9).curve
    n, truth = len(x), q_nx(x, y)
    assert found.sizes[0] == 1 and found.sizes[-1] == n - 2
    assert (np.diff(found.sizes) > 0).all()
    np.testing.assert_allclose(found.q_nx, truth[found.sizes - 1], atol=2 / n)
    size = found.sizes
    np.testing.assert_allclose(found.lcmc, found.q_nx - size / (n - 1), atol=1e-12)
    np.testing.assert_allclose(
        found.r_nx, ((n - 1) * found.q_nx - size) / (n - 1 - size), atol=1e-12
    )


def test_the_area_weighs_all_sizes_by_their_reciprocal() -> None:
    x, y = example()
    n, truth = len(x), q_nx(x, y)
    size = np.arange(1, n - 1)
    r_nx = ((n - 1) * truth - size) / (n - 1 - size)
    area = (r_nx / size).sum() / (1 / size).sum()
    assert map_quality(x, y, 9).area.value == pytest.approx(area, abs=1e-5)


def test_neighbour_scores_are_exact_in_the_joint_pass_too() -> None:
    x, y = example()
    found = map_quality(x, y, 9)
    for ours, truth in zip(
        (found.trust, found.kept, found.recalled), neighbour_scores(x, y, 9), strict=True
    ):
        np.testing.assert_allclose(ours, truth, rtol=0, atol=1e-12)
    assert found.recall.value == pytest.approx(found.recalled.mean())


def test_distance_correlations_against_scipy() -> None:
    x, y = example(900)
    found = map_quality(x, y, 9)
    one, other = pdist(x), pdist(y)
    assert found.pearson.value == pytest.approx(pearsonr(one, other)[0], abs=1e-6)
    assert found.spearman.value == pytest.approx(spearmanr(one, other)[0], abs=5e-5)


def test_rank_correlation_survives_scales_far_apart() -> None:
    """Bins are quantiles of the distances: a far outlier or tight clusters must not blur them."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8, 3))[rng.integers(0, 8, 600)] + 1e-3 * rng.normal(size=(600, 3))
    x[5] += 1e4
    y = x + 3e-4 * rng.normal(size=x.shape)
    found = map_quality(x, y, 9)
    truth = spearmanr(pdist(x), pdist(y))[0]
    assert found.spearman.value == pytest.approx(truth, abs=5e-4)


def test_order_is_each_points_own_rank_correlation() -> None:
    x, y = example(200)
    found, first, second = map_quality(x, y, 9).order, ranks(x), ranks(y)
    for i in range(0, 200, 7):
        others = np.arange(200) != i
        truth = spearmanr(first[i, others], second[i, others])[0]
        assert found[i] == pytest.approx(truth, abs=1e-4)


def test_errors_are_the_spread_over_new_points() -> None:
    """Reported errors against the spread of 60 fresh clouds under one fixed map.

    An error from 60 runs has a spread of 9% itself; the factor of neighbour scores is the part
    that Hoeffding's projection leaves open (they need no more than what is reported).
    """
    runs = []
    for seed in range(60):
        x = np.random.default_rng(seed).normal(size=(500, 5)) * [3, 2, 1, 1, 1]
        runs.append(map_quality(x, x[:, :2], 8).measurements)
    for column in zip(*runs, strict=True):
        spread = np.std([one.value for one in column], ddof=1)
        reported = np.mean([one.stderr for one in column])
        exact = column[0].name.startswith("distance_")
        assert 0.72 < spread / reported < 1.35 if exact else spread < 1.35 * reported, column[
            0
        ].name


@pytest.mark.parametrize("width", [3, 50])
def test_nulls_are_what_maps_at_random_give(width: int) -> None:
    """Mean and spread of 80 random maps, from points without and with hubs.

    A spread from 80 runs errs by 8%; pairs counted in both directions add up to 40%. Hubs, which
    are most of continuity's spread in 50 dimensions, are counted at the most they can add.
    """
    rng = np.random.default_rng(9)
    x = rng.normal(size=(200, width))
    runs = [map_quality(x, rng.normal(size=(200, 2)), 6).measurements for _ in range(80)]
    for column in zip(*runs, strict=True):
        name, null = column[0].name, column[0].null
        assert null is not None
        spread = np.std([one.value for one in column], ddof=1)
        ratio = spread / np.mean([one.null.stderr for one in column if one.null])
        assert (0.4 if width == 50 else 0.7) < ratio < 1.4, (name, ratio)
        mean = np.mean([one.value for one in column])
        assert mean == pytest.approx(null.value, abs=4 * spread / math.sqrt(80)), name


def test_distortion_of_a_stretched_line_by_hand() -> None:
    line = np.array([0.0, 1.0, 2.0, 4.0])
    g = np.abs(line[:, None] - line)
    g[0, 3] = g[3, 0] = math.inf
    image = np.array([[0.0], [2.0], [4.0], [7.0]])
    e = np.abs(image - image.T)
    use = np.isfinite(g)
    scale = (g[use] * e[use]).sum() / (e[use] ** 2).sum()
    found = map_distortion(g, image)
    stress = np.sqrt(((g[use] - scale * e[use]) ** 2).sum() / (g[use] ** 2).sum())
    assert found.scale.value == pytest.approx(scale, rel=1e-14)
    assert found.stress.value == pytest.approx(stress, rel=1e-12)
    pairs = use & (g > 0)
    ratio = scale * e[pairs] / g[pairs]
    assert found.expansion == pytest.approx(ratio.max()) and found.contraction == pytest.approx(
        ratio.min()
    )
    r = np.corrcoef(g[pairs], e[pairs])[0, 1]
    assert found.residual_variance.value == pytest.approx(1 - r * r, rel=1e-10)
    assert found.unreachable == 2 / 16
    per_row = [np.abs(scale * e[i, pairs[i]] / g[i, pairs[i]] - 1).mean() for i in range(4)]
    np.testing.assert_allclose(found.scores, per_row)
    assert found.relative_error.value == pytest.approx(np.mean(per_row))


def test_distortion_from_some_sources() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    g = np.sqrt(np.square(x[:, None] - x).sum(axis=2)).astype(np.float32)
    sources = rng.choice(300, 40, replace=False)
    found = map_quality(x, 5 * x, 10, geodesics=g[sources], sources=sources).distortion
    assert found is not None
    # Float32 distances differ by 6e-8 of themselves; stress is a root of rounding.
    assert found.scale.value == pytest.approx(0.2, rel=1e-7)
    assert found.stress.value < 1e-6 and found.residual_variance.value < 1e-10
    assert found.expansion < 1 + 1e-5
    np.testing.assert_array_equal(found.rows, sources)
    noisy = map_distortion(g[sources], x + 0.3 * rng.normal(size=x.shape), sources)
    whole = map_distortion(g, x + 0.0, None)
    assert noisy.stress.value > 0.1 > whole.stress.value
    assert len(noisy.measurements) == 4 and all(one.stderr > 0 for one in noisy.measurements)


def test_errors_of_distortion_are_the_spread_over_new_points() -> None:
    """Spread of 60 fresh clouds, +- 35%: the error's own spread is 9%, the rest is curvature."""
    runs = []
    for seed in range(60):
        x = np.random.default_rng(seed).normal(size=(200, 4)) * [3, 2, 1, 1]
        g = np.sqrt(np.square(x[:, None] - x).sum(axis=2))
        runs.append(map_distortion(g, x[:, :2]).measurements)
    for column in zip(*runs, strict=True):
        spread = np.std([one.value for one in column], ddof=1)
        assert 0.65 < spread / np.mean([one.stderr for one in column]) < 1.35, column[0].name


def test_distortion_without_distances_is_not_decidable() -> None:
    g = np.full((4, 4), math.inf)
    np.fill_diagonal(g, 0)
    image = np.arange(4.0)[:, None]
    for found in (map_distortion(g, image), map_distortion(np.abs(image - image.T), 0 * image)):
        assert all(not one.decidable and one.caveats for one in found.measurements)


def test_distances_of_a_graph_are_its_shortest_paths() -> None:
    roll = swiss_roll(900, random_state=1)
    graph = neighbor_graph(roll.points, 9)
    paths = dijkstra(graph.to_scipy("union"), directed=False)
    t = roll.coordinates[:, 0]
    unrolled = np.stack([(t * np.hypot(1, t) + np.arcsinh(t)) / 2, roll.coordinates[:, 1]], axis=1)
    own, given = map_distortion(graph, unrolled), map_distortion(paths, unrolled)
    for one, other in zip(own.measurements, given.measurements, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-5)
        assert one.stderr == pytest.approx(other.stderr, rel=1e-4)
    assert own.scale.settings["k"] == 9
    # The unrolled sheet keeps geodesics; paths of 900 points zigzag by some 5%.
    assert own.relative_error.value < 0.05 and own.residual_variance.value < 0.01
    whole = map_quality(graph, unrolled)
    assert whole.distortion is not None and whole.distortion.measurements == own.measurements
    chosen = map_distortion(graph, unrolled, [5, 3]).rows
    np.testing.assert_array_equal(chosen, [5, 3])


def test_sources_of_a_large_graph_are_drawn_and_bracket_all_of_them() -> None:
    """95% intervals of 30 draws hold the value of all in 25 at least: fair ones fail 1 in 2,000."""
    roll = swiss_roll(2400, random_state=2)
    graph, flat = neighbor_graph(roll.points, 8), roll.points[:, [0, 1]]
    whole = map_distortion(graph, flat, np.arange(2400))
    held = np.zeros(4, int)
    for seed in range(30):
        part = map_distortion(graph, flat, random_state=seed)
        assert len(part.rows) == 512 and len(set(part.rows.tolist())) == 512
        for slot, (one, all_) in enumerate(zip(part.measurements, whole.measurements, strict=True)):
            low, high = one.interval()
            held[slot] += low <= all_.value <= high
    assert held.min() >= 25, held


def test_distortion_of_a_map_at_random_is_its_null() -> None:
    """Values of 40 random maps lie within 4.5 of their errors of the one that is the null."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(250, 2))
    g = np.sqrt(np.square(x[:, None] - x).sum(axis=2))
    for _ in range(40):
        found = map_distortion(g, x[rng.permutation(250)])
        for one in found.measurements[:3]:
            assert abs(one.z_from_null) < 4.5, one.name
    kept = map_distortion(g, x)
    assert all(one.z_from_null < -20 for one in kept.measurements[:3])
    assert kept.scale.null is None


def test_what_is_printed_names_every_measurement_and_what_chance_gives() -> None:
    x, y = example(200)
    found = map_quality(neighbor_graph(x, 5), y, 9)
    lines = str(found).splitlines()
    assert lines[0] == "200 of 200 points judged, k = 9"
    for line, one in zip(lines[1:11], found.measurements, strict=True):
        assert line.startswith(one.name) and (one.null is None) == ("at random" not in line)
    assert "at random 0.045" in lines[3]  # 9 of 199
    g = np.full((4, 4), math.inf)
    np.fill_diagonal(g, 0)
    assert str(map_distortion(g, np.eye(4))).count("no two points") == 1


@pytest.mark.parametrize(
    ("g", "sources", "message"),
    [
        (np.ones((3, 5)), None, r"shape \(m, 4\)"),
        (np.ones((3, 4)), None, "sources="),
        (np.ones((3, 4)), [0, 1], "3 indices"),
        (np.ones((3, 4)), [0, 1, 4], "0..3"),
        (np.ones((3, 4)), [0.0, 1.0, 2.0], "indices"),
        (np.full((4, 4), math.nan), None, "NaN"),
        (-np.ones((4, 4)), None, "negative"),
        (np.array([["a"] * 4]), [0], "numbers"),
        ([[1.0], [1.0, 2.0]], None, "rectangular"),
        (neighbor_graph(np.eye(5), 2), None, "5 points and 4 images"),
        (neighbor_graph(np.eye(4), 2), [4], r"0\.\.3"),
        (neighbor_graph(np.eye(4), 2), [0.5], "indices"),
        (neighbor_graph(np.eye(4), 2), [], "indices"),
    ],
)  # fmt: skip
def test_bad_geodesics_are_one_clear_error(g: object, sources: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        map_distortion(g, np.arange(4.0)[:, None], sources)  # type: ignore[arg-type]
