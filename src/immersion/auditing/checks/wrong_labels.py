"""Samples whose neighbours, in the early layers, agree on another label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from immersion.auditing.evidence import Evidence
from immersion.auditing.finding import Check, Finding, Outcome
from immersion.core.measurement import Measurement, percent, proportion
from immersion.measure.agreement import neighbor_votes


@dataclass(frozen=True, eq=False)
class Suspicion:
    """How much the neighbours speak against each label.

    Attributes:
        suggested: (n,) the other class with most votes.
        against: (n,) its share of the votes, averaged over the early layers.
        for_label: (n,) share of the votes for the sample's own label.
    """

    suggested: NDArray[np.int64]
    against: NDArray[np.float64]
    for_label: NDArray[np.float64]

    @property
    def score(self) -> NDArray[np.float64]:
        """(n,) votes for the best other class less votes for the label, from -1 to 1."""
        return self.against - self.for_label


def suspicion(evidence: Evidence) -> Suspicion | None:
    """The averaged votes of the early layers; None without labels."""
    if evidence.labels is None:
        return None
    return _split(_votes(evidence, evidence.labels), evidence.labels)


def wrong_labels(evidence: Evidence) -> Outcome:
    """Whether more samples are suspect than overlap of clean classes leaves.

    The null permutes all labels: how often would neighbours agree so far if labels had nothing to
    do with place? Where classes truly overlap, a suspect is ambiguous rather than wrong; the
    finding says so.
    """
    found = suspicion(evidence)
    if found is None or evidence.labels is None:
        return Outcome(Check("wrong_labels", "inapplicable", "unlabelled"))
    bound = evidence.thresholds.suspect_votes
    suspects = np.flatnonzero(found.against >= bound)
    suspects = suspects[np.argsort(-found.score[suspects], kind="stable")]
    share = _share(len(suspects), evidence, _permuted_share(evidence, bound))
    params = {
        "count": len(suspects),
        "n": f"{evidence.data.n:,}",
        "share": percent(share),
        "votes": f"{bound:.0%}",
        "layers": ", ".join(layer.name for layer in evidence.early),
        "expected": f"{evidence.thresholds.wrong_labels:.0%}",
    }
    if share.interval()[0] <= evidence.thresholds.wrong_labels:
        return Outcome(Check("wrong_labels", "clear", "clear", params))
    relabelled = evidence.labels.copy()
    relabelled[suspects] = found.suggested[suspects]
    before, after = (_disagreement(evidence, labels) for labels in (evidence.labels, relabelled))
    params["before"], params["after"] = f"{before:.1%}", f"{after:.1%}"
    finding = Finding(
        "wrong_labels",
        "high",
        None,
        params,
        {"suspect_share": share},
        evidence.user_rows(suspects),
    )
    return Outcome(Check("wrong_labels", "found", "found", params), (finding,))


def _split(votes: NDArray[np.float64], labels: NDArray[np.int64]) -> Suspicion:
    rows = np.arange(len(labels))
    others = votes.copy()
    others[rows, labels] = -1
    suggested = others.argmax(axis=1)
    return Suspicion(suggested, others[rows, suggested], votes[rows, labels])


def _votes(evidence: Evidence, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Votes under the given labels, averaged over the early layers."""
    classes = len(evidence.classes)
    return np.mean([neighbor_votes(e.neighbors, labels, classes) for e in evidence.early], axis=0)


def _permuted_share(evidence: Evidence, bound: float) -> Measurement:
    assert evidence.labels is not None
    labels = np.random.default_rng(0).permutation(evidence.labels)
    count = np.count_nonzero(_split(_votes(evidence, labels), labels).against >= bound)
    return _share(int(count), evidence, None, labels="permuted")


def _share(
    count: int, evidence: Evidence, null: Measurement | None, **settings: str
) -> Measurement:
    return proportion("suspect_share", count, evidence.data.n, settings, null)


def _disagreement(evidence: Evidence, labels: NDArray[np.int64]) -> float:
    """Mean share of early-layer neighbours with another label, under the labels given."""
    return float(1 - _votes(evidence, labels)[np.arange(len(labels)), labels].mean())
