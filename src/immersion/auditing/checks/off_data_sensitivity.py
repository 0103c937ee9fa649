"""Predictions that change under small steps off the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from immersion.auditing.evidence import Evidence
from immersion.auditing.finding import Check, Finding, Outcome
from immersion.core.measurement import Measurement, percent, with_error

_MOST_SAMPLES = 64
_FIT_FACTOR = 3
"""Tangent spaces must hold this many times the chance share of a held-out neighbour step."""


def off_data_sensitivity(evidence: Evidence) -> Outcome:
    """Flips along the steepest normal against those along the data and along random normals."""
    measured = evidence.sensitivity
    if measured is None:
        verdict = "undecided" if evidence.no_sensitivity == "failed" else "inapplicable"
        return Outcome(Check("off_data_sensitivity", verdict, evidence.no_sensitivity))
    off, on, random = measured.flipped_off, measured.flipped_on, measured.flipped_random
    params = {
        "off": percent(off),
        "on": percent(on),
        "random": percent(random),
        "reach": f"{measured.flipped_off.settings['reach']:.0%}",
        "n": off.n,
        "dim": str(off.settings["dim"]),
        "width": str(off.settings["D"]),
        "ratio": with_error(measured.ratio.value, measured.ratio.stderr),
        "chance": _null(measured.ratio),
        "fit": percent(measured.tangent_fit),
        "step": with_error(measured.step_off.value, measured.step_off.stderr),
    }
    chance = measured.tangent_fit.null
    if chance is not None and measured.tangent_fit.interval()[0] < _FIT_FACTOR * chance.value:
        return Outcome(Check("off_data_sensitivity", "undecided", "no_tangents", params))
    above_controls = off.interval()[0] > max(on.interval()[1], random.interval()[1])
    if off.interval()[0] <= evidence.thresholds.flips or not above_controls:
        return Outcome(Check("off_data_sensitivity", "clear", "clear", params))
    fragile = measured.rows[np.argsort(measured.fragility, kind="stable")]
    reached = np.count_nonzero(np.isfinite(measured.fragility))
    finding = Finding(
        "off_data_sensitivity",
        "medium",
        None,
        params,
        {
            "flipped_off": replace(off, null=random),
            "flipped_on": on,
            "flipped_random": random,
            "step_off": measured.step_off,
            "off_on_ratio": measured.ratio,
            "tangent_fit": measured.tangent_fit,
        },
        evidence.user_rows(fragile[: min(_MOST_SAMPLES, reached)]),
    )
    return Outcome(Check("off_data_sensitivity", "found", "found", params), (finding,))


def _null(measured: Measurement) -> str:
    null = measured.null
    return "–" if null is None else with_error(null.value, null.stderr)
