"""Pairs of classes that still mix where the network should have parted them."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from immersion.auditing.evidence import Evidence
from immersion.auditing.finding import Check, Finding, Outcome
from immersion.auditing.geometry import LayerGeometry
from immersion.core.measurement import Measurement, percent

_PAIRS = 5
_FEWEST = 10
"""Samples below which the standard error of a class's votes means nothing."""


def tangled_classes(evidence: Evidence) -> Outcome:
    """Share of a class's neighbours that belong to another class, in the last hidden layer.

    The null is the share under permuted labels: the other class's frequency.
    """
    if evidence.labels is None:
        return Outcome(Check("tangled_classes", "inapplicable", "unlabelled"))
    layer = (evidence.hidden or evidence.layers)[-1]
    pairs = _closest_first(layer, np.bincount(evidence.labels, minlength=len(evidence.classes)))
    if not pairs:
        return Outcome(Check("tangled_classes", "undecided", "undecided", {"layer": layer.name}))
    tangled = [pair for pair in pairs if pair[2] > evidence.thresholds.tangle]
    if tangled:
        found = {"pairs": len(tangled), "layer": layer.name}
        findings = tuple(_finding(evidence, layer, a, b) for a, b, _ in tangled[:_PAIRS])
        return Outcome(Check("tangled_classes", "found", "found", found), findings)
    assert layer.agreement is not None
    mixing = layer.agreement.mixing
    # The pair that mixes most; the order above is by how sure that is.
    a, b, _ = max(pairs, key=lambda pair: float(mixing[pair[0], pair[1]]))
    closest = {
        "layer": layer.name,
        "a": evidence.classes[a],
        "b": evidence.classes[b],
        "share": percent(_pair(evidence, layer, a, b)),
    }
    return Outcome(Check("tangled_classes", "clear", "clear", closest))


def _closest_first(
    layer: LayerGeometry, counts: NDArray[np.integer]
) -> list[tuple[int, int, float]]:
    """Pairs (a, b, lower end of the share of b among a's neighbours), each two classes once.

    Of the two directions the one that mixes more is kept. The interval is widened for the number
    of directions looked at (Bonferroni), so that with many classes none passes by chance.
    """
    assert layer.agreement is not None
    classes = [int(c) for c in np.flatnonzero(counts >= _FEWEST)]
    directions = max(1, len(classes) * (len(classes) - 1))
    z = NormalDist().inv_cdf(1 - 0.025 / directions)
    lower = layer.agreement.mixing - z * layer.agreement.mixing_stderr
    ordered = [
        (a, b, float(lower[a, b]))
        for a in classes
        for b in classes
        if a != b and np.isfinite(lower[a, b]) and not lower[b, a] > lower[a, b]
    ]
    once = {frozenset((a, b)): (a, b, low) for a, b, low in reversed(ordered)}
    return sorted(once.values(), key=lambda pair: (-pair[2], pair[0], pair[1]))


def _finding(evidence: Evidence, layer: LayerGeometry, a: int, b: int) -> Finding:
    agreement, labels = layer.agreement, evidence.labels
    assert agreement is not None and labels is not None
    here, back = _pair(evidence, layer, a, b), _pair(evidence, layer, b, a)
    first = evidence.everywhere[0]
    before = _pair(evidence, first, a, b)
    # Samples of either class that have mostly the other one around them, most of it first.
    others = np.where(labels == a, b, np.where(labels == b, a, -1))
    against = np.where(others >= 0, agreement.votes[np.arange(len(labels)), others], 0)
    rows = np.flatnonzero(against > 0.5)
    rows = rows[np.argsort(-against[rows], kind="stable")]
    params = {
        "a": evidence.classes[a],
        "b": evidence.classes[b],
        "layer": layer.name,
        "share": percent(here),
        "back": percent(back),
        "first": first.name,
        "share_first": percent(before),
        "chance": f"{here.null.value:.1%}" if here.null else "–",
        "samples": len(rows),
    }
    return Finding(
        "tangled_classes",
        "high" if here.value > 4 * evidence.thresholds.tangle else "medium",
        layer.name,
        params,
        {"mixing": here, "mixing_back": back, "mixing_first": before},
        evidence.user_rows(rows),
    )


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
