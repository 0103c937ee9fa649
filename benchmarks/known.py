"""Known manifolds and their optimisers against geoopt, geomstats and pymanopt, one thread.

Prints a table (time, ratio, quality of both) and writes `benchmarks/results/known.json`. Every
repetition runs both sides in turn in this one process; what is reported is the median of the
ratios, with quartiles. A ratio counts as reached only with a result that is no worse than the
peer's; where the loss falls differently, times are compared at equal loss.

    pip install -r benchmarks/requirements-known.txt
    python benchmarks/known.py [--repeats 7] [--only Stiefel] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

# Read by the libraries when they are imported.
os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
)
os.environ["GEOMSTATS_BACKEND"] = "numpy"

import record
import torch
from known_jobs.paired import Job, Measured, in_turn

PACKAGES = ("torch", "numpy", "scipy", "geoopt", "geomstats", "pymanopt")


def all_jobs(seed: int) -> list[Job]:
    """Every comparison; needs the peers."""
    try:
        from known_jobs.geometry import geometry_jobs
        from known_jobs.optimisers import adam_jobs
        from known_jobs.solvers import solver_jobs
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"{error.name} is missing: pip install -r benchmarks/requirements-known.txt"
        ) from error
    return [*adam_jobs(seed), *geometry_jobs(seed), *solver_jobs(seed)]


def row(measured: Measured) -> str:
    """One line of the table, and one for the quality."""
    job = measured.job
    times = [statistics.median(run.ms for run in runs) for runs in (measured.ours, measured.peer)]
    ratio = statistics.median(measured.ratios)
    verdict = "met" if measured.met else "NOT MET"
    name = job.judged_by
    good = [runs[0].quality[name] for runs in (measured.ours, measured.peer)]
    return (
        f"{job.name:<46}{times[0]:>10.4g}{times[1]:>10.4g}{ratio:>9.3g}{job.target:>8.3g}  "
        f"{verdict:<8}{name}: {good[0]:.2g}, {good[1]:.2g}" + losses(measured)
    )


def losses(measured: Measured) -> str:
    """The last losses, for jobs that have them."""
    mine, other = measured.ours[0], measured.peer[0]
    return f"; loss: {mine.curve[-1]:.6g}, {other.curve[-1]:.6g}" if mine.curve else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="pairs of runs that count")
    parser.add_argument("--only", default="", help="run the jobs whose name contains this")
    parser.add_argument("--seed", type=int, default=0)
    target = record.RESULTS / "known.json"
    parser.add_argument("--out", type=Path, default=target)
    options = parser.parse_args()
    torch.set_num_threads(1)
    jobs = [job for job in all_jobs(options.seed) if options.only in job.name]
    print(f"{'job':<46}{'ours ms':>10}{'peer ms':>10}{'ratio':>9}{'target':>8}  {'':<8}ours, peer")
    results: list[dict[str, Any]] = []
    for job in jobs:
        measured = in_turn(job, options.repeats)
        results.append(measured.to_dict())
        print(row(measured), flush=True)
    result = {
        "jobs": results,
        "repeats": options.repeats,
        "threads": torch.get_num_threads(),
        "seed": options.seed,
        "versions": record.versions(*PACKAGES),
        "machine": record.machine(),
    }
    record.write(result, options.out)
    reached = sum(one["met"] for one in results)
    print(f"{reached} of {len(results)} targets met; written to {options.out.name}")


if __name__ == "__main__":
    main()
