"""All cases of all `cases_*.py` files of this folder, and those of each type."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from immersion.core.metric import CurvedManifold, GeodesicManifold
from laws.case import Case

CASES: list[Case] = [
    case
    for path in sorted(Path(__file__).parent.glob("cases_*.py"))
    for case in importlib.import_module(f"laws.{path.stem}").CASES
]
assert len({case.name for case in CASES}) == len(CASES), "two cases share a name"


def _named(cases: list[Case]) -> list[object]:
    return [pytest.param(case, id=case.name) for case in cases]


every = pytest.mark.parametrize("case", _named(CASES))
geodesic = pytest.mark.parametrize(
    "case", _named([case for case in CASES if isinstance(case.manifold, GeodesicManifold)])
)
curved = pytest.mark.parametrize(
    "case", _named([case for case in CASES if isinstance(case.manifold, CurvedManifold)])
)
second_order = pytest.mark.parametrize("case", _named([case for case in CASES if case.order == 2]))
precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
