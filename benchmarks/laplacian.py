"""The smallest eigenvectors of a neighbour graph's Laplacian, against scikit-learn and scipy.

Every figure comes from a process of its own on the same weights: the normalised Laplacian of the
k = 15 graph of a sphere, whose spectrum is dense at zero, and of the images of `--data` (a .npz
with `train_images` and `test_images`) after PCA to 50 coordinates, whose spectrum has gaps; without
`--data`, of ten bent clouds in as many coordinates. CPU seconds are those of the
solve alone, after one on a small graph; memory is what the peak of the process rises above its
size before it. Residuals |A v - value v| are computed afterwards, in the same way for all, from
the unit vectors that came back. A solver that passes `--limit` CPU seconds or 6 GiB is stopped and
noted.

    python benchmarks/laplacian.py [--data mnist.npz] [--points 10000 70000] [--runs 3]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import record

LIMITS = {
    "cpu_ratio_to_sklearn_arpack_on_images_at_least": 10,
    "relative_residual_at_most": 1e-6,
    "relative_difference_of_values_at_most": 1e-9,
}
MOST_BYTES = 6 << 30
SEED, NEIGHBOURS, WIDTH, COUNT = 0, 15, 50, 10
SOLVERS = (
    "immersion",
    "sklearn_arpack",
    "sklearn_lobpcg",
    "scipy_shift_invert",
    "scipy_arpack",
    "scipy_lobpcg",
)


def sphere_of(count: int) -> np.ndarray:
    """Points of the unit sphere."""
    x = np.random.default_rng(SEED).normal(size=(count, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def points_of(data: str | None, count: int) -> np.ndarray:
    """The first images after PCA, or a seeded mixture of ten curved clouds."""
    if data is None:
        rng = np.random.default_rng(SEED)
        bent = np.tanh(rng.normal(size=(count, 8)) @ rng.normal(size=(8, WIDTH)))
        return bent + 0.5 * rng.normal(size=(10, WIDTH))[rng.integers(10, size=count)]
    found = np.load(data)
    images = np.concatenate([found["train_images"], found["test_images"]])[:count]
    x = images.reshape(len(images), -1).astype(np.float32)
    x -= x.mean(axis=0)
    return x @ np.linalg.eigh(x.T @ x)[1][:, ::-1][:, :WIDTH]


def solve(kind: str, graph: Any, tolerance: float) -> np.ndarray:
    """Unit vectors (n, 9 or 10) of one solver; the Laplacian is made within, as each makes it."""
    import scipy.sparse
    from scipy.sparse.linalg import eigsh, lobpcg

    from immersion.sampled.laplacian.operator import laplacian

    operator = laplacian(graph)
    rng = np.random.default_rng(SEED)
    if kind == "immersion":
        return operator.spectrum(COUNT, tolerance=tolerance).vectors
    if kind.startswith("sklearn"):
        from sklearn.manifold import spectral_embedding

        maps = spectral_embedding(
            operator.weights, n_components=COUNT - 1, eigen_solver=kind.split("_")[1],
            random_state=SEED, eigen_tol=tolerance,
        )  # fmt: skip
        vectors = maps * np.sqrt(operator.mass)[:, None]
        return vectors / np.linalg.norm(vectors, axis=0)
    matrix = operator.matrix().tocsc()
    if kind == "scipy_shift_invert":
        start = rng.normal(size=operator.n)
        return eigsh(matrix, COUNT, sigma=-1e-3, tol=tolerance, v0=start)[1]
    if kind == "scipy_arpack":
        turned = 2 * scipy.sparse.eye_array(operator.n, format="csr") - matrix
        return eigsh(turned, COUNT, which="LA", tol=1e-9, v0=rng.normal(size=operator.n))[1]
    start = rng.normal(size=(operator.n, COUNT))
    return lobpcg(matrix, start, largest=False, tol=tolerance * 0.01, maxiter=3000)[1]


def measure(kind: str, folder: Path, limit: int) -> None:
    """Run in a child: one solver, its cost, and its vectors."""
    from immersion.sampled.graph import NeighborGraph, neighbor_graph

    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    lists = np.load(folder / "graph.npz")
    graph = NeighborGraph.from_neighbors(lists["indices"], lists["distances"])
    small = np.random.default_rng(SEED).normal(size=(2000, 3))
    solve(kind, neighbor_graph(small, NEIGHBOURS), 1e-2)
    before, start = record.peak_bytes(), time.process_time()
    found = solve(kind, graph, 1e-6)
    seconds, memory = time.process_time() - start, record.peak_bytes() - before
    np.save(folder / f"{kind}.npy", found)
    print(json.dumps({"cpu_s": seconds, "bytes": memory}))


def child(kind: str, folder: Path, limit: int) -> dict[str, float] | None:
    """Cost of one run, or None where it passed the limit of CPU or memory."""
    command = [sys.executable, "-W", "ignore", __file__, "--measure", kind]
    command += ["--folder", str(folder), "--limit", str(limit)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode < 0 or "MemoryError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def quality(folder: Path, kind: str, matrix: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rayleigh quotients, ascending and without the zero, and their residuals."""
    vectors = np.load(folder / f"{kind}.npy")
    images = matrix @ vectors
    values = (vectors * images).sum(axis=0)
    residuals = np.linalg.norm(images - vectors * values, axis=0)
    order = np.argsort(values)[-(COUNT - 1) :]
    return values[order], residuals[order]


def compare(points: np.ndarray, runs: int, limit: int) -> dict[str, Any]:
    """All solvers on one graph."""
    from immersion.sampled.graph import neighbor_graph
    from immersion.sampled.laplacian.operator import laplacian

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph = neighbor_graph(points, NEIGHBOURS)
        np.savez(folder / "graph.npz", indices=graph.indices, distances=graph.distances)
        operator = laplacian(graph)
        costs: dict[str, list[dict[str, float]]] = {kind: [] for kind in SOLVERS}
        missed: list[str] = []
        # Runs alternate, so that a busy machine slows all.
        for _ in range(runs):
            for kind in SOLVERS:
                cost = None if kind in missed else child(kind, folder, limit)
                if cost is None:
                    missed.append(kind)
                else:
                    costs[kind].append(cost)
        ended = [kind for kind in SOLVERS if costs[kind]]
        found = {kind: quality(folder, kind, operator.matrix()) for kind in ended}
        exact = min(found.values(), key=lambda pair: float(pair[1].max()))[0]
        solvers: dict[str, Any] = dict.fromkeys(
            missed, f"not ended in {limit} CPU seconds and {MOST_BYTES >> 30} GiB"
        )
        for kind, (values, residuals) in found.items():
            solvers[kind] = {
                "cpu_s": statistics.median(cost["cpu_s"] for cost in costs[kind]),
                "mb": max(cost["bytes"] for cost in costs[kind]) / 1e6,
                "relative_residual": float((residuals / values).max()),
                "relative_difference_of_values": float(np.abs(values / exact - 1).max()),
                "all_cpu_s": [cost["cpu_s"] for cost in costs[kind]],
            }
    ours = solvers["immersion"]["cpu_s"]
    return {
        "graph": {"points": len(points), "k": NEIGHBOURS, "pieces": operator.pieces},
        "values": [float(value) for value in exact],
        "solvers": solvers,
        "cpu_ratio_to": {kind: solvers[kind]["cpu_s"] / ours for kind in ended[1:]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--points", type=int, nargs="+", default=[10_000, 70_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--limit", type=int, default=300, help="CPU seconds of one solve")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        return measure(asked.measure, asked.folder, asked.limit)
    sizes: list[dict[str, Any]] = []
    images = Path(asked.data).name if asked.data else "bent clouds"
    for count, kind in itertools.product(asked.points, ("sphere", images)):
        points = sphere_of(count) if kind == "sphere" else points_of(asked.data, count)
        sizes.append({"data": kind} | compare(points, asked.runs, asked.limit))
        print(f"{count} points, {kind}", flush=True)
        for solver, seen in sizes[-1]["solvers"].items():
            if isinstance(seen, str):
                print(f"  {solver:20} {seen}")
                continue
            print(
                f"  {solver:20} {seen['cpu_s']:8.2f} CPU s {seen['mb']:8.0f} MB  residual "
                f"{seen['relative_residual']:.1e}  "
                f"values {seen['relative_difference_of_values']:.1e}"
            )
    result = {
        "sizes": sizes,
        "limits": LIMITS,
        "pairs": COUNT,
        "images": f"PCA to {WIDTH} coordinates",
        "seed": SEED,
        "versions": record.versions("numpy", "scipy", "scikit-learn", "numba"),
        "threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
        "machine": record.machine(),
    }
    target = record.RESULTS / "laplacian.json"
    record.write(result, target)
    print(f"written to {target.name}")
    return None


if __name__ == "__main__":
    main()
