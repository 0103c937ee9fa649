"""What every result of a benchmark says of its circumstances, and how it is written."""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def write(result: dict[str, Any], target: Path) -> None:
    """Write a result as JSON, whole or not at all."""
    target.parent.mkdir(exist_ok=True)
    half = target.with_name(f"{target.name}.{os.getpid()}")
    half.write_text(json.dumps(result, indent=2) + "\n")
    half.replace(target)


def machine() -> dict[str, Any]:
    """Cores, and the name of the processor where the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"cores": os.cpu_count(), "cpu": names[0] if names else platform.processor()}


def versions(*packages: str) -> dict[str, str]:
    """Versions of python, of immersion, also where it only is on the path, and of those present."""
    import immersion

    found = {"python": platform.python_version(), "immersion": immersion.__version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def peak_bytes() -> int:
    """Largest resident size of this process so far.

    On Linux from the status file: what the system reports of resources starts from the size of the
    process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    # macOS counts in bytes, other systems in KiB.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
