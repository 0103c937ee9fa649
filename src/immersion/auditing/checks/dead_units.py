"""Units that never answer."""

from __future__ import annotations

from collections.abc import Sequence

from immersion.auditing.evidence import Evidence
from immersion.auditing.finding import Check, Finding, Outcome
from immersion.auditing.geometry import LayerGeometry
from immersion.core.measurement import Measurement


def dead_units(evidence: Evidence) -> Outcome:
    """Units that the layer itself holds constant over every sample and position.

    What is constant already in the layer's input is inherited and counted where it arose. A unit
    that stays silent on n samples answers on fewer than 3 / n of such data with 95% confidence
    (rule of three).
    """
    dead = [layer for layer in evidence.layers if len(layer.silenced)]
    n = evidence.data.n
    if not dead:
        params = {"layers": len(evidence.layers), "n": f"{n:,}"}
        return Outcome(Check("dead_units", "clear", "clear", params))
    bound = evidence.thresholds.dead_share
    many = [layer for layer in dead if len(layer.silenced) > bound * layer.units]
    few = [layer for layer in dead if layer not in many]
    findings = [_finding(layer, n, bound) for layer in many]
    findings.sort(key=lambda f: -f.evidence["dead_units"].value)
    # Single dead units here and there are one remark, not a finding a layer.
    findings += [_scattered(few, n)] if len(few) > 1 else [_finding(one, n, bound) for one in few]
    total = sum(len(layer.silenced) for layer in dead)
    check = Check("dead_units", "found", "found", {"dead": total, "layers": len(dead)})
    return Outcome(check, tuple(findings))


def _finding(layer: LayerGeometry, n: int, bound: float) -> Finding:
    share = len(layer.silenced) / layer.units
    units = tuple(layer.silenced.tolist())
    params = {
        "layer": layer.name,
        "dead": len(units),
        "units": layer.units,
        "share": f"{share:.1%}",
        "n": f"{n:,}",
        "rate": _rate(n),
        "some": _some(units),
    }
    severity = "high" if share >= 4 * bound else "medium" if share > bound else "info"
    measured = _measured(len(units), layer.units, n)
    return Finding("dead_units", severity, layer.name, params, measured, units=units)


def _scattered(layers: list[LayerGeometry], n: int) -> Finding:
    dead = sum(len(layer.silenced) for layer in layers)
    units = sum(layer.units for layer in layers)
    params = {
        "dead": dead,
        "layers": len(layers),
        "share": f"{dead / units:.1%}",
        "n": f"{n:,}",
        "rate": _rate(n),
        "some": _some([f"{layer.name} ({len(layer.silenced)})" for layer in layers]),
    }
    measured = _measured(dead, units, n)
    return Finding("dead_units", "info", None, params, measured, wording="scattered_dead_units")


def _measured(dead: int, units: int, n: int) -> dict[str, Measurement]:
    null = Measurement("dead_units", 0.0, 0.0, n, {"control": "every unit answers"})
    return {"dead_units": Measurement("dead_units", float(dead), 0.0, n, {"units": units}, null)}


def _rate(n: int) -> str:
    """Bound of the rate at which a unit that was silent n times answers, 95% confidence."""
    return f"{300 / n:.2g}%"


def _some(items: Sequence[object], most: int = 12) -> str:
    shown = ", ".join(map(str, items[:most]))
    return f"{shown} …" if len(items) > most else shown
