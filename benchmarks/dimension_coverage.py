"""How often the 95% interval of `intrinsic_dimension` holds the truth, on manifolds that are known.

Cells are a manifold and a number of points; in each, every seed draws points, and the truth lies in
the interval or not. The families and the seeds are not those on which the interval's constants were
set (cubes, Gaussians, tori and smooth images of cubes in `tests/dimension`), apart from the
spheres and cubes of the literature's benchmark, M1, M2, M9 and M10. A result is `resolved` where it
says that n resolves the dimension; where it does not, its interval holds under conditions that its
caveats name, and the truth may lie outside.

    python benchmarks/dimension_coverage.py [--seeds 20] [--points 500 2000 5000]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
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

from immersion.datasets import synthetic
from immersion.measure.dimension import IntrinsicDimension, intrinsic_dimension
from immersion.sampled.graph import neighbor_graph

Maker = Callable[[int, int], np.ndarray]

FIRST_SEED = 7_000
LIMIT = 0.9
PACKAGES = ("numpy", "scipy", "numba", "torch")


def of(name: str, **settings: Any) -> Maker:
    """Points of a manifold of `immersion.datasets.synthetic` by number and seed."""

    def make(n: int, seed: int) -> np.ndarray:
        return getattr(synthetic, name)(n, random_state=seed, **settings).points

    return make


def ellipsoid(n: int, seed: int) -> np.ndarray:
    """A sphere of dimension 3 with axes from 1 to 3, turned into 50 coordinates."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    x *= np.array([1, 1.5, 2, 3]) / np.linalg.norm(x, axis=1, keepdims=True)
    return x @ np.linalg.qr(rng.normal(size=(50, 4)))[0].T


def uneven_roll(n: int, seed: int) -> np.ndarray:
    """A roll whose density falls by a factor of 20 along it."""
    rng = np.random.default_rng(seed)
    t = 1.5 * np.pi * (1 + 2 * rng.beta(1, 3, size=n))
    return np.stack([t * np.cos(t), 21 * rng.uniform(size=n), t * np.sin(t)], axis=1)


def rational(dim: int) -> Maker:
    """A cube under a smooth map with poles far away, x / (2 + sin of other coordinates), in 3d."""

    def make(n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        x = rng.uniform(-1, 1, size=(n, dim))
        mixed = x @ rng.normal(size=(dim, dim)) / np.sqrt(dim)
        parts = [x, np.exp(mixed / 2), x / (2 + np.sin(mixed))]
        return np.concatenate(parts, axis=1)

    return make


def cells() -> dict[str, tuple[int, Maker]]:
    """Every manifold with its dimension."""
    found: dict[str, tuple[int, Maker]] = {
        "M1": (10, of("sphere", dim=10)),
        "M2": (3, of("hypercube", dim=3, ambient_dim=5)),
        "M4": (4, of("coils", dim=4)),
        "M5": (2, of("helicoid")),
        "M6": (6, of("coils", dim=6, copies=3)),
        "M7": (2, of("swiss_roll")),
        "M8": (12, of("coils", dim=12, copies=3)),
        "M9": (20, of("hypercube", dim=20)),
        "M10a": (10, of("hypercube", dim=10, ambient_dim=11)),
        "M10b": (17, of("hypercube", dim=17, ambient_dim=18)),
        "M10c": (24, of("hypercube", dim=24, ambient_dim=25)),
        "M11": (2, of("mobius_band", half_twists=10)),
        "M13a": (2, of("s_curve")),
        "M13b": (1, of("closed_curve", ambient_dim=13)),
    }
    for dim in (1, 3, 6, 9, 16, 20):
        found[f"sphere {dim}"] = (dim, of("sphere", dim=dim, ambient_dim=100))
    for dim in (2, 4, 6, 12, 24):
        found[f"hyperball {dim}"] = (dim, of("hyperball", dim=dim, ambient_dim=100))
    for dim in (2, 3, 5, 8, 16, 24):
        found[f"paraboloid {dim}"] = (dim, of("paraboloid", dim=dim, ambient_dim=100))
    for dim in (3, 5, 8, 16):
        found[f"coils {dim}"] = (dim, of("coils", dim=dim, ambient_dim=100))
    for dim in (2, 4, 6, 10, 18):
        found[f"rational {dim}"] = (dim, rational(dim))
    for name in ("torus", "klein_bottle", "mobius_band", "helicoid", "saddle", "s_curve"):
        found[name] = (2, of(name, ambient_dim=60))
    found["ellipsoid"] = (3, ellipsoid)
    found["uneven roll"] = (2, uneven_roll)
    found["closed curve"] = (1, of("closed_curve", harmonics=10, ambient_dim=80))
    return found


def study(maker: Maker, dim: int, n: int, seeds: Sequence[int]) -> dict[str, Any]:
    """One cell: coverage, how often the result is resolved, and the interval's width."""
    held: list[bool] = []
    resolved: list[bool] = []
    values: list[float] = []
    widths: list[float] = []
    for seed in seeds:
        found: IntrinsicDimension = intrinsic_dimension(neighbor_graph(maker(n, seed), 64))
        low, high = found.interval
        held.append(bool(low <= dim <= high))
        resolved.append(found.resolved)
        values.append(found.value)
        widths.append((high - low) / dim)
    inside = [one for one, clear in zip(held, resolved, strict=True) if clear]
    return {
        "coverage": sum(held) / len(held),
        "resolved": sum(resolved) / len(resolved),
        "coverage_where_resolved": sum(inside) / len(inside) if inside else None,
        "mean_value": float(np.mean(values)),
        "mean_relative_width": float(np.mean(widths)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="seeds a cell")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--points", type=int, nargs="+", default=[500, 2000, 5000])
    parser.add_argument("--only", nargs="+", help="names of manifolds; all by default")
    target = record.RESULTS / "dimension_coverage.json"
    parser.add_argument("--out", type=Path, default=target)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    start = time.process_time()
    kept: list[dict[str, Any]] = []
    if options.only and options.out.exists():
        kept = json.loads(options.out.read_text())["rows"]
    measured: list[dict[str, Any]] = []
    print(
        f"{'manifold':16}{'d':>4}{'n':>6}{'coverage':>10}{'resolved':>10}{'value':>8}{'width':>8}"
    )
    for name, (dim, maker) in cells().items():
        if options.only and name not in options.only:
            continue
        for n in options.points:
            row = study(maker, dim, n, seeds)
            if row["resolved"] >= 0.5 and row["coverage_where_resolved"] < LIMIT:
                fresh = range(seeds.stop, seeds.stop + 5 * len(seeds))
                row = {**study(maker, dim, n, fresh), "first": row}
            measured.append({"manifold": name, "dim": dim, "n": n, **row})
            print(
                f"{name:16}{dim:4}{n:6}{row['coverage']:10.0%}{row['resolved']:10.0%}"
                f"{row['mean_value']:8.2f}{row['mean_relative_width']:8.0%}",
                flush=True,
            )
    again = {(row["manifold"], row["n"]) for row in measured}
    rows = [row for row in kept if (row["manifold"], row["n"]) not in again] + measured
    order = list(cells())
    rows.sort(key=lambda row: (order.index(row["manifold"]), row["n"]))
    clear = [row for row in rows if row["resolved"] >= 0.5]
    summary = {
        "cells": len(rows),
        "resolved_cells": len(clear),
        "resolved_cells_below_limit": [
            [row["manifold"], row["n"]] for row in clear if row["coverage_where_resolved"] < LIMIT
        ],
        "coverage_where_resolved": float(np.mean([row["coverage_where_resolved"] for row in clear]))
        if clear
        else None,
        "unresolved_cells_below_limit": [
            [row["manifold"], row["n"]]
            for row in rows
            if row["resolved"] < 0.5 and row["coverage"] < LIMIT
        ],
    }
    result = {
        "summary": summary,
        "limit": LIMIT,
        "rows": rows,
        "seeds": {"first": seeds.start, "a_cell": len(seeds)},
        "cpu_s": time.process_time() - start,
        "versions": record.versions(*PACKAGES),
        "machine": record.machine(),
    }
    record.write(result, options.out)
    for name, value in summary.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
