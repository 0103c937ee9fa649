"""Pairs of classes that still mix where the network should have parted them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from immersion.auditing.evidence import Evidence
from immersion.auditing.finding import Check, Finding, Outcome
from immersion.auditing.geometry import LayerGeometry
from immersion.core.measurement import Measurement, with_error

_PAIRS = 5


def tangled_classes(evidence: Evidence) -> Outcome:
    """Share of a class's neighbours that belong to another class, in the last hidden layer.

    The null is the share under permuted labels: the other class's frequency.
    """
    if evidence.labels is None:
        return Outcome(Check("tangled_classes", "inapplicable", "unlabelled"))
    layer = (evidence.hidden or evidence.layers)[-1]
    agreement = layer.agreement
    assert agreement is not None
    labels = evidence.labels
    lower = agreement.mixing - 1.96 * agreement.mixing_stderr
    np.fill_diagonal(lower, -1)
    order = np.argsort(np.nan_to_num(lower, nan=-1), axis=None)[::-1]
    pairs = [(a, b) for a, b in (divmod(int(flat), len(lower)) for flat in order) if a != b]
    tangled = [(a, b) for a, b in pairs if lower[a, b] > evidence.thresholds.tangle]
    if not tangled:
        a, b = max(pairs, key=lambda pair: np.nan_to_num(agreement.mixing[pair], nan=-1))
        closest = {
            "layer": layer.name,
            "a": evidence.classes[a],
            "b": evidence.classes[b],
            "share": _percent(_pair(evidence, layer, a, b)),
        }
        return Outcome(Check("tangled_classes", "clear", "clear", closest))
    findings: list[Finding] = []
    for a, b in tangled[:_PAIRS]:
        here = _pair(evidence, layer, a, b)
        votes = agreement.votes[:, b]
        rows = np.flatnonzero((labels == a) & (votes > 0.5))
        rows = rows[np.argsort(-votes[rows], kind="stable")]
        first = evidence.everywhere[0]
        measures = {"mixing": here, "mixing_first": _pair(evidence, first, a, b)}
        params = {
            "a": evidence.classes[a],
            "b": evidence.classes[b],
            "layer": layer.name,
            "share": _percent(here),
            "first": first.name,
            "share_first": _percent(measures["mixing_first"]),
            "chance": f"{here.null.value:.1%}" if here.null else "–",
            "samples": len(rows),
        }
        severity = "high" if here.value > 4 * evidence.thresholds.tangle else "medium"
        findings.append(
            Finding(
                "tangled_classes", severity, layer.name, params, measures, evidence.user_rows(rows)
            )
        )
    check = Check("tangled_classes", "found", "found", {"pairs": len(tangled), "layer": layer.name})
    return Outcome(check, tuple(findings))


def _pair(evidence: Evidence, layer: LayerGeometry, a: int, b: int) -> Measurement:
    agreement, labels = layer.agreement, evidence.labels
    assert agreement is not None and labels is not None
    members = int(np.count_nonzero(labels == a))
    settings = {**agreement.disagreement.settings, "layer": layer.name}
    measured = Measurement(
        "mixing",
        float(agreement.mixing[a, b]),
        float(agreement.mixing_stderr[a, b]),
        members,
        settings,
    )
    chance = float(np.count_nonzero(labels == b)) / len(labels)
    return replace(
        measured, null=Measurement("mixing", chance, 0.0, len(labels), {"labels": "permuted"})
    )


def _percent(share: Measurement) -> str:
    return with_error(100 * share.value, 100 * share.stderr) + "%"
