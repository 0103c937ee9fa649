"""The manifold of the tutorial keeps the same laws as those of the package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from laws.case import Case

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/your_own_manifold.py"
if EXAMPLE.stem not in sys.modules:  # where pickle looks for the class
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[EXAMPLE.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[EXAMPLE.stem])
module = sys.modules[EXAMPLE.stem]

CASES = [
    # Points are of condition up to 1e2 or so, and inverses lose as many digits.
    Case("SpecialLinear(2)", module.SpecialLinear(2), order=1, conditioning=30),
    Case("SpecialLinear(3)", module.SpecialLinear(3), order=1, conditioning=30),
]
