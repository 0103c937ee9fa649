"""What an audit says: findings that call for action, and a verdict for every check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from immersion.core.measurement import Measurement
from immersion.report.catalog import text
from immersion.report.view import Severity, Text

Verdict = Literal["found", "clear", "undecided", "inapplicable"]
Param = str | int | float | Text


@dataclass(frozen=True)
class Finding:
    """One fault, where it is, the evidence, the samples concerned and what to do.

    Attributes:
        id: the kind of fault: `dead_units`, `squeeze`, `tangled_classes`, `wrong_labels` or
            `off_data_sensitivity`.
        severity: "high", "medium" or "info".
        layer: where, or None when it concerns the whole model or the data.
        params: what fills the sentences of the message catalogue.
        evidence: the measurements behind it, with errors and nulls, by name.
        samples: rows of the user's data that it concerns, most telling first.
        units: indices of the units that it concerns, where it concerns one layer.
        wording: key of its sentences where they differ from those of `id`.
    """

    id: str
    severity: Severity
    layer: str | None
    params: Mapping[str, Param]
    evidence: Mapping[str, Measurement]
    samples: tuple[int, ...] = ()
    units: tuple[int, ...] = ()
    wording: str | None = None

    @property
    def title(self) -> Text:
        """One line."""
        return self._say("title")

    @property
    def body(self) -> Text:
        """What was seen and why it matters."""
        return self._say("body")

    @property
    def action(self) -> Text:
        """What to do."""
        return self._say("action")

    def _say(self, part: str) -> Text:
        return text(f"finding.{self.wording or self.id}.{part}", **self.params)

    def to_dict(self) -> dict[str, object]:
        """JSON-ready dictionary, sentences in both languages."""
        return {
            "id": self.id,
            "severity": self.severity,
            "layer": self.layer,
            "title": both(self.title),
            "body": both(self.body),
            "action": both(self.action),
            "evidence": {name: value.to_dict() for name, value in self.evidence.items()},
            "samples": list(self.samples),
            "units": list(self.units),
        }


@dataclass(frozen=True)
class Check:
    """The verdict of one check, said also where nothing was found.

    Attributes:
        id: the kind of fault looked for, as in `Finding.id`.
        verdict: found, clear, undecided (the data cannot tell) or inapplicable (no labels, say).
        reason: why, as the suffix of a message key.
        params: what fills that message.
    """

    id: str
    verdict: Verdict
    reason: str
    params: Mapping[str, Param] = field(default_factory=dict[str, Param])

    @property
    def name(self) -> Text:
        """What was looked for."""
        return text(f"check.{self.id}")

    @property
    def says(self) -> Text:
        """The verdict in a sentence."""
        return text(f"check.{self.id}.{self.reason}", **self.params)

    def to_dict(self) -> dict[str, object]:
        """JSON-ready dictionary, sentences in both languages."""
        return {
            "id": self.id,
            "verdict": self.verdict,
            "name": both(self.name),
            "says": both(self.says),
        }


@dataclass(frozen=True)
class Outcome:
    """What one check function returns."""

    check: Check
    findings: tuple[Finding, ...] = ()


def both(words: Text) -> dict[str, str]:
    """The words by language, for JSON."""
    return {"en": words.en, "zh": words.zh}
