"""The inner loops of an optimiser in the Poincare ball, over the rows of large tables on a CPU.

`poincare.py` and `boundary.py` say what they compute, in torch, and use these only where no
derivative, transform or compilation wants to see the operations. Two passes over a tile of rows
that stays in the cache replace some seventy tensor operations.

Sums over a row may be reassociated, so that they run in vector lanes; what depends on the order of
rounding stands in functions of its own, without that freedom. Each of these loops is plain
arithmetic without branches, and so runs in lanes too.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

#: Rows of a tile.
TILE = 256

Rows = NDArray[np.floating]
Numbers = NDArray[np.float64]


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"}, error_model="numpy")
def _squares(x: Rows, start: int, stop: int, grid: float, square: Numbers, rest: Numbers) -> None:
    """|x|^2 of each row as an exact sum of squares and a small rest, as in `boundary.py`.

    For float32 the sum of squares in float64 is enough.
    """
    inverse = 1 / grid
    if x.itemsize == 4:
        for i in range(start, stop):
            total = 0.0
            for j in range(x.shape[1]):
                total += np.float64(x[i, j]) * np.float64(x[i, j])
            square[i - start], rest[i - start] = total, 0.0
        return
    for i in range(start, stop):
        exact = small = 0.0
        for j in range(x.shape[1]):
            a = np.float64(x[i, j])
            high = np.rint(a * inverse) * grid
            exact += high * high
            small += (a - high) * (a + high)
        square[i - start], rest[i - start] = exact, small


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _gaps(square: Numbers, rest: Numbers, c: float, least: float, gap: Numbers) -> None:
    """1 - c (square + rest), at least `least`; c * square with Dekker's error term."""
    shifted = 134217729.0 * c
    c1 = shifted - (shifted - c)
    c2 = c - c1
    for i in range(len(gap)):
        s = square[i]
        shifted = 134217729.0 * s
        s1 = shifted - (shifted - s)
        s2 = s - s1
        error = ((c1 * s1 - c * s) + c1 * s2 + c2 * s1) + c2 * s2
        inside = (1 - c * s) - (error + c * rest[i])
        gap[i] = least if inside < least else inside


@numba.njit(cache=True, nogil=True)
def gap_rows(x: Rows, c: float, grid: float, least: float, gap: Numbers) -> None:
    """1 - c|x|^2 of each row, at least `least`."""
    square, rest = np.empty(TILE), np.empty(TILE)
    for start in range(0, len(x), TILE):
        stop = min(start + TILE, len(x))
        _squares(x, start, stop, grid, square, rest)
        _gaps(square, rest, c, least, gap[start:stop])


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"}, error_model="numpy")
def _inner_tile(u: Rows, v: Rows, gap: Numbers, start: int, out: Rows) -> None:
    for i in range(start, start + len(gap)):
        total = 0.0
        for j in range(u.shape[1]):
            total += np.float64(u[i, j]) * np.float64(v[i, j])
        scale = 2 / gap[i - start]
        out[i] = total * scale * scale


@numba.njit(cache=True, nogil=True)
def inner_rows(x: Rows, u: Rows, v: Rows, c: float, grid: float, least: float, out: Rows) -> None:
    """4 <u, v> / gap^2 of each row."""
    square, rest, gap = np.empty(TILE), np.empty(TILE), np.empty(TILE)
    for start in range(0, len(x), TILE):
        stop = min(start + TILE, len(x))
        tile = gap[: stop - start]
        _squares(x, start, stop, grid, square, rest)
        _gaps(square, rest, c, least, tile)
        _inner_tile(u, v, tile, start, out)


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"}, error_model="numpy")
def _products(x: Rows, u: Rows, v: Rows, start: int, stop: int, dots: Numbers) -> None:
    """<u, u>, <x, u>, <x, v> and <u, v> of each row."""
    for i in range(start, stop):
        uu = xu = xv = uv = 0.0
        for j in range(x.shape[1]):
            a, b, d = np.float64(x[i, j]), np.float64(u[i, j]), np.float64(v[i, j])
            uu += b * b
            xu += a * b
            xv += a * d
            uv += b * d
        k = i - start
        dots[0, k], dots[1, k], dots[2, k], dots[3, k] = uu, xu, xv, uv


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _tanh_quotients(gap: Numbers, dots: Numbers, c: float, ratio: Numbers, sech: Numbers) -> None:
    """tanh(t) / t and sech(t)^2 of t = sqrt(c)|u| / gap, half the length of the step."""
    for i in range(len(gap)):
        sech[i] = math.sqrt(c * dots[0, i]) / gap[i]
    for i in range(len(gap)):
        t = sech[i]
        if t < 1e-2:
            s = t * t
            ratio[i] = 1 + s * (-1 / 3 + s * (2 / 15 - s * (17 / 315)))
            sech[i] = 1 - s * ratio[i] * ratio[i]
        else:
            decay = math.exp(-2 * t)
            ratio[i] = -math.expm1(-2 * t) / ((1 + decay) * t)
            sech[i] = 4 * decay / ((1 + decay) * (1 + decay))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _coefficients(
    gap: Numbers,
    dots: Numbers,
    c: float,
    edge: float,
    ratio: Numbers,
    sech: Numbers,
    factors: Numbers,
) -> None:
    """The step is y = x + d, d = factors[0] u + factors[1] x; the vector factors[2:] of v, x, u.

    A gyration is linear in x, d and v. Rounding can take the sum of squares in `bottom` below what
    the triangle inequality allows, (1 - sqrt(c)|x|)^2, after a long step inwards. No point comes to
    the boundary closer than a gap of `edge`, and the vector has its length there.
    """
    for i in range(len(gap)):
        g, r = gap[i], ratio[i]
        uu, xu, xv, uv = dots[0, i], dots[1, i], dots[2, i], dots[3, i]
        inverse = 1 / g
        k = r * inverse
        ww = c * k * k * uu
        bottom = g * sech[i] + ((1 - g) + 2 * c * k * xu + ww)
        least = 0.25 * g * g
        bottom = least if bottom < least else bottom
        unbound = sech[i] / bottom
        scale = edge * inverse if unbound < edge * inverse else unbound
        a, b = r / bottom, g * ww / bottom
        dv = a * uv + b * xv
        square = g * b
        turn = 2 * c * bottom * inverse * inverse
        along_d = turn * (xv * (g * unbound + square) + (1 - g) * dv)
        factors[0, i], factors[1, i], factors[2, i] = a, b, scale
        factors[3, i] = scale * (turn * (dv * g - xv * square) - along_d * b)
        factors[4, i] = -scale * along_d * a


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"}, error_model="numpy")
def _combine(
    x: Rows,
    u: Rows,
    v: Rows,
    factors: Numbers,
    start: int,
    stop: int,
    limit: float,
    y: Rows,
    w: Rows,
) -> None:
    """The two combinations; the point at length `limit` at most."""
    for i in range(start, stop):
        k = i - start
        a, b = factors[0, k], factors[1, k]
        square = 0.0
        for j in range(x.shape[1]):
            point = np.float64(x[i, j]) + (b * np.float64(x[i, j]) + a * np.float64(u[i, j]))
            y[i, j] = point
            square += point * point
        if square > limit * limit:
            shorter = limit / math.sqrt(square)
            for j in range(x.shape[1]):
                y[i, j] = shorter * np.float64(y[i, j])
        of_v, of_x, of_u = factors[2, k], factors[3, k], factors[4, k]
        for j in range(x.shape[1]):
            w[i, j] = of_v * np.float64(v[i, j]) + (
                of_x * np.float64(x[i, j]) + of_u * np.float64(u[i, j])
            )


@numba.njit(cache=True, nogil=True)
def carry_rows(
    x: Rows,
    u: Rows,
    v: Rows,
    c: float,
    grid: float,
    least: float,
    limit: float,
    y: Rows,
    w: Rows,
) -> None:
    """The step y and the transported vector w of each row."""
    square, rest, gap = np.empty(TILE), np.empty(TILE), np.empty(TILE)
    ratio, sech = np.empty(TILE), np.empty(TILE)
    dots, factors = np.empty((4, TILE)), np.empty((5, TILE))
    for start in range(0, len(x), TILE):
        stop = min(start + TILE, len(x))
        tile = gap[: stop - start]
        _squares(x, start, stop, grid, square, rest)
        _gaps(square, rest, c, least, tile)
        _products(x, u, v, start, stop, dots)
        _tanh_quotients(tile, dots, c, ratio, sech)
        _coefficients(tile, dots, c, 1 - c * limit * limit, ratio, sech, factors)
        _combine(x, u, v, factors, start, stop, limit, y, w)
