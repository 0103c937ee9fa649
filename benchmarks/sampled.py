"""Sampled manifolds against scikit-learn, scipy, scikit-dimension, DADApy, faiss and pynndescent.

Runs the benchmark of each part in turn, one process each, and prints one table: cost here and
there, ratio, the quality reached, and the target. What each part measures, and how, its own file
says; all results lie in `benchmarks/results`, the table in `sampled.json`.

    pip install -r benchmarks/requirements-sampled.txt
    python benchmarks/sampled.py --data mnist.npz [--only paths] [--collect]

`--collect` runs nothing and makes the table from the results that are there. DADApy 0.3.4 wants
numpy below 2, so the job "dimension" runs under the interpreter given by `--dimension-python`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import record

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """One comparison: cost in the unit named, and whether cost and quality reach the target."""

    job: str
    unit: str
    ours: float
    peer: str
    theirs: float
    ratio: float
    target: float
    quality: str
    met: bool


def paths_rows(result: dict[str, Any]) -> Iterator[Row]:
    measured, limits = result["measured"], result["limits"]
    right = measured["error"] <= limits["error_at_most"]
    quality = f"relative error {measured['error']:.1g}"
    what = f"all shortest paths, n = {result['graph']['points']}"
    ratio, target = measured["cpu_ratio"], limits["cpu_ratio_at_least"]
    ours, theirs = measured["immersion_cpu_s"], measured["scipy_cpu_s"]
    yield Row(what, "CPU s", ours, "scipy", theirs, ratio, target, quality,
              right and ratio >= target)  # fmt: skip
    ratio, target = 1 / measured["memory_ratio"], 1 / limits["memory_ratio_at_most"]
    ours, theirs = measured["immersion_mb"], measured["scipy_mb"]
    yield Row(what, "MB", ours, "scipy", theirs, ratio, target, quality, right and ratio >= target)
    right = measured["pieces_error"] <= limits["error_at_most"]
    quality = f"relative error {measured['pieces_error']:.1g}"
    ratio, ours = 1 / measured["pieces_memory_ratio"], measured["pieces_mb"]
    yield Row("the same rows in pieces", "MB", ours, "scipy", theirs, ratio, target, quality,
              right and ratio >= target)  # fmt: skip


def quality_rows(result: dict[str, Any]) -> Iterator[Row]:
    found, limits = result["against_scikit_learn"], result["limits"]
    met = found["ratio"] >= limits["ratio"] and found["difference"] <= limits["difference"]
    yield Row(
        f"trustworthiness and continuity, n = {result['points']['n']}", "CPU s",
        found["ours_cpu_s"], "scikit-learn, the first only", found["peer_cpu_s"],
        found["ratio"], limits["ratio"], f"difference {found['difference']:.1g}", met,
    )  # fmt: skip


def dimension_rows(result: dict[str, Any]) -> Iterator[Row]:
    found, limits = result["compared"], result["limits"]
    costs = found["total_cpu_s"]
    differences = [
        value
        for peer in ("the_formula", "scikit_dimension", "dadapy")
        for value in found[f"difference_from_{peer}"].values()
    ]
    target = limits["cpu_ratio_at_least"]
    met = found["cpu_ratio"] >= target and max(differences) <= limits["difference_at_most"]
    yield Row(
        f"one graph, five dimensions, n = {result['points']['n']}", "CPU s", costs["immersion"],
        "scikit-dimension", costs["scikit-dimension"], found["cpu_ratio"], target,
        f"relative difference {max(differences):.1g}", met,
    )  # fmt: skip
    yield Row(
        f"the same, DADApy's distances and two, n = {result['points']['n']}", "CPU s",
        costs["immersion"], "DADApy", costs["dadapy"], costs["dadapy"] / costs["immersion"], 1.0,
        f"relative difference {max(found['difference_from_dadapy'].values()):.1g}",
        costs["dadapy"] >= costs["immersion"],
    )  # fmt: skip


def graph_rows(result: dict[str, Any]) -> Iterator[Row]:
    limits = result["limits"]
    for n, found in result["results"].items():
        ours, peer = found["ivf"], found["faiss"]
        quality = f"recall {ours['recall']:.4f}, {peer['recall']:.4f}; {ours['peak_gb']:.2f} GB"
        # Up to some ten thousand points the exact search is the one to use.
        target = 1 / limits["time_ratio_at_most"]
        ratio = 1 / ours["time_ratio"]
        met = (
            ratio >= target
            and ours["recall"] >= limits["recall_at_least"]
            and ours["peak_gb"] <= limits["peak_gb_at_most"]
        )
        yield Row(f"approximate graph, n = {n}", "CPU s", ours["cpu_s"], "faiss IVF",
                  ours["cpu_s"] / ours["time_ratio"], ratio, target, quality, met)  # fmt: skip


def laplacian_rows(result: dict[str, Any]) -> Iterator[Row]:
    for size in result["sizes"]:
        ours = size["solvers"]["immersion"]
        for peer, ratio in size["cpu_ratio_to"].items():
            quality = f"residual {ours['relative_residual']:.1g}, "
            quality += f"{size['solvers'][peer]['relative_residual']:.1g}"
            met = ours["relative_residual"] <= result["limits"]["relative_residual_at_most"]
            yield Row(
                f"10 eigenvectors, {size['data']}, n = {size['graph']['points']}", "CPU s",
                ours["cpu_s"], peer, size["solvers"][peer]["cpu_s"], ratio, 1.0, quality,
                met and ratio >= 1,
            )  # fmt: skip


JOBS: dict[str, tuple[str, Callable[[dict[str, Any]], Iterator[Row]]]] = {
    "paths": ("shortest_paths", paths_rows),
    "quality": ("map_quality", quality_rows),
    "dimension": ("dimension", dimension_rows),
    "graph": ("neighbor_graph", graph_rows),
    "laplacian": ("laplacian", laplacian_rows),
}


def run(script: str, python: str, data: str | None) -> None:
    """One benchmark in a process of its own; what it prints is seen."""
    given = ["--data", data] if data and script != "neighbor_graph" else []
    print(f"== {script}", flush=True)
    subprocess.run([python, str(HERE / f"{script}.py"), *given], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="mnist.npz")
    parser.add_argument("--only", choices=JOBS, help="run this job alone")
    parser.add_argument("--collect", action="store_true", help="run nothing")
    parser.add_argument("--dimension-python", default=sys.executable)
    asked = parser.parse_args()
    rows: list[Row] = []
    for name, (script, read) in JOBS.items():
        if not asked.collect and asked.only in (None, name):
            run(script, asked.dimension_python if name == "dimension" else sys.executable,
                asked.data)  # fmt: skip
        rows += read(json.loads((record.RESULTS / f"{script}.json").read_text()))
    print(f"{'job':<54}{'ours':>8} {'':<6}{'peer':>9}  {'':<30}{'ratio':>6}{'target':>7}")
    for row in rows:
        verdict = "met" if row.met else "NOT MET"
        print(
            f"{row.job:<54}{row.ours:>8.3g} {row.unit:<6}{row.theirs:>9.3g}  {row.peer:<30}"
            f"{row.ratio:>6.3g}{row.target:>7.3g}  {verdict:<8}{row.quality}"
        )
    target = record.RESULTS / "sampled.json"
    record.write({"rows": [asdict(row) for row in rows]}, target)
    print(f"{sum(row.met for row in rows)} of {len(rows)} targets met; written to {target.name}")


if __name__ == "__main__":
    main()
