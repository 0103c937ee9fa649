"""Growth of the neighbour graph, against faiss's own inverted file and pynndescent.

For each size, on the same points (n x 64, float32): `im.neighbor_graph(points, 15, search=IVF())`,
which tunes itself to recall .99 and measures what it reached, and faiss's IndexIVFFlat, whose
number of cells and of probes are chosen here, outside its time, as the cheapest that reach the same
recall. Recall is that of the same points for all, against distances computed in float64. Then TwoNN
and MLE on the finished graph. pynndescent runs at `--peer-sizes` only: it compiles for minutes.

The points are a mixture of 40 normal clusters in 10 dimensions, carried by a random map with a
tanh layer to 64 dimensions, plus noise of a hundredth of their spread; their intrinsic dimension is
about 10.

Every figure comes from a process of its own with `--threads` threads, after a small call that
compiles or loads what is compiled. CPU seconds are those of the process; memory is its peak
resident size, points and libraries included. faiss answers at most `--faiss-queries` points, and
its search time is scaled to all of them. Growth is the slope of log time against log n between
neighbouring sizes.

    pip install pynndescent     # or --peer-python, an interpreter that has it
    python benchmarks/neighbor_graph.py [--sizes 10000 30000 100000 300000 1000000] [--threads 1]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record

SEED, WIDTH, INTRINSIC, CLUSTERS, NEIGHBOURS, RECALL, SAMPLE = 0, 64, 10, 40, 15, 0.99, 1000
LIMITS = {"time_ratio_at_most": 1.2, "peak_gb_at_most": 4.0, "recall_at_least": RECALL}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def make_points(n: int) -> np.ndarray:
    """The mixture on a curved 10-dimensional manifold in 64 dimensions."""
    rng = np.random.default_rng(SEED)
    centres = 2 * rng.normal(size=(CLUSTERS, INTRINSIC))
    inward = rng.normal(size=(INTRINSIC, 128)) / math.sqrt(INTRINSIC)
    outward = rng.normal(size=(128, WIDTH)) / math.sqrt(128)
    x = np.empty((n, WIDTH), np.float32)
    for start in range(0, n, 50_000):
        m = min(50_000, n - start)
        z = centres[rng.integers(0, CLUSTERS, m)] + rng.normal(size=(m, INTRINSIC))
        x[start : start + m] = np.tanh(z @ inward / 2) @ outward
        x[start : start + m] += 0.01 * x[:m].std() * rng.normal(size=(m, WIDTH))
    return x


def sample_of(n: int) -> np.ndarray:
    """The points whose neighbours are judged."""
    return np.sort(np.random.default_rng(SEED + 1).choice(n, min(n, SAMPLE), replace=False))


def farthest_true(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Distance of the k-th other point from some points: the 64 nearest of faiss, in float64."""
    import faiss

    _, who = faiss.knn(x[rows], x, 64)
    return np.sort(distances(x, rows, who), axis=1)[:, NEIGHBOURS]


def distances(x: np.ndarray, rows: np.ndarray, who: np.ndarray) -> np.ndarray:
    difference = x[rows].astype(np.float64)[:, None] - x[who]
    return np.sqrt((difference**2).sum(axis=2))


def recall_of(x: np.ndarray, rows: np.ndarray, who: np.ndarray, true: np.ndarray) -> float:
    """Share of neighbours other than the point that are no farther than the true k-th."""
    found = (distances(x, rows, who) <= true[:, None] * (1 + 1e-12)) & (who != rows[:, None])
    return float(found.sum() / (len(rows) * NEIGHBOURS))


def clock() -> Callable[[], dict[str, float]]:
    """What reads CPU and wall seconds from now on."""
    cpu, wall = time.process_time(), time.perf_counter()
    return lambda: {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}


def ours(x: np.ndarray, rows: np.ndarray, kind: str) -> dict[str, Any]:
    """The graph and two dimensions on it."""
    import immersion as im
    from immersion.measure.dimension.mle import mle_dimension
    from immersion.measure.dimension.two_nn import two_nn
    from immersion.sampled.graph import IVF, Exact

    search = IVF(recall=RECALL) if kind == "ivf" else Exact()
    small = im.neighbor_graph(x[:3000], NEIGHBOURS, search=search)
    two_nn(small), mle_dimension(small)
    read = clock()
    graph = im.neighbor_graph(x, NEIGHBOURS, search=search)
    result: dict[str, Any] = read()
    result["peak_gb"] = record.peak_bytes() / 1e9
    read = clock()
    found = two_nn(graph), mle_dimension(graph)
    result["dimension_s"] = read()["wall_s"]
    result["dimensions"] = {each.name: [each.value, each.stderr] for each in found}
    result["search"] = repr(graph.search)
    result["stated_recall"] = [graph.recall, graph.recall_stderr]
    return result | {"who": graph.indices[rows]}


def theirs(x: np.ndarray, rows: np.ndarray, true: np.ndarray, most: int) -> dict[str, Any]:
    """faiss's inverted file, as cheap as it reaches the recall; choosing is not timed."""
    import faiss

    n = len(x)
    tuning = rows[: SAMPLE // 2]
    best: dict[str, Any] = {}
    for cells in sorted({round(share * math.sqrt(n)) for share in (1.0, 2.0, 4.0)}):
        read = clock()
        index: Any = faiss.IndexIVFFlat(faiss.IndexFlatL2(WIDTH), WIDTH, cells)
        index.train(x)
        index.add(x)
        built = read()
        low, high = 1, cells
        while low < high:
            index.nprobe = (low + high) // 2
            _, who = index.search(x[tuning], NEIGHBOURS + 1)
            reached = recall_of(x, tuning, who, true[: len(tuning)])
            low, high = (low, index.nprobe) if reached >= RECALL else (index.nprobe + 1, high)
        index.nprobe = low
        trial = np.random.default_rng(SEED + 2).choice(n, min(n, 2000), replace=False)
        read = clock()
        index.search(x[trial], NEIGHBOURS + 1)
        expected = built["cpu_s"] + read()["cpu_s"] * n / len(trial)
        if not best or expected < best["expected"]:
            best = {"expected": expected, "index": index, "built": built, "cells": cells}
    index = best["index"]
    asked = np.sort(np.random.default_rng(SEED + 3).choice(n, min(n, most), replace=False))
    read = clock()
    for start in range(0, len(asked), 20_000):
        index.search(x[asked[start : start + 20_000]], NEIGHBOURS + 1)
    searched = read()
    total = {name: best["built"][name] + searched[name] * n / len(asked) for name in searched}
    _, who = index.search(x[rows], NEIGHBOURS + 1)
    return {
        **total,
        "peak_gb": record.peak_bytes() / 1e9,
        "cells": best["cells"],
        "probes": int(index.nprobe),
        "queries_timed": len(asked),
        "who": who,
    }


def descent(x: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """pynndescent with its own settings, which hold the point itself among the neighbours."""
    from pynndescent import NNDescent

    NNDescent(x[:3000], n_neighbors=NEIGHBOURS + 1, random_state=SEED)
    read = clock()
    index = NNDescent(x, n_neighbors=NEIGHBOURS + 1, random_state=SEED)
    result = read()
    return {**result, "peak_gb": record.peak_bytes() / 1e9, "who": index.neighbor_graph[0][rows]}


def measure(asked: argparse.Namespace) -> None:
    """Run in a child: one method on the points of the folder."""
    x, rows = np.load(asked.folder / "points.npy"), np.load(asked.folder / "rows.npy")
    true = np.load(asked.folder / "true.npy")
    if asked.measure == "faiss":
        result = theirs(x, rows, true, asked.faiss_queries)
    elif asked.measure == "pynndescent":
        result = descent(x, rows)
    else:
        result = ours(x, rows, asked.measure)
    result["recall"] = recall_of(x, rows, result.pop("who"), true)
    print(json.dumps(result))


def child(kind: str, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    python = asked.peer_python if kind == "pynndescent" else sys.executable
    command = [python, __file__, "--measure", kind, "--folder", str(folder)]
    command += ["--faiss-queries", str(asked.faiss_queries)]
    environment = {**os.environ, **dict.fromkeys(THREADS, str(asked.threads))}
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=asked.timeout
        )
    except subprocess.TimeoutExpired:
        print(f"    {kind:12} not finished in {asked.timeout} s", flush=True)
        return {"failed": f"not finished in {asked.timeout} s"}
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"    {kind:12} failed: {said}", flush=True)
        return {"failed": said}
    result = json.loads(done.stdout.splitlines()[-1])
    print(
        f"    {kind:12} {result['cpu_s']:8.1f} CPU s {result['wall_s']:8.1f} s   recall "
        f"{result['recall']:.4f}   peak {result['peak_gb']:.2f} GB   "
        f"({time.perf_counter() - start:.0f} s in all)",
        flush=True,
    )
    return result


def run_size(n: int, asked: argparse.Namespace) -> dict[str, Any]:
    print(f"{n} points", flush=True)
    kinds = ["ivf", "faiss"]
    kinds += ["exact"] if n <= asked.exact_limit else []
    kinds += ["pynndescent"] if n in asked.peer_sizes else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x, rows = make_points(n), sample_of(n)
        np.save(folder / "points.npy", x)
        np.save(folder / "rows.npy", rows)
        np.save(folder / "true.npy", farthest_true(x, rows))
        del x
        found = {kind: child(kind, folder, asked) for kind in kinds}
    if "cpu_s" in found["ivf"] and "cpu_s" in found["faiss"]:
        found["ivf"]["time_ratio"] = found["ivf"]["cpu_s"] / found["faiss"]["cpu_s"]
        print(
            f"    CPU time of ours by that of faiss: {found['ivf']['time_ratio']:.2f}", flush=True
        )
    return found


def growth(results: dict[str, dict[str, Any]], kind: str) -> dict[str, float]:
    """Exponent of the CPU time between neighbouring sizes."""
    times = [(int(n), each[kind]["cpu_s"]) for n, each in results.items() if "cpu_s" in each[kind]]
    return {
        f"{n}-{m}": math.log(later / earlier) / math.log(m / n)
        for (n, earlier), (m, later) in itertools.pairwise(times)
    }


def peer_version(python: str) -> str:
    say = "import importlib.metadata as m; print(m.version('pynndescent'))"
    done = subprocess.run([python, "-c", say], capture_output=True, text=True)
    return done.stdout.strip() or "not installed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = [10_000, 30_000, 100_000, 300_000, 1_000_000]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--faiss-queries", type=int, default=100_000)
    parser.add_argument("--exact-limit", type=int, default=30_000, help="largest exact search")
    parser.add_argument("--peer-sizes", type=int, nargs="*", default=[30_000])
    parser.add_argument("--peer-python", default=sys.executable, help="has pynndescent")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one method")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        return measure(asked)
    # Set before a library reads them.
    os.environ.update(dict.fromkeys(THREADS, str(asked.threads)))
    start = time.perf_counter()
    report: dict[str, Any] = {
        "limits": LIMITS,
        "points": {
            "width": WIDTH,
            "intrinsic": INTRINSIC,
            "clusters": CLUSTERS,
            "k": NEIGHBOURS,
            "judged_on": SAMPLE,
        },
        "seed": SEED,
        "threads": asked.threads,
        "machine": record.machine(),
        "versions": record.versions("numpy", "numba", "torch", "faiss-cpu")
        | {"pynndescent": peer_version(asked.peer_python)},
        "results": {},
    }
    target = record.RESULTS / "neighbor_graph.json"
    for n in sorted(asked.sizes):
        report["results"][str(n)] = run_size(n, asked)
        report["growth"] = {kind: growth(report["results"], kind) for kind in ("ivf", "faiss")}
        report["minutes"] = (time.perf_counter() - start) / 60
        record.write(report, target)
    print(f"{report['minutes']:.1f} minutes; written to {target.name}")
    return None


if __name__ == "__main__":
    main()
