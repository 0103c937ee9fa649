"""Hidden layers that leave the data fewer directions than the task needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from immersion.auditing.evidence import Evidence
from immersion.auditing.finding import Check, Finding, Outcome, Param
from immersion.auditing.geometry import LayerGeometry
from immersion.core.measurement import Measurement, with_error
from immersion.report.catalog import text


def squeeze(evidence: Evidence) -> Outcome:
    """The narrowest hidden layer against what is needed.

    C class centres that are all equally far apart span C - 1 directions; without labels, an
    injective map of d-dimensional data needs at least d. Later layers may fill more directions
    again (a ReLU bends 4 dimensions into many), but the intrinsic dimension cannot recover, so it
    is named as evidence beside the rank.
    """
    need, why = _need(evidence)
    hidden = [layer for layer in evidence.hidden if layer.directions.decidable]
    if need is None or not hidden:
        return Outcome(Check("squeeze", "undecided", "undecided"))
    bound = evidence.thresholds.squeeze_share * need
    narrow = [h for h in hidden if h.directions.interval()[1] < bound]
    params: dict[str, Param] = {"need": f"{need:.0f}", "why": text(f"squeeze.need.{why}")}
    if not narrow:
        least = min(hidden, key=lambda h: h.directions.value)
        found = {**params, "layer": least.name, "directions": _shown(least.directions)}
        return Outcome(Check("squeeze", "clear", "clear", found))
    # Neighbouring layers of one bottleneck are one finding: the first is where it happens.
    groups: list[list[LayerGeometry]] = []
    for layer in narrow:
        position = hidden.index(layer)
        if groups and hidden.index(groups[-1][-1]) == position - 1:
            groups[-1].append(layer)
        else:
            groups.append([layer])
    findings = tuple(_finding(evidence, hidden, group, need, params) for group in groups)
    check = Check("squeeze", "found", "found", {**params, "layer": groups[0][0].name})
    return Outcome(check, findings)


def _need(evidence: Evidence) -> tuple[float | None, str]:
    if evidence.labels is not None and len(evidence.classes) > 2:
        return len(evidence.classes) - 1.0, "classes"
    if evidence.labels is None and evidence.input is not None and evidence.input.two_nn.decidable:
        return evidence.input.two_nn.value, "dimension"
    return None, ""


def _finding(
    evidence: Evidence,
    hidden: list[LayerGeometry],
    group: list[LayerGeometry],
    need: float,
    params: Mapping[str, Param],
) -> Finding:
    layer = group[0]
    place = hidden.index(layer)
    before = hidden[place - 1] if place else evidence.input
    after = hidden[hidden.index(group[-1]) + 1 :]
    needed = Measurement("linear_directions", need, 0.0, layer.directions.n, {"control": "needed"})
    measures = {
        "linear_directions": replace(layer.directions, null=needed),
        "two_nn": layer.two_nn,
    }
    if before is not None:
        measures["linear_directions_before"] = before.directions
        measures["two_nn_before"] = before.two_nn
    if after:
        highest = max(after, key=lambda h: h.two_nn.value)
        measures["two_nn_highest_after"] = highest.two_nn
    values: dict[str, Param] = {
        "layer": layer.name,
        "units": layer.units,
        "directions": _shown(layer.directions),
        "dimension": _shown(layer.two_nn),
        "before": before.name if before else "–",
        "dimension_before": with_error(before.two_nn.value, before.two_nn.stderr)
        if before
        else "–",
        "also": ", ".join(h.name for h in group[1:]) or "–",
    }
    return Finding("squeeze", "high", layer.name, {**params, **values}, measures)


def _shown(measured: Measurement) -> str:
    return with_error(measured.value, measured.stderr)
