"""Quality of a map against scikit-learn's trustworthiness, in CPU seconds of one thread.

The map is PCA to two coordinates, unless `--map` gives one. Both sides run in turn in this one
process; what is reported is the median of the CPU times and of their ratios, after a first call
that loads compiled code and is told apart; memory is the peak of arrays in runs of their own. Then:
the whole `map_quality`, and a sampled trustworthiness of many points. Prints a table and writes
`benchmarks/results/map_quality.json`.

    pip install scikit-learn
    python benchmarks/map_quality.py [--data mnist.npz] [--map map.npy] [--points 10000] [--k 5]

Without `--data` (n, ...) the points are the 5,000 bundled digits.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read by the libraries when they are imported.
os.environ.update(
    dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
    )
)

import numpy as np
import record
import torch

from immersion.datasets import digits
from immersion.embed.pca import pca
from immersion.measure.preservation.neighbours import (
    continuity_measurement,
    judge_neighbourhoods,
    map_task,
    trust_measurement,
    trustworthiness,
)
from immersion.measure.preservation.quality import map_quality

PACKAGES = ("torch", "numpy", "scipy", "numba", "scikit-learn")
LIMITS = {"ratio": 5.0, "difference": 1e-7}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and the result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def peak(work: Callable[[], Any]) -> int:
    """Most bytes of arrays that were held at a time."""
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def both(points: np.ndarray, images: np.ndarray, k: int) -> tuple[float, float]:
    """Trustworthiness and continuity from one pass."""
    task = map_task(points, images, k, "all", 0)
    judged = judge_neighbourhoods(task)
    return trust_measurement(task, judged).value, continuity_measurement(task, judged).value


def compared(points: np.ndarray, images: np.ndarray, k: int, repeats: int) -> dict[str, Any]:
    """Both sides in turn."""
    try:
        from sklearn.manifold import trustworthiness as peer
    except ModuleNotFoundError as error:
        raise SystemExit("scikit-learn is missing: pip install scikit-learn") from error
    first, _ = timed(lambda: both(points[:300], images[:300], k))
    ours: list[float] = []
    theirs: list[float] = []
    values = (0.0, 0.0)
    reference = 0.0
    for _ in range(repeats):
        seconds, values = timed(lambda: both(points, images, k))
        ours.append(seconds)
        seconds, reference = timed(lambda: peer(points, images, n_neighbors=k))
        theirs.append(seconds)
    ratios = [peer / own for own, peer in zip(ours, theirs, strict=True)]
    return {
        "first_call_cpu_s": first,
        "ours_cpu_s": statistics.median(ours),
        "peer_cpu_s": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "all_ratios": ratios,
        "trustworthiness": values[0],
        "continuity": values[1],
        "difference": abs(values[0] - float(reference)),
        "ours_peak_bytes": peak(lambda: both(points, images, k)),
        "peer_peak_bytes": peak(lambda: peer(points, images, n_neighbors=k)),
    }


def whole(points: np.ndarray, images: np.ndarray, k: int) -> dict[str, Any]:
    """All of `map_quality`."""
    map_quality(points[:300], images[:300], k)
    seconds, quality = timed(lambda: map_quality(points, images, k))
    return {"cpu_s": seconds, **{one.name: one.to_dict() for one in quality.measurements}}


def sampled(n: int, seed: int) -> dict[str, Any]:
    """Trustworthiness of many points in 64 dimensions from 4,096 of them."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 64)).astype(np.float32) * np.geomspace(4, 0.2, 64, dtype="f4")
    images = np.ascontiguousarray(points[:, :2])
    seconds, found = timed(lambda: trustworthiness(points, images, 15, random_state=seed))
    return {"n": n, "cpu_s": seconds, "interval": found.interval(), **found.to_dict()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="points, .npy, or .npz of train_images")
    parser.add_argument("--map", type=Path, help="(n, d) array of images, .npy")
    parser.add_argument("--points", type=int, default=10_000, help="the first so many")
    parser.add_argument("--many", type=int, default=200_000, help="points of the sampled run")
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    target = record.RESULTS / "map_quality.json"
    parser.add_argument("--out", type=Path, default=target)
    options = parser.parse_args()
    torch.set_num_threads(1)
    given = np.load(options.data) if options.data else digits().x
    if isinstance(given, np.lib.npyio.NpzFile):
        given = given["train_images"]
    points = given[: options.points].reshape(len(given[: options.points]), -1).astype(np.float32)
    if options.map:
        images = np.load(options.map)[: len(points)]
    else:
        images = pca(points, 2, random_state=options.seed).coordinates
    result = {
        "points": {
            "data": options.data.name if options.data else "bundled digits",
            "map": options.map.name if options.map else "PCA to 2 coordinates",
            "n": len(points),
            "features": points.shape[1],
            "k": options.k,
        },
        "against_scikit_learn": compared(points, images, options.k, options.repeats),
        "limits": LIMITS,
        "map_quality": whole(points, images, options.k),
        "sampled": sampled(options.many, options.seed),
        "repeats": options.repeats,
        "threads": 1,
        "seed": options.seed,
        "versions": record.versions(*PACKAGES),
        "machine": record.machine(),
    }
    record.write(result, options.out)
    against = result["against_scikit_learn"]
    shown = [name for name, value in against.items() if not isinstance(value, list)]
    for name in shown:
        limit = f"  (limit {LIMITS[name]:g})" if name in LIMITS else ""
        print(f"{name:18}{against[name]:12.4g}{limit}")
    print(f"{'map_quality cpu_s':18}{result['map_quality']['cpu_s']:12.4g}")
    print(f"{'sampled cpu_s':18}{result['sampled']['cpu_s']:12.4g}  n = {options.many}")
    print(f"written to {options.out.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
