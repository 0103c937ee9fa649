"""All shortest paths on one neighbour graph, against scipy's Dijkstra: CPU time, memory, error.

Every figure comes from a process of its own, on the same graph (k = 10) of the first images of
`--data` (a .npy, or a .npz with `train_images`), or of a Gaussian cloud of the same size without
it. CPU seconds are those of the call alone, after one call on a small graph; memory is what the
peak of the process rises above its size before the call. scipy is given its better form, the
symmetric matrix with directed=True. "pieces" hands over the same rows in pieces of 64 MB at most,
for what needs them one after another, once. Runs alternate, so that a busy machine slows both.

    python benchmarks/shortest_paths.py [--data mnist.npz] [--points 10000] [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import record

LIMITS = {"cpu_ratio_at_least": 4.0, "error_at_most": 1e-6, "memory_ratio_at_most": 0.5}
SEED, NEIGHBOURS, WIDTH = 0, 10, 784
PIECES = "64MB"


def points_of(data: str | None, count: int) -> np.ndarray:
    """The first points of the file, or a seeded Gaussian cloud."""
    if data is None:
        return np.random.default_rng(SEED).normal(size=(count, WIDTH)).astype(np.float32)
    found = np.load(data)
    images = found if isinstance(found, np.ndarray) else found["train_images"]
    return images[:count].reshape(count, -1).astype(np.float32)


def measure(kind: str, folder: Path) -> None:
    """Run in a child: one solution, its cost, and its rows for the comparison."""
    from scipy.sparse.csgraph import dijkstra

    from immersion.sampled.graph import NeighborGraph
    from immersion.sampled.paths.edges import as_edges
    from immersion.sampled.paths.shortest import distance_blocks, shortest_paths

    lists = np.load(folder / "graph.npz")
    graph = NeighborGraph.from_neighbors(lists["indices"], lists["distances"])
    symmetric = as_edges(graph).to_scipy()
    small = NeighborGraph.from_neighbors([[1], [0]], [[1.0], [1.0]])
    shortest_paths(small)
    dijkstra(as_edges(small).to_scipy())
    rows = np.random.default_rng(SEED).choice(graph.n, min(graph.n, 1000), replace=False)
    # Filled, so that these rows count as taken before the peak is read.
    kept = np.full((len(rows), graph.n), np.nan, np.float32)
    before, start = record.peak_bytes(), time.process_time()
    if kind == "scipy":
        found = dijkstra(symmetric, directed=True)
    elif kind == "pieces":
        found = kept
        for some, block in distance_blocks(graph, memory=PIECES):
            _, here, at = np.intersect1d(some, rows, return_indices=True)
            kept[at] = block[here]
    else:
        found = shortest_paths(graph, device="cpu" if kind == "torch" else None)
    seconds, memory = time.process_time() - start, record.peak_bytes() - before
    np.save(folder / f"{kind}.npy", kept if found is kept else found[rows])
    print(json.dumps({"cpu_s": seconds, "bytes": memory}))


def child(kind: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", kind, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--torch", action="store_true", help="time the torch form too, once")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        return measure(asked.measure, asked.folder)
    from immersion.sampled.graph import neighbor_graph
    from immersion.sampled.paths.edges import as_edges

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph = neighbor_graph(points_of(asked.data, asked.points), NEIGHBOURS)
        np.savez(folder / "graph.npz", indices=graph.indices, distances=graph.distances)
        edges = as_edges(graph).m
        child("immersion", folder)  # compiles, or loads what is compiled
        runs = [(child("immersion", folder), child("scipy", folder)) for _ in range(asked.runs)]
        exact = np.load(folder / "scipy.npy")
        reached = np.isfinite(exact) & (exact > 0)

        def error(kind: str) -> float:
            found = np.load(folder / f"{kind}.npy")
            assert (np.isfinite(found) == np.isfinite(exact)).all()
            return float(np.abs(found[reached] / exact[reached] - 1).max())

        measured = {
            "immersion_cpu_s": statistics.median(ours["cpu_s"] for ours, _ in runs),
            "scipy_cpu_s": statistics.median(theirs["cpu_s"] for _, theirs in runs),
            "cpu_ratio": statistics.median(b["cpu_s"] / a["cpu_s"] for a, b in runs),
            "immersion_mb": max(ours["bytes"] for ours, _ in runs) / 1e6,
            "scipy_mb": min(theirs["bytes"] for _, theirs in runs) / 1e6,
            "error": error("immersion"),
        }
        measured["memory_ratio"] = measured["immersion_mb"] / measured["scipy_mb"]
        pieces = child("pieces", folder)
        measured |= {
            "pieces_cpu_s": pieces["cpu_s"],
            "pieces_mb": pieces["bytes"] / 1e6,
            "pieces_memory_ratio": pieces["bytes"] / 1e6 / measured["scipy_mb"],
            "pieces_error": error("pieces"),
        }
        if asked.torch:
            measured["torch_cpu_s"] = child("torch", folder)["cpu_s"]
            measured["torch_error"] = error("torch")
    result = {
        "measured": measured,
        "limits": LIMITS,
        "all_cpu_s": [[ours["cpu_s"], theirs["cpu_s"]] for ours, theirs in runs],
        "graph": {
            "data": Path(asked.data).name if asked.data else f"Gaussian, {WIDTH} coordinates",
            "points": asked.points,
            "k": NEIGHBOURS,
            "edges": edges,
            "reached": float(reached.mean()),
        },
        "seed": SEED,
        "versions": record.versions("numpy", "scipy", "scikit-learn", "numba", "torch"),
        "threads": os.environ.get("NUMBA_NUM_THREADS", str(os.cpu_count())),
        "machine": record.machine(),
    }
    target = record.RESULTS / "shortest_paths.json"
    record.write(result, target)
    for name, value in measured.items():
        print(f"{name:16} {value:12.4g}")
    print(f"written to {target.name}")
    return None


if __name__ == "__main__":
    main()
