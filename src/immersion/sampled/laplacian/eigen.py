"""The smallest eigenpairs of a sparse positive semidefinite matrix, by block Davidson.

Each round improves the block of the smallest pairs that have not converged, joins it to the basis
and solves the small problem again (Rayleigh-Ritz). The improvement is

* one banded solve, where the matrix reordered by Cuthill and McKee has a narrow band (curves,
  paths, thin graphs): it reaches eigenvalues of 1e-10 of the spectrum's width;
* a Chebyshev filter otherwise, whose degree follows the Ritz values: sqrt(top / cut) products.

Where the spectrum has gaps (images, graphs of high dimension), restarted Lanczos (ARPACK) needs a
few hundred products only, less than half of what the filter does; on curves and surfaces it needs
thousands. Sixty steps of plain Lanczos tell which: whether the smallest value stands still. Lanczos
can miss eigenvectors of a multiple eigenvalue, so its result starts the rounds, and none is
believed before a random block was filtered and joined once more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from immersion.sampled.laplacian.sweeps import Sweeps

    Improve = Callable[[NDArray[np.float64], float], NDArray[np.float64]]

_BLOCK = 8
_DENSE = 600
"""Up to this size the dense problem is solved, in 0.1 s."""
_BAND_FLOPS = 2e10
"""Work for the banded factor that the filter would exceed: 2 to 4 s on one core."""
_BAND_BYTES = 1 << 29
_REACH = 2.0
"""Degree of the filter over sqrt(top / cut): from 1.5 to 4 the time differs by 6%."""
_MOST_DEGREE = 600
_ROUNDS = 200
_RESTARTS = 80
"""Restarts of Lanczos, of ten products or more, after which the rounds do what is left."""
_STEPS = 60
_STILL = 1.3
"""What the smallest value after two thirds of the steps may exceed that after all."""
_ROUNDING = 256 * float(np.finfo(np.float64).eps)
"""Residual over top that sums and rotations of the basis leave whatever the method."""


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Eigenvalues in ascending order, orthonormal eigenvectors (n, count), and how exact they are.

    Attributes:
        residuals: |A v - value v| of each pair: no eigenvalue is further than that from `value`.
        converged: whether all residuals came below the tolerance.
    """

    values: NDArray[np.float64]
    vectors: NDArray[np.float64]
    residuals: NDArray[np.float64]
    converged: bool


def smallest_eigenpairs(
    matrix: csr_array,
    count: int,
    *,
    top: float,
    null: NDArray[np.float64],
    tolerance: float,
    seed: int,
) -> Eigenpairs:
    """The `count` smallest eigenpairs on the complement of the null space.

    Args:
        matrix: (n, n) symmetric positive semidefinite, float64.
        count: pairs wanted, count + null.shape[1] <= n.
        top: upper bound of the spectrum.
        null: (n, c) orthonormal columns with matrix @ null = 0.
        tolerance: residual relative to the eigenvalue at which a pair has converged.
        seed: of the first block.
    """
    n = len(null)
    if n <= _DENSE or count > n // 5:
        return _dense(matrix, count, null, top)
    # numba is loaded here, and not with the package.
    from immersion.sampled.laplacian.sweeps import Sweeps

    order, band = _narrow(matrix)
    ordered: Any = matrix
    ordered = ordered[order][:, order]
    ordered.sort_indices()
    sweeps = Sweeps(ordered, top)
    factor = None
    if n * float(band) ** 2 <= _BAND_FLOPS and n * band * 8 <= _BAND_BYTES:
        factor = _banded_factor(ordered, band, top)
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((n, _BLOCK))
    if factor is None and _has_gaps(sweeps, null[order], start[:, 0]):
        early = _lanczos(sweeps, count, null[order], tolerance, start[:, 0])
        start = np.concatenate([early, start], axis=1)
    found = _davidson(sweeps, factor, count, null[order], tolerance, start, rng)
    vectors = np.empty_like(found.vectors)
    vectors[order] = found.vectors
    return Eigenpairs(found.values, vectors, found.residuals, found.converged)


def _has_gaps(sweeps: Sweeps, null: NDArray[np.float64], start: NDArray[np.float64]) -> bool:
    """Whether a few steps of Lanczos settle the smallest eigenvalue."""
    ahead = start[:, None] - null @ (null.T @ start[:, None])
    ahead /= np.linalg.norm(ahead)
    behind, width = np.zeros_like(ahead), 0.0
    diagonal, beside = np.zeros(_STEPS), np.zeros(_STEPS)
    for step in range(_STEPS):
        image = sweeps.product(ahead)
        image -= width * behind
        diagonal[step] = (ahead * image).sum()
        image -= diagonal[step] * ahead
        image -= null @ (null.T @ image)
        beside[step] = width = float(np.linalg.norm(image))
        behind, ahead = ahead, image / max(width, np.finfo(np.float64).tiny)
    small = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    part = 2 * _STEPS // 3
    least = [np.linalg.eigvalsh(small[:size, :size])[0] for size in (part, _STEPS)]
    return bool(least[0] < _STILL * least[1])


def _lanczos(
    sweeps: Sweeps,
    count: int,
    null: NDArray[np.float64],
    tolerance: float,
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The eigenvectors (n, 0 to count) that restarted Lanczos finds in its time."""
    import scipy.sparse.linalg

    # scipy types its solvers in part only.
    solvers: Any = scipy.sparse.linalg
    n, top = len(null), sweeps.top

    def turned(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.ascontiguousarray(x.reshape(-1, 1))
        # The null space goes to the middle of the spectrum, the smallest to its upper end.
        return top * (x - null @ (null.T @ x)) - sweeps.product(x)

    operator = solvers.LinearOperator((n, n), matvec=turned, dtype=np.float64)
    try:
        return solvers.eigsh(
            operator, count, which="LA", v0=start, maxiter=_RESTARTS, tol=1e-3 * tolerance
        )[1]
    except solvers.ArpackNoConvergence as stopped:
        return stopped.eigenvectors
    except solvers.ArpackError:
        # A start that lies in few eigenvectors; the rounds do without.
        return np.empty((n, 0))


def _davidson(
    sweeps: Sweeps,
    improve: Improve | None,
    count: int,
    null: NDArray[np.float64],
    tolerance: float,
    block: NDArray[np.float64],
    rng: np.random.Generator,
) -> Eigenpairs:
    n, top = len(null), sweeps.top
    keep = count + _BLOCK
    most = keep + 5 * _BLOCK
    # Basis V and its image W = A V, in Fortran order so that leading columns are one piece.
    basis = np.empty((n, most), order="F")
    image = np.empty((n, most), order="F")
    small = np.zeros((most, most))
    size = 0
    checked = False
    ritz, rotation = np.zeros(0), np.zeros((0, 0))
    residuals = np.full(count, np.inf)
    values = np.full(count, np.nan)
    floor = _ROUNDING * top
    for _ in range(_ROUNDS):
        fresh = _new_directions(block, basis[:, :size], null, rng)
        stop = size + fresh.shape[1]
        basis[:, size:stop] = fresh
        image[:, size:stop] = sweeps.product(np.ascontiguousarray(fresh))
        cross = basis[:, :stop].T @ image[:, size:stop]
        small[:stop, size:stop], small[size:stop, :stop] = cross, cross.T
        size = stop
        ritz, rotation = np.linalg.eigh(small[:size, :size])
        if size + _BLOCK > most:
            basis[:, :keep] = basis[:, :size] @ rotation[:, :keep]
            image[:, :keep] = image[:, :size] @ rotation[:, :keep]
            size, ritz, rotation = keep, ritz[:keep], np.eye(keep)
            small[:keep, :keep] = np.diag(ritz)
        known = min(count, size)
        pairs = basis[:, :size] @ rotation[:, :known]
        errors = image[:, :size] @ rotation[:, :known] - pairs * ritz[:known]
        values[:known] = ritz[:known]
        residuals[:known] = _lengths(errors)
        open_ = residuals > np.maximum(tolerance * values, floor)
        if size > count and not open_[:known].any():
            if checked:
                break
            checked, block = True, rng.standard_normal((n, _BLOCK))
        else:
            checked = False
            first = np.flatnonzero(np.append(open_[:known], np.ones(size - known, bool)))[:_BLOCK]
            block = np.ascontiguousarray(basis[:, :size] @ rotation[:, first])
        if improve is not None:
            block = improve(block, top)
        else:
            cut = float(ritz[min(keep, size) - 1])
            if checked:
                cut = min(cut, 2 * float(values[-1]))
            cut = min(max(cut, 1e-6 * top), 0.7 * top)
            degree = min(_MOST_DEGREE, max(4, math.ceil(_REACH * math.sqrt(top / cut))))
            block = sweeps.damp(block, cut, degree)
    return Eigenpairs(values, basis[:, :size] @ rotation[:, :count], residuals, checked)


def _new_directions(
    block: NDArray[np.float64],
    basis: NDArray[np.float64],
    null: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Orthonormal columns orthogonal to basis and null; random ones where the block has too few."""
    x = block / np.maximum(_lengths(block), np.finfo(np.float64).tiny)
    for _ in range(3):
        for _ in range(2):
            x -= null @ (null.T @ x)
            x -= basis @ (basis.T @ x)
        left = _lengths(x)
        x, triangle = np.linalg.qr(x)
        weak = (np.abs(np.diag(triangle)) < 1e-10) | (left < 1e-10)
        if not weak.any():
            break
        x[:, weak] = rng.standard_normal((len(x), int(weak.sum()))) / math.sqrt(len(x))
    # Once more: what was small before was rounding after.
    x -= null @ (null.T @ x)
    x -= basis @ (basis.T @ x)
    return np.linalg.qr(x)[0]


def _lengths(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.einsum("nc,nc->c", x, x))


def _dense(matrix: csr_array, count: int, null: NDArray[np.float64], top: float) -> Eigenpairs:
    full: Any = matrix
    full = full.toarray()
    # The null space goes to the far end of the spectrum.
    values, vectors = np.linalg.eigh(full + 4 * top * (null @ null.T))
    values, vectors = values[:count], vectors[:, :count]
    residuals = _lengths(full @ vectors - vectors * values)
    return Eigenpairs(values, vectors, residuals, converged=True)


def _narrow(matrix: csr_array) -> tuple[NDArray[np.integer], int]:
    """The order of Cuthill and McKee, and the half bandwidth in it."""
    import scipy.sparse.csgraph

    stored: Any = matrix
    csgraph: Any = scipy.sparse.csgraph
    order: NDArray[np.integer] = csgraph.reverse_cuthill_mckee(stored, symmetric_mode=True)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    rows = np.repeat(place, np.diff(stored.indptr))
    return order, int(np.abs(rows - place[stored.indices]).max(initial=0))


def _banded_factor(matrix: csr_array, band: int, top: float) -> Improve:
    """x -> (A + shift)^-1 x by a banded Cholesky factor, the shift as small as rounding allows."""
    import scipy.linalg

    # scipy types its linear algebra in part only.
    banded: Any = scipy.linalg
    stored: Any = matrix.tocoo()
    lower = stored.row >= stored.col
    bands = np.zeros((band + 1, stored.shape[0]))
    bands[(stored.row - stored.col)[lower], stored.col[lower]] = stored.data[lower]
    shift = 1e-13 * top
    while True:
        shifted = bands.copy()
        shifted[0] += shift
        try:
            factor = banded.cholesky_banded(shifted, lower=True, overwrite_ab=True)
            break
        except np.linalg.LinAlgError:
            shift *= 10

    def improve(x: NDArray[np.float64], top: float) -> NDArray[np.float64]:
        return banded.cho_solve_banded((factor, True), x)

    return improve
