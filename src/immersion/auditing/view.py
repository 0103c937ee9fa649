"""From the audit to what its page shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from immersion.auditing.checks.wrong_labels import suspicion
from immersion.auditing.evidence import Evidence
from immersion.auditing.finding import Check, Finding
from immersion.auditing.geometry import LayerGeometry
from immersion.core.measurement import Measurement, percent, with_error
from immersion.core.reason import Reason
from immersion.report.catalog import text
from immersion.report.sprite import thumbnails
from immersion.report.view import (
    CheckView,
    CurveView,
    Fact,
    FindingView,
    LayerMap,
    ReportView,
    Series,
    Suspect,
    Text,
    Thumbnails,
)

_MOST_SUSPECTS = 200
_MOST_CLASS_CURVES = 20
_MAP_BYTES = 14e6
"""Of all maps together; browsers open pages of 20 MB without trouble."""
_POINT_BYTES = 5.2
"""Of one point of one map in the page, compressed and in base64."""
_MOST_LISTED = 8
"""Layers named one by one in the notes; more are counted."""


@dataclass(frozen=True)
class SuspectSample:
    """A sample whose early neighbours mostly carry one other label; classes by name."""

    row: int
    sample: int
    label: int
    suggested: int
    names: tuple[str, str]
    votes_for: float
    votes_against: float

    def to_dict(self) -> dict[str, object]:
        """JSON-ready dictionary."""
        return {
            "sample": self.sample,
            "label": self.names[0],
            "suggested": self.names[1],
            "votes_for_label": round(self.votes_for, 6),
            "votes_for_suggested": round(self.votes_against, 6),
        }


def suspects(evidence: Evidence, most: int = _MOST_SUSPECTS) -> tuple[SuspectSample, ...]:
    """Samples against whose label at least half of the early neighbours vote, worst first."""
    found = suspicion(evidence)
    if found is None or evidence.labels is None:
        return ()
    rows = np.flatnonzero(found.against >= 0.5)
    rows = rows[np.argsort(-found.score[rows], kind="stable")][:most]
    labels = evidence.labels
    return tuple(
        SuspectSample(
            int(row),
            int(evidence.data.rows[row]),
            int(labels[row]),
            int(found.suggested[row]),
            (evidence.classes[labels[row]], evidence.classes[found.suggested[row]]),
            float(found.for_label[row]),
            float(found.against[row]),
        )
        for row in rows
    )


def report_view(
    findings: Sequence[Finding],
    checks: Sequence[Check],
    accuracy: Measurement | None,
    evidence: Evidence,
    skipped: Sequence[tuple[str, Reason]],
    provenance: Mapping[str, object],
    *,
    images: bool,
) -> ReportView:
    """Everything the page shows, formatted, in both languages."""
    layers = evidence.everywhere
    listed = suspects(evidence)
    concerned = [sample for finding in findings for sample in finding.samples]
    first = [s.row for s in listed] + np.searchsorted(evidence.data.rows, concerned).tolist()
    rows = shown_rows(evidence.data.n, first, int(_MAP_BYTES / (_POINT_BYTES * len(layers))))
    place_of = {int(evidence.data.rows[row]): place for place, row in enumerate(rows)}
    model = _mapping(provenance["model"])
    notes = _notes(evidence, skipped, images=images)
    if len(rows) < evidence.data.n:
        counts = {"shown": f"{len(rows):,}", "total": f"{evidence.data.n:,}"}
        notes = (text("note.shown", **counts), *notes)
    return ReportView(
        title=f"{model['name']} · {evidence.data.samples.source}",
        headline=_headline(accuracy, evidence, model),
        notes=notes,
        checks=tuple(CheckView(c.verdict, c.name, c.says) for c in checks),
        findings=tuple(_finding(finding, place_of) for finding in findings),
        layers=tuple(layer.name for layer in layers),
        curves=_curves(layers, evidence),
        maps=tuple(_map(layer, rows) for layer in layers),
        labels=None if evidence.labels is None else evidence.labels[rows].astype(np.int32),
        predictions=(
            None if evidence.predictions is None else evidence.predictions[rows].astype(np.int32)
        ),
        classes=evidence.classes,
        sample_ids=evidence.data.rows[rows],
        thumbnails=_pictures(evidence, rows, first) if images else None,
        suspects=tuple(_suspect(s, place_of) for s in listed if s.sample in place_of),
        provenance=_provenance(provenance),
    )


def shown_rows(n: int, first: Sequence[int], most: int) -> NDArray[np.int64]:
    """At most `most` of n rows in ascending order: those in `first`, then evenly spread ones."""
    if n <= most:
        return np.arange(n)
    chosen = np.unique(np.asarray(first[:most], np.int64))
    rest = np.setdiff1d(np.arange(n), chosen)
    spread = np.linspace(0, len(rest) - 1, most - len(chosen)).astype(np.int64)
    return np.union1d(chosen, rest[spread])


def _headline(
    accuracy: Measurement | None, evidence: Evidence, model: Mapping[str, object]
) -> tuple[Fact, ...]:
    facts = [
        _fact("samples", f"{evidence.data.n:,}"),
        _fact("layers", str(len(evidence.layers))),
        _fact("parameters", f"{model['parameters']:,}"),
    ]
    if accuracy is not None:
        facts.append(_fact("accuracy", percent(accuracy)))
    if evidence.input is not None:
        facts.append(_fact("input_dimension", _value(evidence.input.two_nn)))
    last = (evidence.hidden or evidence.layers)[-1]
    facts.append(_fact("last_dimension", _value(last.two_nn)))
    return tuple(facts)


def _notes(
    evidence: Evidence, skipped: Sequence[tuple[str, Reason]], *, images: bool
) -> tuple[Text, ...]:
    notes = [text(f"note.{id}", **params) for id, params in evidence.data.notes]
    notes += [
        text("note.skipped_layer", layer=name, reason=text(f"skip.{why.id}", **why.params))
        for name, why in skipped
    ]
    same = [layer for layer in evidence.layers if layer.same_as is not None]
    if len(same) > _MOST_LISTED:
        notes.append(text("note.same_values_many", count=len(same)))
    else:
        notes += [text("note.same_values", layer=e.name, earlier=e.same_as) for e in same]
    pooled = [layer for layer in evidence.layers if layer.grid is not None]
    if len(pooled) > _MOST_LISTED:
        notes.append(text("note.pooled_many", count=len(pooled)))
    else:
        notes += [text("note.pooled", layer=layer.name, rule=_rule(layer)) for layer in pooled]
    caveats = {caveat for layer in evidence.everywhere for caveat in (*layer.two_nn.caveats,)}
    if any("lower bound" in caveat for caveat in caveats):
        notes.append(text("note.lower_bound", n=f"{evidence.data.n:,}"))
    if not images:
        notes.append(text("note.no_images"))
    return tuple(notes)


def _finding(finding: Finding, place_of: Mapping[int, int]) -> FindingView:
    evidence: list[Fact] = []
    for name, measured in finding.evidence.items():
        null = None if measured.null is None else _same(_value(measured.null))
        evidence.append(Fact(text(f"evidence.{name}"), _same(_value(measured)), null))
    return FindingView(
        id=finding.id,
        severity=finding.severity,
        title=finding.title,
        body=finding.body,
        action=finding.action,
        evidence=tuple(evidence),
        layer=finding.layer,
        samples=tuple(place_of[s] for s in finding.samples if s in place_of),
    )


def _curves(layers: Sequence[LayerGeometry], evidence: Evidence) -> tuple[CurveView, ...]:
    curves = [
        _curve(
            "dimension",
            layers,
            [
                ("two_nn", lambda g: g.two_nn, "measured"),
                ("mle", lambda g: g.mle, "measured"),
                ("shuffled", lambda g: g.two_nn.null, "null"),
            ],
            scale="log",
        ),
        _curve(
            "directions",
            layers,
            [
                ("participation", lambda g: g.participation, "measured"),
                ("directions", lambda g: g.directions, "measured"),
            ],
            scale="log",
        ),
    ]
    if evidence.labels is None:
        return tuple(curves)
    curves.append(
        _curve(
            "disagreement",
            layers,
            [
                ("disagreement", lambda g: _disagreement(g), "measured"),
                ("permuted", lambda g: _disagreement(g, null=True), "null"),
            ],
        )
    )
    if len(evidence.classes) <= _MOST_CLASS_CURVES:
        series = tuple(
            _series(_same(name), layers, lambda g, name=name: g.per_class.get(name), colour=index)
            for index, name in enumerate(evidence.classes)
        )
        title, help_, unit = (text(f"curve.per_class.{part}") for part in ("title", "help", "unit"))
        curves.append(CurveView("per_class", title, help_, unit, series))
    return tuple(curves)


_Read = Callable[[LayerGeometry], "Measurement | None"]


def _curve(
    id: str,
    layers: Sequence[LayerGeometry],
    lines: Sequence[tuple[str, _Read, Literal["measured", "null"]]],
    *,
    scale: Literal["linear", "log"] = "linear",
) -> CurveView:
    title, help_, unit = (text(f"curve.{id}.{part}") for part in ("title", "help", "unit"))
    series = tuple(
        _series(text(f"series.{name}"), layers, read, kind) for name, read, kind in lines
    )
    return CurveView(id, title, help_, unit, series, scale)


def _series(
    label: Text,
    layers: Sequence[LayerGeometry],
    read: _Read,
    kind: Literal["measured", "null"] = "measured",
    colour: int | None = None,
) -> Series:
    measured = [read(layer) for layer in layers]
    return Series(
        label,
        tuple(m.value if m is not None and m.decidable else None for m in measured),
        tuple(
            m.stderr if m is not None and m.decidable and np.isfinite(m.stderr) else None
            for m in measured
        ),
        kind,
        colour,
    )


def _disagreement(layer: LayerGeometry, *, null: bool = False) -> Measurement | None:
    if layer.agreement is None:
        return None
    measured = layer.agreement.disagreement
    return measured.null if null else measured


def _map(layer: LayerGeometry, rows: NDArray[np.int64]) -> LayerMap:
    first, second = layer.explained
    caption = text("map.pca", first=f"{first:.0%}", second=f"{second:.0%}", shape=_rule(layer))
    return LayerMap(layer.name, quantised(layer.map[rows]), caption)


def _rule(layer: LayerGeometry) -> Text:
    """How an output became a vector."""
    shape = "x".join(map(str, layer.shape)) or "1"
    if layer.grid is not None:
        cells = "x".join(map(str, layer.grid))
        return text("rule.averaged", shape=shape, units=layer.units, cells=cells)
    return text("rule.flattened" if len(layer.shape) > 1 else "rule.whole", shape=shape)


def quantised(xy: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Coordinates scaled to 0..65535 by one factor for both axes, each centred in the square."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    span = float((high - low).max())
    if span == 0:
        return np.full(xy.shape, 32768, np.uint16)
    unit = (xy - (low + high) / 2) / span + 0.5
    return (unit * 65535 + 0.5).clip(0, 65535).astype(np.uint16)


def _suspect(sample: SuspectSample, place_of: Mapping[int, int]) -> Suspect:
    why = text(
        "suspect.why",
        against=f"{sample.votes_against:.0%}",
        suggested=sample.names[1],
        own=f"{sample.votes_for:.0%}",
    )
    score = round(sample.votes_against - sample.votes_for, 3)
    return Suspect(place_of[sample.sample], sample.label, sample.suggested, score, why)


def _pictures(
    evidence: Evidence, rows: NDArray[np.int64], first: Sequence[int]
) -> Thumbnails | None:
    """Pictures of the shown samples where they are images; `first` keep theirs when not all fit."""
    x = evidence.data.samples.x[rows]
    if x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    if not (x.ndim == 3 or (x.ndim == 4 and x.shape[1] in (1, 3))) or min(x.shape[-2:]) < 4:
        return None
    place_of = {int(row): place for place, row in enumerate(rows)}
    order = dict.fromkeys([*(place_of[row] for row in first if row in place_of), *range(len(x))])
    return thumbnails(x, order=np.array(list(order)))


def _provenance(provenance: Mapping[str, object]) -> tuple[Fact, ...]:
    data, model = _mapping(provenance["data"]), _mapping(provenance["model"])
    settings, versions = _mapping(provenance["settings"]), _mapping(provenance["versions"])
    facts = [
        _fact("source", str(data["source"])),
        _fact("data_hash", str(data["sha256"])),
        _fact("model_hash", str(model["sha256"])),
        _fact("seed", str(settings["seed"])),
        _fact("neighbors", str(settings["neighbors"])),
        _fact("device", str(provenance["device"])),
        _fact("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
    ]
    if "command" in provenance:
        facts.insert(0, _fact("command", str(provenance["command"])))
    return tuple(facts)


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return cast("Mapping[str, object]", value)


def _fact(name: str, value: str) -> Fact:
    return Fact(text(f"fact.{name}"), _same(value))


def _same(shown: str) -> Text:
    """A name or a number, which reads the same in both languages."""
    return Text(shown, shown)


def _value(measured: Measurement) -> str:
    return with_error(measured.value, measured.stderr)
