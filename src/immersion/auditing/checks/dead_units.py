"""Units that never answer."""

from __future__ import annotations

import math

from immersion.auditing.evidence import Evidence
from immersion.auditing.finding import Check, Finding, Outcome
from immersion.core.measurement import Measurement


def dead_units(evidence: Evidence) -> Outcome:
    """Units that the layer itself holds constant over every sample and position.

    What is constant already in the layer's input is inherited and counted where it arose. A unit
    that stays silent on n samples answers on fewer than 3 / n of such data with 95% confidence
    (rule of three).
    """
    n = evidence.data.n
    rate = 3 / n
    findings: list[Finding] = []
    for layer in evidence.layers:
        dead = len(layer.silenced)
        if not dead:
            continue
        share = dead / layer.units
        bound = evidence.thresholds.dead_share
        severity = "high" if share >= 4 * bound else "medium" if share > bound else "info"
        null = Measurement("dead_units", 0.0, 0.0, n, {"control": "every unit answers"})
        measured = Measurement("dead_units", float(dead), 0.0, n, {"units": layer.units}, null)
        findings.append(
            Finding(
                "dead_units",
                severity,
                layer.name,
                {
                    "layer": layer.name,
                    "dead": dead,
                    "units": layer.units,
                    "share": f"{share:.1%}",
                    "n": f"{n:,}",
                    "rate": f"{100 * rate:.2g}%",
                    "some": _some(layer.silenced.tolist()),
                },
                {"dead_units": measured},
                units=tuple(layer.silenced.tolist()),
            )
        )
    findings.sort(key=lambda f: -f.evidence["dead_units"].value)
    layers = len(evidence.layers)
    if not findings:
        return Outcome(Check("dead_units", "clear", "clear", {"layers": layers, "n": f"{n:,}"}))
    total = int(math.fsum(f.evidence["dead_units"].value for f in findings))
    check = Check("dead_units", "found", "found", {"dead": total, "layers": len(findings)})
    return Outcome(check, tuple(findings))


def _some(indices: list[int], most: int = 12) -> str:
    shown = ", ".join(map(str, indices[:most]))
    return f"{shown} …" if len(indices) > most else shown
