"""The numbers of an audit by name: what gates compare and what they may name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from immersion.auditing.geometry import LayerGeometry

if TYPE_CHECKING:
    from immersion.auditing.finding import Check, Finding
    from immersion.core.measurement import Measurement

SEVERITIES = ("high", "medium", "info")
CHECK_IDS = (
    "wrong_labels",
    "squeeze",
    "tangled_classes",
    "dead_units",
    "off_data_sensitivity",
)
_OF_LAYER = (
    "two_nn",
    "mle_dimension",
    "participation_ratio",
    "linear_directions",
    "dead_units",
)


def metric_names(layers: Sequence[str], *, labelled: bool) -> list[str]:
    """Every metric that an audit of these layers has."""
    names = ["findings", *(f"findings.{severity}" for severity in SEVERITIES)]
    names += [f"findings.{check}" for check in CHECK_IDS]
    if labelled:
        names.append("accuracy")
    of_layer = (*_OF_LAYER, "label_disagreement") if labelled else _OF_LAYER
    return [*names, *(f"{layer}.{name}" for layer in layers for name in of_layer)]


def metric_values(
    findings: Sequence[Finding],
    checks: Sequence[Check],
    accuracy: Measurement | None,
    layers: Sequence[LayerGeometry],
    *,
    labelled: bool,
) -> dict[str, float]:
    """The value of every metric; NaN where it was not decidable."""
    values = {"findings": float(len(findings))}
    for severity in SEVERITIES:
        values[f"findings.{severity}"] = float(sum(f.severity == severity for f in findings))
    for check in checks:
        values[f"findings.{check.id}"] = float(sum(f.id == check.id for f in findings))
    if labelled:
        values["accuracy"] = accuracy.value if accuracy else math.nan
    for layer in layers:
        measured = (
            layer.two_nn.value,
            layer.mle.value,
            layer.participation.value,
            layer.directions.value,
            float(len(layer.silenced)),
        )
        for name, value in zip(_OF_LAYER, measured, strict=True):
            values[f"{layer.name}.{name}"] = value
        if labelled and layer.agreement is not None:
            values[f"{layer.name}.label_disagreement"] = layer.agreement.disagreement.value
    return values
