"""The Laplacian of a neighbour graph as an operator on functions of its points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from immersion.core.chunking import DEFAULT_BUDGET
from immersion.core.errors import InputError
from immersion.sampled.laplacian.eigen import smallest_eigenpairs
from immersion.sampled.laplacian.weights import Kernel, SelfTuningWeights, edge_weights

if TYPE_CHECKING:
    from jaxtyping import Float
    from scipy.sparse import csr_array

    from immersion.core.measurement import Setting
    from immersion.sampled.graph import NeighborGraph

Kind = Literal["combinatorial", "normalised", "random_walk", "beltrami"]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The smallest eigenvalues of a Laplacian and their eigenfunctions.

    Attributes:
        values: (count,) ascending, from exact zeros, one for each connected piece.
        vectors: (n, count) eigenfunctions f with sum_i m_i f_i g_i = 0 or 1, m the Laplacian's mass
            (orthonormal for "combinatorial" and "normalised"); the entry of largest size positive.
        residuals: (count,) |A v - value v|, A the symmetric form: no exact eigenvalue of the graph
            is further from the value.
        corrected: (count,) for "beltrami", the estimated eigenvalues of the manifold: the values
            freed from the bias of finitely many neighbours, about 2 / k; else NaN.
        stderr: (count,) standard error of `corrected`: sampling, the doubt of the correction
            and the width of the kernel. Members of a multiple eigenvalue repel each other; it
            holds for their mean.
        caveats: when not to trust them, one sentence each.
    """

    values: NDArray[np.float64]
    vectors: NDArray[np.float64]
    residuals: NDArray[np.float64]
    corrected: NDArray[np.float64]
    stderr: NDArray[np.float64]
    caveats: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Laplacian:
    """A positive semidefinite Laplacian M^-1 (D - W) of a weighted graph.

    Attributes:
        weights: (n, n) symmetric edge weights W, sparse; D holds their row sums.
        mass: (n,) the diagonal of M: ones ("combinatorial"), the degrees ("normalised",
            "random_walk"), or degree times half the kernel's second moment an axis ("beltrami").
        moments: (e,) for "beltrami" what each stored edge adds to the mass, else empty.
        kind: which Laplacian.
        piece: (n,) number of the connected piece of each point, counted from 0.
        settings: every parameter that changes it.
        caveats: when not to trust it, one sentence each.
    """

    weights: csr_array
    mass: NDArray[np.float64]
    moments: NDArray[np.float64]
    kind: Kind
    piece: NDArray[np.int32]
    settings: Mapping[str, Setting]
    caveats: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.mass)

    @property
    def pieces(self) -> int:
        """Number of connected pieces, which is the multiplicity of the eigenvalue zero."""
        return int(self.piece.max()) + 1

    def matrix(self) -> csr_array:
        """The Laplacian (n, n) as a sparse matrix: D - W, I - D^-1/2 W D^-1/2 or M^-1 (D - W)."""
        if self.kind == "normalised":
            return self._symmetric()[0]
        return _scaled(self.weights, 1 / self.mass, np.ones(self.n))

    def spectrum(self, count: int, *, tolerance: float = 1e-6, seed: int = 0) -> Spectrum:
        """The `count` smallest eigenvalues with their eigenfunctions.

        The zeros, one for each connected piece, are known without search. The others come by a
        block Davidson method with Chebyshev filter, by Lanczos first where the spectrum has
        gaps, or banded solves where the graph is a curve.

        Args:
            count: how many, zeros included, at most n.
            tolerance: residual at which a pair is accepted, relative to its eigenvalue.
            seed: of the first vectors; another seed changes only what lies within the residuals.

        Raises:
            InputError: count outside 1..n, tolerance not in (0, 1).

        Cost: about sqrt(2 / last eigenvalue) sweeps over the edges times count / 8, where the
        eigenvalue is that of the normalised kind, or a few hundred single products where the
        spectrum has gaps. 70,000 points, k = 15, 10 pairs, on one core: 7 s on a sphere, where
        ARPACK takes 37 s; 2 s for images of digits, where it takes 1.3 s without a check for
        missed eigenvectors. Memory 16 n (count + 48) bytes.

        Example:
            >>> from immersion.sampled.graph import neighbor_graph
            >>> angle = 2 * np.pi * np.arange(100) / 100
            >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
            >>> from immersion.sampled.laplacian.weights import UnitWeights
            >>> cycle = laplacian(neighbor_graph(circle, 2), "combinatorial", kernel=UnitWeights())
            >>> (cycle.spectrum(5).values / (2 * np.pi / 100) ** 2).round(2) + 0.0
            array([0.  , 1.  , 1.  , 3.99, 3.99])
        """
        if not 1 <= count <= self.n:
            raise InputError(f"count must lie in 1..n = {self.n}, not be {count}")
        if not 0 < tolerance < 1:
            raise InputError(f"tolerance must lie in (0, 1), not be {tolerance}")
        root = np.sqrt(self.mass)
        zeros = min(count, self.pieces)
        null = np.zeros((self.n, zeros))
        seen = self.piece < zeros
        null[seen, self.piece[seen]] = root[seen]
        null /= np.linalg.norm(null, axis=0)
        values, residuals, vectors = np.zeros(count), np.zeros(count), null
        caveats = list(self.caveats)
        if count > zeros:
            symmetric, top = self._symmetric()
            found = smallest_eigenpairs(
                symmetric, count - zeros, top=top, null=null, tolerance=tolerance, seed=seed
            )
            values[zeros:] = np.maximum(found.values, 0)
            residuals[zeros:] = found.residuals
            vectors = np.concatenate([null, found.vectors], axis=1)
            if not found.converged:
                caveats.append("the search stopped early: the residuals say how exact each pair is")
        functions = vectors / root[:, None]
        corrected = stderr = np.full(count, math.nan)
        if self.kind == "beltrami":
            corrected, stderr = self._of_manifold(functions, values)
        if self.kind == "normalised":
            functions = vectors
        largest = np.argmax(np.abs(functions), axis=0)
        functions = functions * np.where(functions[largest, np.arange(count)] < 0, -1, 1)
        return Spectrum(values, functions, residuals, corrected, stderr, tuple(caveats))

    def heat(
        self, values: ArrayLike, time: float, *, tolerance: float = 1e-6
    ) -> Float[NDArray[np.float64], "n *c"]:
        """Heat flow exp(-time L) f, without ever forming the heat kernel.

        Args:
            values: (n,) or (n, c) functions on the points.
            time: how long heat flows, >= 0; in squared units of the points for "beltrami".
            tolerance: bound of the error relative to the size of each function, in the norm
                sqrt(sum_i m_i f_i^2).

        Raises:
            InputError: another length, NaN, negative time.

        Cost: about sqrt(time top log(1 / tolerance)) sweeps over the edges, top the largest
        eigenvalue (2 for "normalised"). Long times are cheaper by the eigenfunctions.

        Source: Chebyshev expansion of the exponential with Bessel coefficients.

        Example:
            >>> from immersion.sampled.graph import neighbor_graph
            >>> line = laplacian(neighbor_graph(np.arange(5.0)[:, None], 1), "random_walk")
            >>> line.heat([0, 0, 1, 0, 0], time=1e4).round(3)
            array([0.25, 0.25, 0.25, 0.25, 0.25])
        """
        f = np.asarray(values, dtype=np.float64)
        if f.ndim not in (1, 2) or len(f) != self.n:
            raise InputError(f"values have shape {f.shape}; ({self.n},) or ({self.n}, c) is needed")
        if not np.isfinite(f).all():
            raise InputError("values hold NaN or infinity; heat would carry it to every point")
        if not (time >= 0 and math.isfinite(time)):
            raise InputError(f"time must be a number >= 0, not {time}")
        if not 0 < tolerance < 1:
            raise InputError(f"tolerance must lie in (0, 1), not be {tolerance}")
        root = np.ones(self.n) if self.kind == "normalised" else np.sqrt(self.mass)
        columns = np.ascontiguousarray(f.reshape(self.n, -1) * root[:, None])
        # numba is loaded here, and not with the package.
        from immersion.sampled.laplacian.sweeps import Sweeps

        symmetric, top = self._symmetric()
        flowed = Sweeps(symmetric, top).exponential(columns, time, tolerance)
        return (flowed / root[:, None]).reshape(f.shape)

    def heat_kernel(self, time: float) -> Float[NDArray[np.float64], "n n"]:
        """The heat kernel exp(-time L) itself, by all eigenvectors.

        Column j is the heat at each point that one unit at point j leaves behind. Entries are
        positive within a connected piece; rows add up to 1 but for "normalised".

        Args:
            time: how long heat flows, >= 0; in squared units of the points for "beltrami".

        Raises:
            InputError: negative time, or so many points that matrices would pass 1 GiB: `heat`
                applies the kernel without forming it.

        Cost: O(n^3), 2,000 points in 4 s of one core; memory 32 n^2 bytes.

        Example:
            >>> from immersion.sampled.graph import neighbor_graph
            >>> line = laplacian(neighbor_graph(np.arange(3.0)[:, None], 1), "random_walk")
            >>> line.heat_kernel(1e4).round(3)[0]
            array([0.25, 0.5 , 0.25])
        """
        if not (time >= 0 and math.isfinite(time)):
            raise InputError(f"time must be a number >= 0, not {time}")
        held = 32 * self.n**2
        if held > DEFAULT_BUDGET:
            raise InputError(
                f"the heat kernel of {self.n} points takes {held / 2**30:.1f} GiB to compute; "
                "heat(values, time) applies it without forming it"
            )
        symmetric: Any = self._symmetric()[0]
        values, vectors = np.linalg.eigh(symmetric.toarray())
        # Half the time on either side keeps the kernel symmetric to the last bit.
        half = vectors * np.exp(-time / 2 * np.maximum(values, 0))
        kernel: NDArray[np.float64] = half @ half.T
        if self.kind != "normalised":
            root = np.sqrt(self.mass)
            kernel *= root / root[:, None]
        return kernel

    def _symmetric(self) -> tuple[csr_array, float]:
        """M^-1/2 (D - W) M^-1/2 and Gershgorin's bound of its spectrum."""
        inverse = 1 / np.sqrt(self.mass)
        stored: Any = self.weights
        degree = np.asarray(stored.sum(axis=1)).ravel()
        top = float((2 * degree / self.mass).max()) or 1.0
        return _scaled(self.weights, inverse, inverse), top

    def _of_manifold(
        self, f: NDArray[np.float64], values: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Eigenvalues freed from the bias of finitely many neighbours, and their standard errors.

        Bias: the eigenfunction bends to the noise of the averages over its neighbours, which
        lowers its Rayleigh quotient. In second order, the noise of (L f)_i having the variance
        sum_j p_ij^2 (f_i - f_j)^2 and most of it the eigenvalue 1 of I - P, the relative loss is
        2 sum_i D_i sum_j p_ij^2 (f_i - f_j)^2 / sum_i D_i sum_j p_ij (f_i - f_j)^2, p = w / D.

        Sampling, by the delta method: an eigenfunction is stationary, so the influence of a point
        is that on the edge sums, T_i = sum_j w_ij (f_i - f_j)^2 - value moment_ij (f_i^2 + f_j^2),
        less what its density takes from its neighbours' weights, alpha sum_j w_ij T_j / D_j.
        """
        w: Any = self.weights
        moments: Any = w.copy()
        moments.data = self.moments
        degree = np.asarray(w.sum(axis=1)).reshape(-1, 1)
        degree[degree == 0] = 1
        square = f**2
        energy = degree * square - 2 * f * (w @ f) + w @ square
        rows = np.repeat(np.arange(self.n), np.diff(w.indptr))
        noisy: Any = w.copy()
        noisy.data = w.data**2 / degree[rows, 0]
        own = np.asarray(noisy.sum(axis=1)).reshape(-1, 1)
        noise = own * square - 2 * f * (noisy @ f) + noisy @ square
        total = energy.sum(axis=0)
        loss = 2 * noise.sum(axis=0) / np.where(total > 0, total, 1)
        own = np.asarray(moments.sum(axis=1)).reshape(-1, 1)
        influence = energy - values * (own * square + moments @ square)
        alpha = float(self.settings["alpha"] or 0)
        influence -= alpha * (w @ (influence / degree))
        # Among equal points there is no length to measure an eigenvalue in.
        norm = (own * square).sum(axis=0)
        sampling = np.sqrt((influence**2).sum(axis=0)) / np.where(norm > 0, norm, np.nan)
        # A kernel of second moment s an axis sees (1 - exp(-s value)) / s at best.
        width = float(self.mass.sum() / degree.sum())
        # In one dimension the noise also bends towards the long waves: up to twice the loss.
        dim = float(self.settings["dim"] or 1)
        unsure = loss * (1.0 if dim == 1 else 0.5)
        # A density left in the operator is one that was estimated: its noise is a rough potential,
        # and slows the flow by its variance over the dimension.
        unsure += 8 * (1 - alpha) ** 2 / dim * loss
        stderr = np.hypot(sampling, np.hypot(values * unsure, values**2 * width / 2))
        return np.where(norm > 0, values * (1 + loss), np.nan), stderr


def laplacian(
    graph: NeighborGraph,
    kind: Kind = "normalised",
    *,
    kernel: Kernel | None = None,
    alpha: float | None = None,
    dim: int | None = None,
) -> Laplacian:
    """The Laplacian of a neighbour graph, positive semidefinite, sparse.

    With symmetric weights W on the union of both directions of the edges and degrees D:

    * "combinatorial": D - W;
    * "normalised": I - D^-1/2 W D^-1/2, symmetric, spectrum in [0, 2];
    * "random_walk": I - D^-1 W, the same spectrum, functions of the points as eigenvectors;
    * "beltrami": M^-1 (D - W) with m_i = sum_j W_ij dist_ij^2 / (2 d), which estimates the
      Laplace-Beltrami operator in units of 1 / length^2. Its mass takes the kernel's width from
      the edges themselves, so it needs no bandwidth to be small and no kernel to be whole.

    Args:
        graph: k neighbours of n points.
        kind: which Laplacian.
        kernel: `SelfTuningWeights()` by default; `GaussianWeights(b)` or `UnitWeights()`.
        alpha: how much of the sampling density to take out of the weights, from 0 to 1
            (diffusion maps): the generator tends to Laplace + 2 (1 - alpha) grad(log q) . grad.
            None leaves the weights alone; "beltrami" takes 1 unless told.
        dim: dimension of the manifold; needed by "beltrami", and by alpha with `SelfTuningWeights`.

    Raises:
        InputError: unknown kind, alpha not finite, dim missing or < 1.

    Cost: O(n k) time and memory, 70,000 points with k = 15 in 0.2 s.

    Source: Coifman and Lafon, Diffusion maps (2006); Berry and Harlim, Variable bandwidth diffusion
    kernels (2016).

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> x = np.random.default_rng(0).normal(size=(2000, 3))
        >>> sphere = x / np.linalg.norm(x, axis=1, keepdims=True)
        >>> found = laplacian(neighbor_graph(sphere, 30), "beltrami", dim=2).spectrum(4)
        >>> bool(abs(found.corrected[1:].mean() - 2) < 2 * found.stderr[1])  # l (l + 1), l = 1
        True
    """
    if kind not in get_args(Kind):
        raise InputError(f"kind must be one of {', '.join(get_args(Kind))}, not {kind!r}")
    if dim is not None and dim < 1:
        raise InputError(f"dim must be at least 1, not {dim}")
    if kind == "beltrami":
        if dim is None:
            raise InputError('kind "beltrami" needs the dimension of the manifold: pass dim')
        alpha = 1.0 if alpha is None else alpha
    if alpha is not None and not math.isfinite(alpha):
        raise InputError(f"alpha must be a finite number, from 0 to 1 as a rule, not {alpha}")
    chosen = SelfTuningWeights() if kernel is None else kernel
    edges = edge_weights(graph, chosen, alpha, dim)
    weights: Any = edges.weights
    caveats = list(edges.caveats)
    degree = np.asarray(weights.sum(axis=1)).ravel()
    moments = np.zeros(0)
    mass = np.ones(graph.n)
    if kind in ("normalised", "random_walk"):
        mass = np.where(degree > 0, degree, 1)
    elif kind == "beltrami" and dim is not None:
        if alpha != 1:
            caveats.append(
                f"alpha = {alpha:g} leaves the density in the operator with the noise of its "
                "estimate, which lowers the eigenvalues: alpha=1 for the manifold alone"
            )
        moments = weights.data * edges.squared / (2 * dim)
        rows = np.repeat(np.arange(graph.n), np.diff(weights.indptr))
        second = np.bincount(rows, moments, graph.n) / np.where(degree > 0, degree, 1)
        typical = float(np.median(second[second > 0])) if second.any() else 1.0
        # Points among duplicates have no width of their own, and a mass of zero an infinite
        # eigenvalue.
        narrow = second < _NARROW * typical
        if narrow.any():
            caveats.append(f"{np.count_nonzero(narrow)} points have hardly a neighbour apart")
        mass = np.where(degree > 0, degree, 1) * np.where(narrow, _NARROW * typical, second)
    piece = _pieces(weights)
    if piece.max() > 0:
        caveats.append(f"the graph falls into {piece.max() + 1} pieces, each with an eigenvalue 0")
    settings: dict[str, Setting] = {
        "kind": kind,
        "kernel": type(chosen).__name__,
        "bandwidth": edges.bandwidth,
        "alpha": alpha,
        "dim": dim,
        "k": graph.k,
    }
    return Laplacian(weights, mass, moments, kind, piece, settings, tuple(caveats))


_NARROW = 0.01
"""Least second moment of a neighbourhood over the typical one."""


def _pieces(weights: csr_array) -> NDArray[np.int32]:
    import scipy.sparse.csgraph

    # scipy types its graph routines in part only.
    csgraph: Any = scipy.sparse.csgraph
    return csgraph.connected_components(weights, directed=False)[1]


def _scaled(weights: csr_array, left: NDArray[np.float64], right: NDArray[np.float64]) -> csr_array:
    """diag(left) (D - W) diag(right)."""
    import scipy.sparse

    sparse: Any = scipy.sparse
    stored: Any = weights
    rows = np.repeat(np.arange(len(left)), np.diff(stored.indptr))
    moved: Any = stored.copy()
    moved.data = stored.data * left[rows] * right[stored.indices]
    degree = np.asarray(stored.sum(axis=1)).ravel()
    return (sparse.diags_array(degree * left * right) - moved).tocsr()
