"""Intrinsic dimension against scikit-dimension and DADApy: CPU seconds of one thread, and values.

Five estimators on one neighbour graph (maximum likelihood, TwoNN, Gride at six scales, correlation
dimension of all pairs, local PCA) against scikit-dimension's five, each of which searches for
itself, and DADApy's TwoNN and Gride. Sides run in turn in this one process; what is reported is the
median. Values are compared where the formula is the same, and each of ours with its formula written
down a second time. With `--data` (a .npz of `train_images` and `test_images`) the estimates of
TwoNN and Gride on two samples of 10,000 images stand beside known ones. Last, how the
cost grows with the number of points. Prints a table and writes `benchmarks/results/dimension.json`.

    pip install scikit-dimension dadapy  # DADApy 0.3.4 needs numpy < 2
    python benchmarks/dimension.py [--data mnist.npz] [--repeats 3] [--many 10000 100000]

Without `--data` the points are the 5,000 bundled digits; `--quick` takes 1,200 of them, once.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import statistics
import sys
import time
import warnings
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
from scipy.optimize import minimize_scalar

from immersion.datasets import digits
from immersion.measure.dimension import (
    correlation_dimension,
    gride,
    intrinsic_dimension,
    mle_dimension,
    pca_dimension,
    two_nn,
)
from immersion.sampled.graph import IVF, NeighborGraph, neighbor_graph

LIMITS = {"cpu_ratio_at_least": 10.0, "difference_at_most": 1e-3}
PACKAGES = ("torch", "numpy", "scipy", "numba", "faiss-cpu")
PEERS = ("scikit-dimension", "dadapy")
NEIGHBOURS, MLE_NEIGHBOURS, PATCH, KEEP = 64, 20, 12, 0.9
SCALES = (2, 4, 8, 16, 32, 64)
EXPECTED = {"two_nn": 13.87, "gride_2": 13.97, "gride_64": 11.09}
"""TwoNN by scikit-dimension's regression and Gride on 10,000 MNIST images, as known before."""


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and the result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def ours(points: np.ndarray) -> tuple[dict[str, float], dict[str, float], NeighborGraph]:
    """Seconds and values of the graph and the five estimators."""
    seconds: dict[str, float] = {}
    seconds["graph"], graph = timed(lambda: neighbor_graph(points, NEIGHBOURS))
    works: dict[str, Callable[[], Any]] = {
        "mle": lambda: mle_dimension(graph, k=MLE_NEIGHBOURS),
        "two_nn": lambda: two_nn(graph, keep=KEEP),
        "gride": lambda: gride(graph),
        "correlation": lambda: correlation_dimension(graph, near=10, far=20, rows=graph.n),
        "local_pca": lambda: pca_dimension(graph, k=PATCH),
    }
    values: dict[str, float] = {}
    for name, work in works.items():
        seconds[name], found = timed(work)
        if name == "gride":
            values |= {f"gride_{s}": v for s, v in zip(found.scales, found.values, strict=True)}
        else:
            values[name] = found.value
    return seconds, values, graph


def scikit_dimension(points: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and values of scikit-dimension's five."""
    import skdim

    found = skdim.id
    exact = points.astype(np.float64)
    works: dict[str, Callable[[], Any]] = {
        "mle": lambda: found.MLE().fit(exact, n_neighbors=MLE_NEIGHBOURS).dimension_,
        "two_nn": lambda: (
            found.TwoNN(discard_fraction=1 - KEEP, method="mle").fit(exact).dimension_
        ),
        "gride": lambda: found.GRIDE(multiscale=True, range_max=NEIGHBOURS).fit(exact),
        "correlation": lambda: found.CorrInt(k1=10, k2=20).fit(exact).dimension_,
        "local_pca": lambda: skdim.asPointwise(
            exact, found.lPCA(ver="participation_ratio"), n_neighbors=PATCH
        ).mean(),
    }
    seconds: dict[str, float] = {}
    values: dict[str, float] = {}
    for name, work in works.items():
        seconds[name], value = timed(work)
        if name == "gride":
            scales = zip(value.scales_, value.dimension_scales_, strict=True)
            values |= {f"gride_{2 * int(s)}": float(v) for s, v in scales}
        else:
            values[name] = float(value)
    return seconds, values


def dadapy(points: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and values of DADApy's distances, TwoNN without censoring, and Gride."""
    from dadapy import Data

    data = Data(coordinates=points.astype(np.float64), maxk=NEIGHBOURS, n_jobs=1)
    seconds: dict[str, float] = {}
    seconds["graph"], _ = timed(data.compute_distances)
    seconds["two_nn"], two = timed(lambda: data.compute_id_2NN(algorithm="ml"))
    seconds["gride"], curve = timed(lambda: data.return_id_scaling_gride(range_max=NEIGHBOURS))
    values = {"two_nn_all": float(two[0])}
    return seconds, values | {f"gride_{s}": float(v) for s, v in zip(SCALES, curve[0], strict=True)}


def formulas(graph: NeighborGraph) -> dict[str, float]:
    """Each formula a second time, from the graph's neighbours and distances in float64.

    The correlation dimension is left to scikit-dimension, or counted from all distances where there
    are few points.
    """
    r = graph.distances.astype(np.float64)
    r = r[r[:, 0] > 0]
    values = {"mle": float(1 / np.log(r[:, [19]] / r[:, :19]).mean())}
    logs = np.sort(np.log(r[:, 1] / r[:, 0]))
    m = int(KEEP * len(logs))
    values["two_nn"] = m / float(logs[:m].sum() + (len(logs) - m) * logs[m - 1])
    for scale in SCALES:
        half = scale // 2
        mu = r[:, scale - 1] / r[:, half - 1]

        def cost(d: float, mu: np.ndarray = mu, half: int = half) -> float:
            terms = (half - 1) * np.log(mu**d - 1) if half > 1 else 0.0
            return -float((math.log(d) + terms - ((2 * half - 1) * d + 1) * np.log(mu)).mean())

        bounds = (0.5 * values["mle"], 2 * values["mle"])
        found = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-7})
        values[f"gride_{scale}"] = float(found.x)
    patches = pca_dimension(graph, k=PATCH).settings["patches"]
    rows = np.arange(graph.n)
    if graph.n > patches:
        rows = np.sort(np.random.default_rng(0).choice(graph.n, patches, replace=False))
    squared = of_square = 0.0
    for row in rows:
        patch = graph.points[graph.indices[row, :PATCH]].astype(np.float64)
        patch = patch - patch.mean(axis=0)
        s2 = np.linalg.svd(patch, compute_uv=False) ** 2
        k, size = PATCH, s2.sum()
        trace, square = size / (k - 1), (s2**2).sum() / (k - 1) ** 2
        fourth = ((patch**2).sum(axis=1) ** 2).sum() / (k - 1)
        scale = (k - 1) / (k * (k - 2) * (k - 3))
        one = scale * ((k - 1) * (k - 2) * square + trace**2 - k * fourth)
        other = scale * (2 * square + (k * k - 3 * k + 1) * trace**2 - k * fourth)
        of_square, squared = of_square + one / size**2, squared + other / size**2
    values["local_pca"] = squared / of_square
    if graph.n <= 2000:
        x = graph.points.astype(np.float64)
        square = (x * x).sum(axis=1)
        apart = np.sqrt(np.maximum(square[:, None] + square - 2 * x @ x.T, 0))
        np.fill_diagonal(apart, np.inf)
        r1, r2 = (np.median(graph.distances[:, k - 1]) for k in (10, 20))
        values["correlation"] = math.log((apart < r2).sum() / (apart < r1).sum()) / math.log(
            r2 / r1
        )
    return values


def differences(values: dict[str, float], others: dict[str, float]) -> dict[str, float]:
    """Relative differences of what both have."""
    return {name: abs(values[name] / others[name] - 1) for name in values.keys() & others.keys()}


def compared(points: np.ndarray, repeats: int) -> dict[str, Any]:
    """All sides in turn, those that are installed."""
    few = points[:300]
    ours(few)
    sides = {"scikit-dimension": scikit_dimension, "dadapy": dadapy}
    modules = {"scikit-dimension": "skdim", "dadapy": "dadapy"}
    sides = {name: side for name, side in sides.items() if importlib.util.find_spec(modules[name])}
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in ("immersion", *sides)}
    values: dict[str, dict[str, float]] = {}
    graph = neighbor_graph(few, NEIGHBOURS)
    for side in sides.values():
        side(few)
    for _ in range(repeats):
        spent, values["immersion"], graph = ours(points)
        seconds["immersion"].append(spent)
        for name, side in sides.items():
            spent, values[name] = side(points)
            seconds[name].append(spent)
    n = graph.n
    mine = values["immersion"]
    # The peers estimate TwoNN without bias: one less than the number of ratios that count.
    same = mine | {
        "two_nn": mine["two_nn"] * (1 - 1 / int(KEEP * n)),
        "two_nn_all": two_nn(graph, keep=1.0).value * (1 - 1 / n),
    }
    found: dict[str, Any] = {
        "cpu_s": {
            name: {part: statistics.median(run[part] for run in runs) for part in runs[0]}
            for name, runs in seconds.items()
        },
        "total_cpu_s": {
            name: statistics.median(sum(run.values()) for run in runs)
            for name, runs in seconds.items()
        },
        "values": values,
        "difference_from_the_formula": differences(mine, formulas(graph)),
    }
    if "scikit-dimension" in sides:
        pairs = zip(seconds["scikit-dimension"], seconds["immersion"], strict=True)
        ratios = [sum(a.values()) / sum(b.values()) for a, b in pairs]
        found["cpu_ratio"], found["all_cpu_ratios"] = statistics.median(ratios), ratios
        # Their local PCA averages participation ratios that are biased towards the patch's size.
        peer = {k: v for k, v in values["scikit-dimension"].items() if k != "local_pca"}
        found["difference_from_scikit_dimension"] = differences(same, peer)
    if "dadapy" in sides:
        found["difference_from_dadapy"] = differences(same, values["dadapy"])
    return found


def known(images: np.ndarray, tests: np.ndarray) -> dict[str, Any]:
    """TwoNN and Gride on two samples of 10,000 images, beside what is expected."""
    everything = np.concatenate([images, tests])
    chosen = np.random.default_rng(0).permutation(len(everything))[:10_000]
    samples = {
        "default_rng(0).permutation(70000)[:10000] of training and test images": everything[chosen],
        "first 10,000 training images": images[:10_000],
    }
    found: dict[str, Any] = {"expected": EXPECTED}
    for name, points in samples.items():
        graph = neighbor_graph(points.reshape(len(points), -1).astype(np.float32), NEIGHBOURS)
        two, curve = two_nn(graph), gride(graph)
        if importlib.util.find_spec("skdim"):
            import skdim

            fit = skdim.id.TwoNN(dist=True).fit(graph.distances[:, :2].astype(np.float64))
            linear = float(fit.dimension_)
        else:
            linear = None
        pairs = {
            "two_nn": (two.value, two.stderr),
            **{
                f"gride_{s}": (e.value, e.stderr)
                for s, e in zip(SCALES, curve.estimates, strict=True)
            },
        }
        found[name] = {
            key: {
                "value": value,
                "stderr": stderr,
                "errors_from_expected": (value - EXPECTED[key]) / stderr
                if key in EXPECTED
                else None,
            }
            for key, (value, stderr) in pairs.items()
        }
        found[name]["two_nn_by_regression"] = {"value": linear}
    return found


def growth(sizes: list[int], seed: int) -> list[dict[str, Any]]:
    """The graph (k = 15) and the dimension of n points of a curved 8-manifold in 64 coordinates."""
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(seed)
    into, out = rng.normal(size=(8, 96)) / math.sqrt(8), rng.normal(size=(96, 64)) / math.sqrt(96)
    for n in sizes:
        latent = np.random.default_rng(seed + n).uniform(-1, 1, size=(n, 8))
        points = (np.tanh(latent @ into) @ out).astype(np.float32)
        search = IVF() if n >= 100_000 else None
        searched, graph = timed(lambda p=points, s=search: neighbor_graph(p, 15, search=s))
        spent, found = timed(lambda g=graph: intrinsic_dimension(g))
        rows.append(
            {
                "n": n,
                "search": repr(graph.search),
                "recall": graph.recall,
                "graph_cpu_s": searched,
                "dimension_cpu_s": spent,
                "dimension": found.value,
                "interval": list(found.interval),
                "resolved": found.resolved,
            }
        )
        print(f"{n:9,}  graph {searched:8.1f} s  dimension {spent:6.2f} s  {found}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help=".npz of train_images and test_images")
    parser.add_argument("--points", type=int, default=10_000, help="the first so many")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--many", type=int, nargs="*", default=[10_000, 30_000, 100_000])
    parser.add_argument("--seed", type=int, default=0, help="of the curved manifold")
    parser.add_argument("--quick", action="store_true", help="1,200 digits, once, nothing large")
    target = record.RESULTS / "dimension.json"
    parser.add_argument("--out", type=Path, default=target)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the peers'
    result: dict[str, Any] = {"limits": LIMITS}
    if options.data and not options.quick:
        with np.load(options.data) as stored:
            images, tests = stored["train_images"], stored["test_images"]
        result["mnist"] = known(images, tests)
        given, source = images[: options.points], f"first images of {options.data.name}"
    else:
        given = digits().x[: 1200 if options.quick else options.points]
        source = "bundled digits"
    points = given.reshape(len(given), -1).astype(np.float32)
    result["points"] = {"source": source, "n": len(points), "features": points.shape[1]}
    result["compared"] = compared(points, 1 if options.quick else options.repeats)
    result["growth"] = growth([2000] if options.quick else options.many, options.seed)
    result |= {
        "repeats": options.repeats,
        "threads": 1,
        "seed": options.seed,
        "versions": record.versions(*PACKAGES, *PEERS),
        "machine": record.machine(),
    }
    record.write(result, options.out)
    report(result)
    print(f"written to {options.out.name}", file=sys.stderr)


def report(result: dict[str, Any]) -> None:
    """The figures in short."""
    found = result["compared"]
    for name, total in found["total_cpu_s"].items():
        parts = ", ".join(f"{part} {spent:.2f}" for part, spent in found["cpu_s"][name].items())
        print(f"{name:18}{total:8.2f} CPU s  ({parts})")
    if "cpu_ratio" in found:
        print(f"ratio {found['cpu_ratio']:.1f} (limit {LIMITS['cpu_ratio_at_least']:g})")
    for key in found:
        if key.startswith("difference"):
            worst = max(found[key], key=found[key].__getitem__)
            print(f"{key}: at most {found[key][worst]:.1e} ({worst})")
    for sample, values in result.get("mnist", {}).items():
        if sample != "expected":
            known_ones = {k: v["value"] for k, v in values.items() if v["value"] is not None}
            print(sample, {name: round(value, 2) for name, value in known_ones.items()})


if __name__ == "__main__":
    main()
