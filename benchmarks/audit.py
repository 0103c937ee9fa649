"""The whole command as a user runs it: seconds, memory and size of the report.

Measures `immersion audit` (bundled network, 5,000 digits, all layers) and `immersion --help` as
processes of their own, prints a table and writes `benchmarks/results/audit.json`. Quality stands
beside speed: accuracy, layers measured, findings. Peers: none audits a model from one command.

    python benchmarks/audit.py [--runs 3]
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

import record

LIMITS = {"audit_s": 60.0, "audit_mb": 1500.0, "report_mb": 1.5, "help_s": 0.4}


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak megabytes of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command} exited with {process.returncode}")
    # Linux counts kilobytes, macOS bytes.
    unit = 1e3 if sys.platform == "linux" else 1e6
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    immersion = [sys.executable, "-m", "immersion"]
    with tempfile.TemporaryDirectory() as folder:
        audit = [*immersion, "audit", "--quiet", "--out", folder]
        # The first run compiles kernels and fills caches; it is reported on its own.
        first = measured(audit)
        audits = [measured(audit) for _ in range(runs)]
        report = json.loads((Path(folder) / "report.json").read_text())
        size = (Path(folder) / "report.html").stat().st_size / 1e6
    helps = [measured([*immersion, "--help"]) for _ in range(max(5, runs))]
    medians = {
        "audit_s": statistics.median(run[0] for run in audits),
        "audit_cpu_s": statistics.median(run[1] for run in audits),
        "audit_mb": max(run[2] for run in audits),
        "first_audit_s": first[0],
        "report_mb": size,
        "help_s": statistics.median(run[0] for run in helps),
    }
    result = {
        "measured": {name: round(value, 3) for name, value in medians.items()},
        "limits": LIMITS,
        "runs": runs,
        "all_audit_s": [round(run[0], 2) for run in audits],
        "quality": {
            "accuracy": report["accuracy"]["value"],
            "accuracy_stderr": report["accuracy"]["stderr"],
            "layers": len(report["layers"]),
            "samples": report["data"]["samples"],
            "findings": [finding["id"] for finding in report["findings"]],
        },
        "seed": report["settings"]["seed"],
        "versions": report["versions"],
        "machine": record.machine(),
    }
    target = record.RESULTS / "audit.json"
    record.write(result, target)
    for name, value in medians.items():
        limit = f"  (limit {LIMITS[name]:g})" if name in LIMITS else ""
        print(f"{name:14} {value:9.3f}{limit}")
    print(f"written to {target.name}")


if __name__ == "__main__":
    main()
