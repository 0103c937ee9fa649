"""Faults that were planted are found, each where it is; without them none of these is raised."""

from __future__ import annotations

import numpy as np

from auditing.planted import BOTTLENECK, DEAD_UNITS, Planted
from immersion.auditing.finding import Finding
from immersion.auditing.result import Audit


def of(audit: Audit, id: str) -> list[Finding]:
    return [finding for finding in audit.findings if finding.id == id]


def test_dead_units_are_found_where_they_are(faulty_audit: Audit) -> None:
    (finding,) = of(faulty_audit, "dead_units")
    assert finding.layer == "fc1"
    assert finding.units == tuple(range(DEAD_UNITS))
    assert finding.severity == "medium"


def test_the_bottleneck_is_found_once_where_it_is(faulty_audit: Audit) -> None:
    (finding,) = of(faulty_audit, "squeeze")
    assert finding.layer == "narrow"
    assert finding.severity == "high"
    assert finding.evidence["linear_directions"].value == BOTTLENECK
    before, here = (finding.evidence[name] for name in ("two_nn_before", "two_nn"))
    assert here.interval()[1] < before.interval()[0]
    assert here.null is not None


def test_wrong_labels_are_found_and_named(faulty_audit: Audit, planted: Planted) -> None:
    (finding,) = of(faulty_audit, "wrong_labels")
    named = np.array(finding.samples)
    caught = planted.wrong[named]
    # Measured: 80 +- 2.5% of 252 suspects are wrong, 81 +- 2.5% of 250 wrong labels are suspects.
    assert caught.mean() > 0.8
    assert caught.sum() > 0.7 * planted.wrong.sum()
    # The worst come first.
    assert caught[: len(caught) // 4].mean() > 0.95
    share = finding.evidence["suspect_share"]
    assert share.null is not None
    assert share.interval()[0] > share.null.interval()[1]


def test_the_sound_network_raises_none_of_them(sound_audit: Audit) -> None:
    verdicts = {check.id: check.verdict for check in sound_audit.checks}
    for id in ("dead_units", "squeeze", "wrong_labels", "tangled_classes"):
        assert of(sound_audit, id) == []
        assert verdicts[id] == "clear"


def test_sentences_are_filled_in_both_languages(faulty_audit: Audit) -> None:
    for finding in faulty_audit.findings:
        for part in (finding.title, finding.body, finding.action):
            for words in (part.en, part.zh):
                assert words
                assert "{" not in words
    for check in faulty_audit.checks:
        assert check.says.en != check.says.zh
