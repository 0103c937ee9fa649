"""Laplacians against closed spectra: paths, cycles, tori of points, spheres, and dense algebra."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from scipy.linalg import expm

from immersion.core.errors import InputError
from immersion.sampled.graph import NeighborGraph, neighbor_graph
from immersion.sampled.laplacian.eigen import smallest_eigenpairs
from immersion.sampled.laplacian.operator import Kind, Laplacian, laplacian
from immersion.sampled.laplacian.weights import (
    GaussianWeights,
    Kernel,
    SelfTuningWeights,
    UnitWeights,
)

KINDS: tuple[Kind, ...] = ("combinatorial", "normalised", "random_walk", "beltrami")
KERNELS: tuple[Kernel, ...] = (
    UnitWeights(),
    GaussianWeights(),
    GaussianWeights(0.8),
    SelfTuningWeights(),
    SelfTuningWeights(2),
)


def cycle(n: int, k: int = 2) -> NeighborGraph:
    turn = 2 * np.pi * np.arange(n) / n
    return neighbor_graph(np.stack([np.cos(turn), np.sin(turn)], axis=1), k)


def sphere(n: int, dim: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, dim + 1))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def dense(found: Laplacian) -> np.ndarray:
    return found.matrix().toarray()


@pytest.mark.parametrize("n", [64, 3000])
def test_the_cycle(n: int) -> None:
    """Eigenvalues 2 - 2 cos(2 pi j / n), each twice; 3000 points take the banded solver."""
    values = laplacian(cycle(n), "combinatorial", kernel=UnitWeights()).spectrum(9).values
    wave = np.array([0, 1, 1, 2, 2, 3, 3, 4, 4])
    truth = 4 * np.sin(np.pi * wave / n) ** 2
    np.testing.assert_allclose(values, truth, rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("n", [64, 3000])
def test_the_path(n: int) -> None:
    """Eigenvalues 4 sin^2(pi j / 2n) and cosines; every end point has one neighbour."""
    x = np.arange(float(n))[:, None]
    graph = neighbor_graph(x, 1)
    # One neighbour a point leaves pairs: the path is every second nearest, so it takes two and a
    # bandwidth that does not see further than one step.
    steps = np.stack([np.maximum(np.arange(n) - 1, 0), np.minimum(np.arange(n) + 1, n - 1)], 1)
    steps[0, 0], steps[-1, 1] = 1, n - 2
    path = NeighborGraph(x, steps, np.ones((n, 2), np.float32), "euclidean", graph.search, 1.0)
    found = laplacian(path, "combinatorial", kernel=UnitWeights()).spectrum(6)
    np.testing.assert_allclose(
        found.values, 4 * np.sin(np.pi * np.arange(6) / 2 / n) ** 2, rtol=1e-6, atol=1e-13
    )
    wave = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    overlap = abs(wave @ found.vectors[:, 1]) / np.linalg.norm(wave)
    assert overlap == pytest.approx(1, abs=1e-9)


def test_a_torus_of_points_whose_eigenvalues_are_fourfold() -> None:
    """The product of two cycles by the Chebyshev filter: sums of the cycle's eigenvalues."""
    n = 40
    place = np.arange(n * n).reshape(n, n)
    turned = [np.roll(place, shift, axis) for axis in (0, 1) for shift in (1, -1)]
    around = np.stack([t.ravel() for t in turned], axis=1)
    graph = NeighborGraph(
        place.reshape(-1, 1).astype(float), around, np.ones((n * n, 4), np.float32),
        "euclidean", neighbor_graph(np.eye(3), 1).search, 1.0,
    )  # fmt: skip
    values = laplacian(graph, "combinatorial", kernel=UnitWeights()).spectrum(30).values
    single = 4 * np.sin(np.pi * np.arange(n) / n) ** 2
    truth = np.sort((single[:, None] + single).ravel())[:30]
    np.testing.assert_allclose(values, truth, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_dense_algebra(kind: Kind, kernel: Kernel, dtype: type) -> None:
    x = np.random.default_rng(1).normal(size=(700, 3)).astype(dtype)
    found = laplacian(neighbor_graph(x, 8), kind, kernel=kernel, dim=3)
    matrix = dense(found)
    truth = np.sort(np.linalg.eigvals(matrix).real)
    spectrum = found.spectrum(12)
    np.testing.assert_allclose(spectrum.values, truth[:12], atol=1e-9 * truth[-1])
    mass = np.ones(700) if kind == "normalised" else found.mass
    # In the norm of the mass: a function may be huge on a point that hardly weighs.
    error = matrix @ spectrum.vectors - spectrum.vectors * spectrum.values
    np.testing.assert_array_less(np.sqrt(mass @ error**2), 2e-6 * truth[-1])
    gram = spectrum.vectors.T * mass @ spectrum.vectors
    np.testing.assert_allclose(gram, np.eye(12), atol=1e-9)


def test_the_weights_by_their_formula() -> None:
    x = np.random.default_rng(2).normal(size=(60, 2))
    graph = neighbor_graph(x, 5)
    near = np.zeros((60, 60), bool)
    near[np.arange(60)[:, None], graph.indices] = True
    near |= near.T
    squared = np.square(x[:, None] - x).sum(axis=2)
    own = graph.distances[:, 2].astype(float)
    kernels = {
        UnitWeights(): np.ones_like(squared),
        GaussianWeights(0.7): np.exp(-squared / 0.49),
        SelfTuningWeights(3): np.exp(-squared / own[:, None] / own),
    }
    for kernel, values in kernels.items():
        weights = laplacian(graph, kernel=kernel).weights.toarray()
        np.testing.assert_allclose(weights, values * near, rtol=1e-5)
    q = (np.exp(-squared / 0.49) * near).sum(axis=1)
    corrected = laplacian(graph, kernel=GaussianWeights(0.7), alpha=1.0).weights.toarray()
    expected = np.exp(-squared / 0.49) * near / q[:, None] / q
    # Up to one factor, which no eigenvalue of a walk sees.
    np.testing.assert_allclose(
        corrected / corrected.sum(), expected / expected.sum(), rtol=1e-5, atol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
def test_heat_is_the_exponential(kind: Kind) -> None:
    x = np.random.default_rng(3).normal(size=(120, 2))
    found = laplacian(neighbor_graph(x, 6), kind, dim=2)
    f = np.random.default_rng(4).normal(size=(120, 3))
    for time in (0.0, 0.01, 1.0, 50.0):
        truth = expm(-time * dense(found)) @ f
        np.testing.assert_allclose(found.heat(f, time, tolerance=1e-10), truth, atol=1e-8)
    np.testing.assert_allclose(found.heat(f[:, 0], 1.0), found.heat(f, 1.0)[:, 0], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_heat_kernel_itself(kind: Kind) -> None:
    """exp(-t L), a semigroup, symmetric in the mass, positive, with rows that add up to 1."""
    x = np.random.default_rng(3).normal(size=(150, 2))
    found = laplacian(neighbor_graph(x, 6), kind, dim=2)
    for time in (0.0, 0.02, 1.5):
        kernel = found.heat_kernel(time)
        np.testing.assert_allclose(kernel, expm(-time * dense(found)), atol=1e-10)
        flowed = found.heat(np.eye(150), time, tolerance=1e-10)
        np.testing.assert_allclose(kernel, flowed, atol=1e-8)
    np.testing.assert_allclose(
        found.heat_kernel(0.3) @ found.heat_kernel(0.5), found.heat_kernel(0.8), atol=1e-12
    )
    assert found.heat_kernel(3.0).min() > -1e-13
    if kind == "normalised":
        np.testing.assert_allclose(kernel, kernel.T, atol=1e-14)
    else:
        np.testing.assert_allclose(kernel.sum(axis=1), 1, atol=1e-10)
        balance = found.mass[:, None] * kernel
        np.testing.assert_allclose(balance, balance.T, atol=1e-12 * balance.max())


def test_the_heat_kernel_of_a_plane_is_gaussian() -> None:
    """(4 pi t)^-1 exp(-r^2 / 4t) a unit area: its spread is 4 t, from the middle of a square."""
    x = np.random.default_rng(0).uniform(-1, 1, size=(4000, 2))
    found = laplacian(neighbor_graph(x, 40), "beltrami", dim=2)
    middle = int(np.argmin((x**2).sum(axis=1)))
    spot = np.zeros(4000)
    spot[middle] = 1
    for time in (0.005, 0.01, 0.02):
        heat = found.heat(spot, time) * found.mass
        square = ((x - x[middle]) ** 2).sum(axis=1)
        assert heat @ square / heat.sum() == pytest.approx(4 * time, rel=0.1)


def test_length_and_place_change_what_they_should() -> None:
    """x -> c x + t: "beltrami" goes as 1 / c^2, the others not at all."""
    x = sphere(800, 2)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    for kind in KINDS:
        one, other = (
            laplacian(neighbor_graph(each, 12), kind, dim=2).spectrum(6).values
            for each in (x, 16 * x @ turn + 3)
        )
        factor = 256 if kind == "beltrami" else 1
        np.testing.assert_allclose(factor * other, one, rtol=1e-4, atol=1e-12)


def test_heat_of_a_random_walk_keeps_constants_and_mass() -> None:
    x = sphere(2000, 2)
    found = laplacian(neighbor_graph(x, 10), "random_walk")
    np.testing.assert_allclose(found.heat(np.ones(2000), 100.0), 1, atol=1e-4)
    f = np.random.default_rng(0).uniform(size=2000)
    assert found.mass @ found.heat(f, 30.0) == pytest.approx(found.mass @ f, rel=1e-5)


@pytest.mark.parametrize(("dim", "n"), [(1, 1500), (2, 3000), (3, 4000)])
def test_the_sphere_within_its_errors(dim: int, n: int) -> None:
    """The eigenvalues l (l + d - 1) in their multiplicities, radius 2: a quarter of them."""
    found = laplacian(neighbor_graph(2 * sphere(n, dim), 40), "beltrami", dim=dim)
    first = dim + 1
    second = math.comb(dim + 2, 2) - 1
    spectrum = found.spectrum(1 + first + second)
    for level, members in ((1, slice(1, 1 + first)), (2, slice(1 + first, None))):
        truth = level * (level + dim - 1) / 4
        error = abs(spectrum.corrected[members].mean() - truth)
        assert error < 2 * spectrum.stderr[members].mean()
        assert spectrum.stderr[members].mean() < 0.06 * truth
    # The gap between the multiplets is wider than either of them.
    gap = spectrum.values[1 + first] - spectrum.values[first]
    assert gap > 2 * np.ptp(spectrum.values[1 : 1 + first])


def drifted(c: float) -> np.ndarray:
    """Eigenvalues of -f'' + c sin(t) f' on the circle, by finite differences: c grad(cos t)."""
    grid = 2 * np.pi * np.arange(2000) / 2000
    step = grid[1]
    between = np.exp(c * np.cos(grid + step / 2))
    flux = np.diag(between + np.roll(between, 1)) - np.roll(np.diag(between), 1, axis=1)
    flux -= np.roll(np.diag(between), 1, axis=1).T
    law = np.exp(-c / 2 * np.cos(grid))
    return np.linalg.eigvalsh(law[:, None] * flux * law / step**2)[1:5]


@pytest.mark.parametrize(("alpha", "first"), [(0.0, 1.647), (0.5, 1.165), (1.0, 1.0)])
def test_alpha_on_a_circle_of_known_density(alpha: float, first: float) -> None:
    """Quantiles of a von Mises law: no noise, so the drift 2 (1 - alpha) grad log q is exact."""
    place = (np.arange(2000) + 0.5) / 2000
    law = np.exp(np.cos(grid := np.linspace(-np.pi, np.pi, 100001)))
    whole = np.concatenate([[0], np.cumsum(law[1:] + law[:-1])])
    turn = np.interp(place, whole / whole[-1], grid)
    graph = neighbor_graph(np.stack([np.cos(turn), np.sin(turn)], axis=1), 120)
    truth = drifted(2 * (1 - alpha))
    assert truth[0] == pytest.approx(first, abs=2e-3)
    found = laplacian(graph, "beltrami", dim=1, alpha=alpha).spectrum(5)
    # Members of a pair repel each other; the errors hold for their mean.
    for pair in (slice(0, 2), slice(2, 4)):
        value, stderr = found.corrected[1:][pair].mean(), found.stderr[1:][pair].mean()
        assert value == pytest.approx(truth[pair].mean(), rel=0.04)
        assert abs(value - truth[pair].mean()) < 2 * stderr


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_alpha_on_a_random_sample_within_its_errors(alpha: float) -> None:
    """The noise of an estimated density lowers eigenvalues; the error holds it."""
    turn = np.random.default_rng(0).vonmises(0, 1, size=2000)
    graph = neighbor_graph(np.stack([np.cos(turn), np.sin(turn)], axis=1), 60)
    found = laplacian(graph, "beltrami", dim=1, alpha=alpha).spectrum(4)
    truth = drifted(2 * (1 - alpha))[:3]
    assert (abs(found.corrected[1:] - truth) < 3 * found.stderr[1:]).all()
    assert any("leaves the density" in c for c in found.caveats) == (alpha < 1)


def test_pieces_have_exact_zeros() -> None:
    x = np.concatenate([sphere(400, 2), 10 + sphere(500, 2), 30 + np.zeros((20, 3))])
    found = laplacian(neighbor_graph(x, 6))
    assert found.pieces == 3
    spectrum = found.spectrum(6)
    np.testing.assert_array_equal(spectrum.values[:3], 0)
    assert spectrum.values[3] > 1e-4
    for member in range(3):
        seen = np.flatnonzero(spectrum.vectors[:, member])
        assert len(np.unique(found.piece[seen])) == 1
    assert any("3 pieces" in caveat for caveat in spectrum.caveats)
    assert laplacian(neighbor_graph(x, 6)).spectrum(2).values.tolist() == [0, 0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_duplicates_and_equal_points(kind: Kind, kernel: Kernel) -> None:
    half = np.repeat(sphere(30, 2), 12, axis=0)
    for x in (np.full((40, 3), 2.5, np.float32), np.concatenate([half, sphere(300, 2, 1)])):
        found = laplacian(neighbor_graph(x, 6), kind, kernel=kernel, dim=2)
        spectrum = found.spectrum(found.pieces + 3)
        assert np.isfinite(spectrum.values).all() and np.isfinite(spectrum.vectors).all()
        assert (spectrum.values >= 0).all()


def test_two_points() -> None:
    found = laplacian(neighbor_graph([[0.0], [1.0]], 1), "normalised")
    np.testing.assert_allclose(found.spectrum(2).values, [0, 2], atol=1e-12)


def test_threads_change_no_bit_of_the_sweeps() -> None:
    found = laplacian(neighbor_graph(sphere(9000, 2), 10))
    f = np.random.default_rng(0).normal(size=(9000, 5))
    first = found.heat(f, 20.0)
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(found.heat(f, 20.0), first)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


def test_what_the_search_finds_does_not_depend_on_its_start() -> None:
    found = laplacian(neighbor_graph(sphere(3000, 2), 10))
    a, b = found.spectrum(10, seed=0), found.spectrum(10, seed=1)
    np.testing.assert_allclose(a.values, b.values, rtol=1e-9, atol=1e-14)
    assert (a.residuals <= 1e-6 * np.maximum(a.values, 1e-6)).all()
    overlap = np.abs(a.vectors.T @ b.vectors)
    np.testing.assert_allclose(overlap, np.eye(10), atol=1e-4)


def test_lanczos_where_the_spectrum_has_gaps() -> None:
    """A sphere of seven dimensions starts from Lanczos; dense algebra knows its values."""
    found = laplacian(neighbor_graph(sphere(1500, 7), 15))
    spectrum = found.spectrum(12)
    truth = np.linalg.eigvalsh(dense(found))[:12]
    np.testing.assert_allclose(spectrum.values, truth, rtol=1e-10, atol=1e-13)
    assert (spectrum.residuals <= 1e-6 * np.maximum(spectrum.values, 1e-6)).all()


def test_a_multiple_eigenvalue_is_not_missed() -> None:
    """Three equal pieces: each value three times, though Lanczos sees each only once."""
    piece = sphere(900, 7)
    far = [piece + 100.0 * shift * np.eye(8)[0] for shift in range(3)]
    one = laplacian(neighbor_graph(piece, 12)).spectrum(4).values
    three = laplacian(neighbor_graph(np.concatenate(far), 12)).spectrum(12)
    np.testing.assert_allclose(three.values, np.repeat(one, 3), rtol=1e-6, atol=1e-12)


def test_a_search_without_null_space() -> None:
    from scipy.sparse import diags_array

    matrix = diags_array(np.arange(1.0, 2001)).tocsr()
    found = smallest_eigenpairs(
        matrix, 4, top=2000.0, null=np.zeros((2000, 0)), tolerance=1e-8, seed=0
    )
    np.testing.assert_allclose(found.values, [1, 2, 3, 4], rtol=1e-12)
    assert found.converged


def test_a_kernel_cut_short_says_so() -> None:
    graph = neighbor_graph(sphere(500, 2), 8)
    assert any(
        "last neighbour" in c
        for c in laplacian(graph, kernel=GaussianWeights(5.0), alpha=1).caveats
    )
    blind = laplacian(graph, kernel=GaussianWeights(0.01), alpha=1).caveats
    assert any("two bandwidths" in caveat for caveat in blind)
    assert laplacian(graph).caveats == ()


def test_bad_input_is_one_clear_error() -> None:
    graph = neighbor_graph(sphere(50, 2), 5)
    found = laplacian(graph)
    bad = [
        (lambda: laplacian(graph, "other"), "other"),  # pyright: ignore[reportArgumentType]
        (lambda: laplacian(graph, "beltrami"), "pass dim"),
        (lambda: laplacian(graph, "beltrami", dim=0), "at least 1"),
        (lambda: laplacian(graph, alpha=1.0), "pass dim"),
        (lambda: laplacian(graph, alpha=math.nan), "finite"),
        (lambda: laplacian(graph, kernel=SelfTuningWeights(6)), "k = 5"),
        (lambda: SelfTuningWeights(0), "from 1"),
        (lambda: GaussianWeights(-1.0), "-1"),
        (lambda: found.spectrum(0), "1..n = 50"),
        (lambda: found.spectrum(51), "51"),
        (lambda: found.spectrum(3, tolerance=0), "tolerance"),
        (lambda: found.heat(np.ones(49), 1.0), r"\(49,\)"),
        (lambda: found.heat(np.full(50, np.nan), 1.0), "NaN"),
        (lambda: found.heat(np.ones(50), -1.0), "-1"),
        (lambda: found.heat_kernel(-2.0), "-2"),
        (lambda: laplacian(neighbor_graph(sphere(7000, 1), 2)).heat_kernel(1.0), "GiB"),
    ]
    for call, says in bad:
        with pytest.raises(InputError, match=says):
            call()
