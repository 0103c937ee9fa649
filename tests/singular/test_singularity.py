"""Singular points: found where they are, and nowhere on a smooth manifold."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import rankdata

from immersion.core.errors import InputError
from immersion.datasets import synthetic
from immersion.datasets.synthetic import SyntheticManifold
from immersion.measure.singular import Singularities, singularity
from immersion.sampled.graph import NeighborGraph, neighbor_graph


def auroc(score: np.ndarray, truth: np.ndarray) -> float:
    rank = rankdata(np.nan_to_num(score))
    ones = int(truth.sum())
    return float((rank[truth].sum() - ones * (ones + 1) / 2) / (ones * (len(truth) - ones)))


def middle_radius(found: Singularities, dim: int) -> float:
    """Median radius of the patches of the second scale: the neighbourhood of the targets."""
    return float(np.median(found.radii)) * (found.scales[1] / found.scales[-1]) ** (1 / dim)


SETS: dict[str, tuple[Callable[[], SyntheticManifold], str]] = {
    "planes": (lambda: synthetic.crossing_planes(2000), "crossing"),
    "planes at 30 degrees": (
        lambda: synthetic.crossing_planes(3000, angle=math.pi / 6, random_state=1),
        "crossing",
    ),
    "lines": (lambda: synthetic.crossing_planes(1000, 1, random_state=2), "crossing"),
    "lines in 10 dimensions": (
        lambda: synthetic.crossing_planes(1000, 1, ambient_dim=10, noise=1e-4, random_state=2),
        "crossing",
    ),
    "cone": (lambda: synthetic.cone(3000, random_state=3), "tip"),
    "cusp": (lambda: synthetic.cuspidal_edge(3000, random_state=4), "cusp"),
}


@pytest.mark.parametrize("name", SETS)
def test_singular_sets_are_found_and_named(name: str) -> None:
    maker, kind = SETS[name]
    m = maker()
    found = singularity(m.points)
    # At an angle the other sheet comes within a patch at radius / sin(angle) from the crossing.
    angle = float(m.settings.get("angle", math.pi / 2))
    radius = middle_radius(found, m.dim) / math.sin(angle)
    apart = m.boundary_distance >= 2 * radius
    assert auroc(found.scores[apart], m.singular_distance[apart] < radius) >= 0.95
    nearest = [float(m.singular_distance[place.points].min()) for place in found.places]
    kinds = {p.kind for p, d in zip(found.places, nearest, strict=True) if d < radius / 2}
    assert kinds == {kind}
    assert found.verdict == "singular"
    # What is flagged lies within a patch of something that is there.
    there = np.minimum(m.singular_distance, m.boundary_distance)[found.flagged]
    assert np.quantile(there / found.radii[found.flagged], 0.99) < 1.5 / math.sin(angle)


def test_the_tip_of_the_cone_is_one_place() -> None:
    m = synthetic.cone(3000, random_state=5)
    found = singularity(m.points)
    tips = [place for place in found.places if place.kind == "tip"]
    assert len(tips) == 1
    assert m.singular_distance[tips[0].points[0]] < tips[0].radius
    assert tips[0].p_value < 1e-6


@pytest.mark.parametrize("dim", [1, 2])
def test_a_boundary_is_no_singularity_inside(dim: int) -> None:
    m = synthetic.hyperball(2000, dim, ambient_dim=4)
    found = singularity(m.points)
    radius = middle_radius(found, dim)
    assert found.verdict == "manifold with boundary"
    assert auroc(found.scores, m.boundary_distance < radius) >= 0.95
    assert (found.tests["sheet"] > 0.05).all()


def test_a_line_through_a_disc_changes_dimension() -> None:
    m = synthetic.pierced_disc(3000)
    found = singularity(m.points)
    away = m.singular_distance > 0.2
    assert (found.dims[away] == m.dims[away]).mean() > 0.99
    place = next(p for p in found.places if p.kind == "change of dimension")
    assert np.median(m.singular_distance[place.points]) < np.median(found.radii)
    assert all(p.kind in ("boundary", "change of dimension") for p in found.places)


def test_an_outlier_is_named() -> None:
    m = synthetic.sphere(1500, 2)
    points = np.concatenate([m.points, [[0.0, 0.0, 1.6]]])
    found = singularity(points, dim=2)
    assert found.flagged[-1]
    own = found.places[found.labels[-1]]
    assert own.kind == "outlier"
    assert own.points.tolist() == [1500]


CLOSED: dict[str, Callable[[int], np.ndarray]] = {
    "circle": lambda s: synthetic.sphere(1000, 1, random_state=s).points,
    "sphere": lambda s: synthetic.sphere(1000, 2, random_state=s).points,
    "3-sphere": lambda s: synthetic.sphere(1500, 3, random_state=s).points,
    "torus": lambda s: synthetic.torus(1200, random_state=s).points,
    "Klein bottle": lambda s: synthetic.klein_bottle(1200, random_state=s).points,
    "noisy": lambda s: synthetic.sphere(1000, 2, noise=0.01, random_state=s).points,
    "noisy and wide": lambda s: (
        synthetic.sphere(1000, 2, noise=0.01, ambient_dim=20, random_state=s).points
    ),
    "stretched": lambda s: synthetic.sphere(1500, 2, random_state=s).points * [1.0, 2.0, 3.0],
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_manifolds_raise_few_alarms(name: str) -> None:
    """Points below .05 on average over seeds; at most one of three samples with any place has a
    probability of .993 at level .05."""
    shares, alarms = [], 0
    for seed in range(3):
        found = singularity(CLOSED[name](seed))
        assert found.share.decidable
        shares.append(float(np.mean(found.p_values <= 0.05)))
        alarms += found.verdict != "no singular place"
    assert np.mean(shares) < 0.05
    assert alarms <= 1


def test_rotation_scale_and_order_change_nothing() -> None:
    m = synthetic.crossing_planes(800, random_state=6)
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    order = rng.permutation(800)
    one = singularity(m.points, dim=2)
    other = singularity((1e3 * m.points @ turn + 7)[order], dim=2)
    same = np.abs(one.scores[order] - other.scores) < 1e-3
    # At the crossing itself the axes of the patch are equal, and rounding chooses the chart.
    assert same[m.singular_distance[order] > 0.2].mean() > 0.99
    assert (one.flagged[order] == other.flagged).mean() > 0.98
    assert one.verdict == other.verdict == "singular"


def test_both_dtypes_agree() -> None:
    m = synthetic.cone(1000)
    double, single = (singularity(m.points.astype(t), dim=2) for t in (np.float64, np.float32))
    assert (double.flagged == single.flagged).mean() > 0.99


def test_the_same_seed_gives_the_same_bits() -> None:
    points = synthetic.torus(800).points
    one, other = singularity(points, seed=3), singularity(points, seed=3)
    assert np.array_equal(one.p_values, other.p_values)
    assert np.array_equal(one.scores, other.scores)


def test_a_graph_is_used_as_it_is() -> None:
    m = synthetic.crossing_planes(1500)
    graph = neighbor_graph(m.points, 64)
    assert np.array_equal(singularity(graph, dim=2).p_values, singularity(m.points, dim=2).p_values)
    small = singularity(neighbor_graph(m.points, 32), dim=2)
    assert small.scales == (16, 32)


def test_pieces_do_not_disturb_each_other() -> None:
    circle = synthetic.sphere(600, 1, ambient_dim=3).points
    sphere = synthetic.sphere(1500, 2).points + 10
    found = singularity(np.concatenate([circle, sphere]))
    assert (found.dims[:600] == 1).all()
    assert (found.dims[600:] == 2).all()
    assert found.verdict == "no singular place"


def test_duplicates_do_not_hide_the_crossing() -> None:
    m = synthetic.crossing_planes(1500)
    points = np.concatenate([m.points, m.points[:100]])
    found = singularity(points, dim=2)
    assert found.verdict == "singular"
    assert np.isfinite(found.p_values).all()


def test_points_that_all_coincide_are_not_decidable() -> None:
    found = singularity(np.ones((200, 3)))
    assert found.verdict == "not decidable"
    assert "no dimension" in str(found)
    assert not found.flagged.any()
    given = singularity(np.ones((200, 3)), dim=2)
    assert given.verdict == "not decidable"
    mixed = np.concatenate([synthetic.sphere(800, 2).points, np.full((100, 3), 5.0)])
    found = singularity(mixed, dim=2)
    assert np.isnan(found.p_values[800:]).all()
    assert np.isfinite(found.p_values[:800]).all()
    assert any("not decidable" in text for text in found.caveats)


@pytest.mark.parametrize("n", [2, 20, 40])
def test_few_points_are_not_decidable(n: int) -> None:
    found = singularity(np.random.default_rng(0).normal(size=(n, 3)))
    assert found.verdict == "not decidable"
    assert "few" in found.caveats[0] or "resolve" in found.caveats[0]
    assert np.isnan(found.p_values).all()
    assert found.labels.tolist() == [-1] * n
    json.dumps(found.to_dict())


def test_high_dimension_is_not_decidable() -> None:
    found = singularity(np.random.default_rng(0).normal(size=(1000, 12)))
    assert found.verdict == "not decidable"
    assert "2 log10(n) = 6.0" in found.caveats[0]


def test_a_dimension_that_is_wrong_shows() -> None:
    """A surface taken for a curve is no curve anywhere; a curve for a surface has no patches."""
    sphere = synthetic.sphere(1000, 2).points
    found = singularity(sphere, dim=1)
    assert found.verdict in ("not decidable", "singular")
    line = np.zeros((500, 3))
    line[:, 0] = np.random.default_rng(0).uniform(size=500)
    assert singularity(line, dim=2).verdict == "not decidable"


def test_data_that_fills_its_space() -> None:
    found = singularity(np.random.default_rng(0).uniform(size=(2000, 2)))
    assert found.verdict == "manifold with boundary"
    assert np.isnan(found.tests["sheet"]).all()


def test_the_result_reads_well() -> None:
    found = singularity(synthetic.crossing_planes(1500).points)
    assert str(found).startswith("singular: ")
    assert "crossing: " in str(found)
    kept = json.loads(json.dumps(found.to_dict()))
    assert kept["verdict"] == "singular"
    assert kept["places"][0]["kind"] == found.places[0].kind
    assert found.share.null is not None and found.share.null.value == 0
    assert found.share.stderr > 0
    assert (found.labels >= 0).sum() == found.flagged.sum()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"dim": 0}, "dim must lie in 1..D = 3"),
        ({"dim": 4}, "dim must lie in 1..D = 3"),
        ({"scales": [32, 16]}, "ascend"),
        ({"scales": [16, 500]}, "ascend"),
        ({"scales": []}, "ascend"),
        ({"scales": [5], "dim": 2}, "need 12 neighbours"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        singularity(synthetic.sphere(200, 2).points, **arguments)  # pyright: ignore


def test_bad_points() -> None:
    points = synthetic.sphere(200, 2).points
    with pytest.raises(InputError, match="NaN"):
        singularity(np.where(points > 0.99, np.nan, points))
    with pytest.raises(InputError, match="Euclidean"):
        singularity(neighbor_graph(points, 64, metric="cosine"), dim=2)
    with pytest.raises(InputError, match="neighbours"):
        singularity(neighbor_graph(points, 20), dim=2)
    bare = NeighborGraph.from_distances(np.abs(points[:, :1] - points[:, 0]), 64)
    with pytest.raises(InputError):
        singularity(bare, dim=2)
