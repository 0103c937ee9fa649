"""Orthonormal matrices against 50 digits, by other formulas than those of the package."""

from __future__ import annotations

import math
from collections.abc import Iterator

import mpmath as mp
import pytest
import torch
from torch import Tensor

from immersion.core.metric import GeodesicManifold
from immersion.known.orthonormal.canonical_stiefel import CanonicalStiefel
from immersion.known.orthonormal.grassmann import Grassmann
from immersion.known.orthonormal.rotations import Rotations
from immersion.known.orthonormal.stiefel import Stiefel

EPS = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}
precisions = pytest.mark.parametrize("dtype", list(EPS), ids=["f32", "f64"])


@pytest.fixture(autouse=True)
def fifty_digits() -> Iterator[None]:
    with mp.workdps(50):
        yield


def exact(a: Tensor) -> mp.matrix:
    return mp.matrix([[mp.mpf(entry) for entry in row] for row in a.tolist()])


def stored(a: mp.matrix, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor([[float(e) for e in row] for row in a.tolist()], dtype=dtype)


def exp(a: mp.matrix) -> mp.matrix:
    return mp.expm(a, method="taylor")


def nearest(a: mp.matrix) -> mp.matrix:
    """Polar factor: the orthonormal matrix that a stored one is the rounding of."""
    values, vectors = mp.eigsy(a.T * a)
    return a * vectors * mp.diag([1 / mp.sqrt(value) for value in values]) * vectors.T


def skew(a: mp.matrix) -> mp.matrix:
    return (a - a.T) / 2


def tangent(x: mp.matrix, u: mp.matrix) -> mp.matrix:
    s = x.T * u
    return u - x * (s + s.T) / 2


def canonical_exp(x: mp.matrix, u: mp.matrix) -> mp.matrix:
    """Turned by the n x n rotation whose generator is the horizontal lift of u."""
    half = u - x * (x.T * u) / 2
    return exp(half * x.T - x * half.T) * x


def euclidean_exp(x: mp.matrix, u: mp.matrix) -> mp.matrix:
    """Edelman, Arias and Smith (1998), equation 2.42: [x u] exp([[A, -u^T u], [I, A]]) exp(-A)."""
    p = x.cols
    A, S = x.T * u, u.T * u
    block = mp.zeros(2 * p)
    for i in range(p):
        block[p + i, i] = 1
        for j in range(p):
            block[i, j] = block[p + i, p + j] = A[i, j]
            block[i, p + j] = -S[i, j]
    E = exp(block)
    return (x * E[:p, :p] + u * E[p:, :p]) * exp(-A)


STIEFEL = {CanonicalStiefel: canonical_exp, Stiefel: euclidean_exp}


def orthonormal(n: int, p: int, seed: int) -> mp.matrix:
    a = torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return nearest(exact(a))


def error(value: Tensor, truth: mp.matrix) -> float:
    return float(mp.mnorm(exact(value.double()) - truth, "f"))


@precisions
@pytest.mark.parametrize("kind", list(STIEFEL))
@pytest.mark.parametrize(("n", "p"), [(7, 3), (4, 3), (5, 1), (3, 3)])
def test_stiefel_exp_and_log(
    kind: type[Stiefel | CanonicalStiefel], n: int, p: int, dtype: torch.dtype
) -> None:
    M, eps = kind(n, p), EPS[dtype]
    x = stored(orthonormal(n, p, 1), dtype)
    u = stored(tangent(exact(x), orthonormal(n, p, 2)), dtype)
    for fraction in (1e-8, 1e-3, 0.3, 0.9):
        length = fraction * float(M.injectivity_radius(x))
        v = u * (length / M.norm(x, u))
        start = nearest(exact(x))
        truth = tangent(start, exact(v))
        end = STIEFEL[kind](start, truth)
        assert error(M.exp(x, v), end) < 20 * eps
        y = stored(end, dtype)
        # Errors of eps in the stored points grow as the conjugate points come near.
        assert error(M.log(x, y), truth) < 50 * eps / (1 - fraction)
        assert abs(float(M.dist(x, y)) - length) < 50 * eps / (1 - fraction)


@pytest.mark.parametrize("kind", list(STIEFEL))
def test_stiefel_log_reaches_what_is_stored_at_tiny_distances(
    kind: type[Stiefel | CanonicalStiefel],
) -> None:
    """To first order log is the tangent part of y - x: relative to the stored points."""
    M = kind(6, 2)
    x = stored(orthonormal(6, 2, 3))
    for distance in (1e-5, 1e-8, 1e-11):
        y = stored(exact(x) + distance * tangent(exact(x), orthonormal(6, 2, 4)))
        p, q = nearest(exact(x)), nearest(exact(y))
        truth = tangent(p, q - p)
        assert error(M.log(x, y), truth) < 30 * distance * (2.0**-52 + distance)


def rotation(frame: mp.matrix, angles: list[mp.mpf]) -> tuple[mp.matrix, mp.matrix]:
    """The rotation with these angles in planes of the frame, and its logarithm."""
    n = frame.rows
    turn, log = mp.eye(n), mp.zeros(n)
    for k, angle in enumerate(angles):
        i, j = 2 * k, 2 * k + 1
        turn[i, i] = turn[j, j] = mp.cos(angle)
        turn[j, i], turn[i, j] = mp.sin(angle), -mp.sin(angle)
        log[j, i], log[i, j] = angle, -angle
    return frame * turn * frame.T, frame * log * frame.T


@precisions
@pytest.mark.parametrize(
    "angles",
    [
        ["0.3"],
        ["3.1", "0.2"],
        ["1.5707963", "1.5707963"],
        ["2", "2", "2"],
        ["1", "1e-9"],
        ["2.2", "1.2", "3.0", "0.1", "0.9"],
    ],
)
def test_rotation_log_and_exp(angles: list[str], dtype: torch.dtype) -> None:
    eps, values = EPS[dtype], [mp.mpf(angle) for angle in angles]
    n = 2 * len(angles) + 1
    M = Rotations(n)
    x = orthonormal(n, n, 5)
    R, L = rotation(orthonormal(n, n, 6), values)
    start, end = stored(x, dtype), stored(x * R, dtype)
    assert error(M.log(start, end), x * L) < 30 * eps * (1 + sum(map(float, angles)))
    assert error(M.exp(start, stored(x * L, dtype)), x * R) < 30 * eps * (
        1 + sum(map(float, angles))
    )
    length = float(mp.sqrt(2 * mp.fsum(value**2 for value in values)))
    assert abs(float(M.dist(start, end)) - length) < 30 * eps * (1 + length)


@pytest.mark.parametrize("short", ["1e-2", "1e-6", "1e-10", "1e-13"])
@pytest.mark.parametrize("others", [[], ["0"], ["0.4", "3.0"], ["1e-7", "1e-7"]])
def test_rotation_log_near_pi(short: str, others: list[str]) -> None:
    """One plane near pi is as well conditioned as any."""
    values = [mp.pi - mp.mpf(short), *map(mp.mpf, others)]
    n = max(2 * len(values), 3)
    R, L = rotation(orthonormal(n, n, 7), values)
    M, eye = Rotations(n), torch.eye(n, dtype=torch.float64)
    assert error(M.log(eye, stored(R)), L) < 1e-14


@pytest.mark.parametrize("short", [1e-2, 1e-4, 1e-6])
def test_rotation_log_with_two_planes_near_pi(short: float) -> None:
    """Its condition number is the reciprocal of the way to the cut locus."""
    R, L = rotation(orthonormal(4, 4, 8), [mp.pi - mp.mpf(short), mp.pi - 2 * mp.mpf(short)])
    found = Rotations(4).log(torch.eye(4, dtype=torch.float64), stored(R))
    assert error(found, L) < 20 * 2.0**-52 / short
    assert error(torch.matrix_exp(torch.stack([found, found]))[0], R) < 1e-14


def test_tiny_rotations_are_relative_to_what_is_stored() -> None:
    x = stored(orthonormal(5, 5, 9))
    L = skew(orthonormal(5, 5, 10))
    for size in ("1e-5", "1e-8", "1e-11"):
        y = stored(exact(x) * exp(mp.mpf(size) * L))
        R = nearest(exact(x)).T * nearest(exact(y))
        half = skew(R)  # log R = asinh of it, up to the third order
        truth = half - half * half * half / 6
        distance = float(mp.mnorm(truth, "f"))
        found = x.T @ Rotations(5).log(x, y)
        assert error(found, truth) < 20 * 2.0**-52 * distance + distance**4
        assert abs(float(Rotations(5).dist(x, y)) - distance) < 20 * 2.0**-52 * distance


def subspaces(angles: list[str], dtype: torch.dtype) -> tuple[Tensor, Tensor, mp.mpf]:
    """Two stored subspaces, and the length of the principal angles that the stored ones have."""
    p = len(angles)
    frame, turn = orthonormal(2 * p + 1, 2 * p, 11), orthonormal(p, p, 12)
    values = [mp.mpf(angle) if angle != "right" else mp.pi / 2 for angle in angles]
    cosines, sines = mp.diag(list(map(mp.cos, values))), mp.diag(list(map(mp.sin, values)))
    x = stored(frame[:, :p], dtype)
    y = stored((frame[:, :p] * cosines + frame[:, p:] * sines) * turn, dtype)
    a, b = nearest(exact(x)), nearest(exact(y))
    c = sorted(mp.svd_r(a.T * b, compute_uv=False))
    s = sorted(mp.svd_r(b - a * (a.T * b), compute_uv=False), reverse=True)
    return x, y, mp.sqrt(mp.fsum(mp.atan2(i, j) ** 2 for i, j in zip(s, c, strict=True)))


@precisions
@pytest.mark.parametrize(
    "angles",
    [
        ["0.3", "1.2"],
        ["1e-8", "0.7"],
        ["1e-3", "1e-3", "1e-3"],
        ["1.5707", "1e-6", "0.5"],
        ["1.57079632", "1.57079632"],
        ["right", "0.2"],
        ["right", "right", "right"],
    ],
)
def test_grassmann_dist_and_log(angles: list[str], dtype: torch.dtype) -> None:
    x, y, truth = subspaces(angles, dtype)
    M = Grassmann(*x.shape)
    assert abs(M.dist(x, y).item() - float(truth)) < 15 * EPS[dtype]
    u = M.log(x, y)
    assert abs(M.norm(x, u).item() - float(truth)) < 40 * EPS[dtype]
    assert M.dist(M.exp(x, u), y) < 15 * EPS[dtype] * (1 + float(truth))
    assert M.to_tangent(x, u).sub(u).abs().max() < 15 * EPS[dtype]


def test_grassmann_dist_keeps_its_digits_in_near_bases() -> None:
    x = stored(orthonormal(7, 3, 13))
    for size in ("1e-4", "1e-8", "1e-12"):
        y = stored(exact(x) + mp.mpf(size) * orthonormal(7, 3, 14))
        y = stored(nearest(exact(y)))
        a, b = nearest(exact(x)), nearest(exact(y))
        sines = mp.svd_r(b - a * (a.T * b), compute_uv=False)
        truth = float(mp.sqrt(mp.fsum(mp.asin(s) ** 2 for s in sines)))
        assert math.isclose(float(Grassmann(7, 3).dist(x, y)), truth, rel_tol=1e-14)


@pytest.mark.parametrize(
    "M", [Grassmann(5, 2), Rotations(4), Stiefel(5, 2), CanonicalStiefel(5, 2)]
)
def test_gradient_of_dist_is_a_unit_vector_away(M: GeodesicManifold) -> None:
    """First variation: d dist = -<log_x y, dx> / dist, in the metric of the manifold."""
    generator = torch.Generator().manual_seed(15)
    x = M.random(4, generator=generator, dtype=torch.float64)
    u = M.random_tangent(x, generator)
    y = M.exp(x, u / M.norm(x, u)[:, None, None])
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(M.dist(x, y).sum(), x)
    x = x.detach()
    away = M.egrad2rgrad(x, gradient)
    torch.testing.assert_close(away, -M.log(x, y) / M.dist(x, y)[:, None, None])
