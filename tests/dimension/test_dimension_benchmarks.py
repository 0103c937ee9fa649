"""The benchmarks of dimensions run, and reach their limits on small data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(script: str, out: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(BENCHMARKS / script), *arguments, "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return json.loads(out.read_text())


def test_every_estimator_is_its_formula(tmp_path: Path) -> None:
    found = run("dimension.py", tmp_path / "found.json", "--quick")
    differences = found["compared"]["difference_from_the_formula"]
    scales = {f"gride_{2**power}" for power in range(1, 7)}
    assert differences.keys() == {"mle", "two_nn", "local_pca", "correlation", *scales}
    # Distances are float32 in the graph, and float64 in the formula of the correlation dimension.
    assert max(differences.values()) < 1e-5
    assert found["growth"][0]["n"] == 2000
    low, high = found["growth"][0]["interval"]
    assert low < 8 < high
    assert {"python", "immersion", "numpy", "torch"} <= found["versions"].keys()
    assert found["machine"]["cores"] >= 1


def test_coverage_is_counted_by_cell(tmp_path: Path) -> None:
    arguments = ["--seeds", "3", "--points", "400", "--only", "sphere 3", "coils 16"]
    found = run("dimension_coverage.py", tmp_path / "found.json", *arguments)
    rows = {row["manifold"]: row for row in found["rows"]}
    assert rows["sphere 3"]["coverage"] == rows["sphere 3"]["resolved"] == 1
    # Strongly bent, and said to be beyond what 400 points resolve.
    assert rows["coils 16"]["coverage"] == rows["coils 16"]["resolved"] == 0
    assert rows["coils 16"]["coverage_where_resolved"] is None
    assert found["summary"]["resolved_cells"] == 1
    assert found["summary"]["unresolved_cells_below_limit"] == [["coils 16", 400]]
