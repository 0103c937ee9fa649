"""Many dead units in a layer are its own finding, single ones in several layers are one remark."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from immersion.auditing.finding import Finding
from immersion.auditing.run import audit

X = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)


def network(*dead: int) -> nn.Sequential:
    """Four dense layers of 100 GELU units, the first `dead[i]` of layer i dead."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, count in zip((8, 100, 100, 100), dead, strict=True):
        linear = nn.Linear(inputs, 100)
        with torch.no_grad():
            linear.weight[:count] = 0
        layers += [linear, nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(100, 3))


def found(*dead: int) -> list[Finding]:
    result = audit(network(*dead), (X, np.arange(120) % 3))
    assert result.metrics["findings.dead_units"] == len(
        [f for f in result.findings if f.id == "dead_units"]
    )
    return [finding for finding in result.findings if finding.id == "dead_units"]


def test_severity_follows_the_share() -> None:
    serious, medium = found(0, 30, 10, 0)
    assert (serious.layer, serious.severity, len(serious.units)) == ("2", "high", 30)
    assert (medium.layer, medium.severity, len(medium.units)) == ("4", "medium", 10)


def test_single_ones_are_one_remark() -> None:
    many, remark = found(1, 2, 40, 3)
    assert many.layer == "4"
    assert remark.severity == "info"
    assert remark.layer is None
    assert remark.evidence["dead_units"].value == 6
    for name in ("0 (1)", "2 (2)", "6 (3)"):
        assert name in remark.body.en
        assert name in remark.body.zh


def test_one_layer_with_a_single_one_is_named() -> None:
    (finding,) = found(0, 0, 1, 0)
    assert finding.layer == "4"
    assert finding.units == (0,)


def test_none() -> None:
    assert found(0, 0, 0, 0) == []
