"""The result of an audit: findings, verdicts, measures, and the report they become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from immersion.auditing.evidence import Evidence
from immersion.auditing.files import write_folder
from immersion.auditing.finding import Check, Finding, both
from immersion.auditing.metrics import SEVERITIES, metric_values
from immersion.auditing.view import report_view, suspects
from immersion.core.measurement import Measurement
from immersion.core.reason import Reason
from immersion.report.catalog import text
from immersion.report.page import render

SCHEMA = "immersion.audit/1"


@dataclass(frozen=True, eq=False)
class Audit:
    """What `immersion.audit` returns.

    Attributes:
        findings: what calls for action, the most serious first.
        checks: a verdict for every check, also where nothing was found.
        accuracy: share of right predictions, or None where the model does not classify.
        evidence: every measure, for further analysis.
        skipped: (layer, reason) for what could not be recorded.
        provenance: model, data, settings, versions; all that is needed to run it again.

    Example:
        >>> import immersion as im
        >>> data = im.datasets.digits().subset(range(200))
        >>> result = im.audit(im.models.digits_convnet(), data)
        >>> result.to_dict()["schema"]
        'immersion.audit/1'
    """

    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    accuracy: Measurement | None
    evidence: Evidence
    skipped: tuple[tuple[str, Reason], ...]
    provenance: Mapping[str, object]

    @property
    def metrics(self) -> dict[str, float]:
        """Every number a gate may name; NaN where it was not decidable."""
        return metric_values(
            self.findings,
            self.checks,
            self.accuracy,
            self.evidence.everywhere,
            labelled=self.evidence.labels is not None,
        )

    def to_dict(self) -> dict[str, object]:
        """JSON-ready dictionary; the same seed on the same machine gives the same bytes."""
        measured = self.evidence.sensitivity
        names = (
            "ratio", "tangent_energy", "tangent_fit", "flipped_off", "flipped_on",
            "flipped_random", "step_off",
        )  # fmt: skip
        return {
            "schema": SCHEMA,
            "findings": [finding.to_dict() for finding in self.findings],
            "checks": [check.to_dict() for check in self.checks],
            "accuracy": self.accuracy.to_dict() if self.accuracy else None,
            "layers": [layer.to_dict() for layer in self.evidence.everywhere],
            "sensitivity": (
                {name: getattr(measured, name).to_dict() for name in names} if measured else None
            ),
            "suspects": [suspect.to_dict() for suspect in suspects(self.evidence)],
            "skipped_layers": [
                {"name": name, "id": why.id, "reason": both(text(f"skip.{why.id}", **why.params))}
                for name, why in self.skipped
            ],
            "notes": [
                {"id": id, **params, **both(text(f"note.{id}", **params))}
                for id, params in self.evidence.data.notes
            ],
            **self.provenance,
        }

    def json(self) -> str:
        """`to_dict` as JSON text, indented, ending in a newline."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def html(self, *, lang: Literal["auto", "en", "zh"] = "auto", images: bool = True) -> str:
        """The report as one self-contained page.

        Args:
            lang: language it opens in; "auto" is the reader's.
            images: whether pictures of the samples are part of it.
        """
        view = report_view(
            self.findings, self.checks, self.accuracy, self.evidence, self.skipped,
            self.provenance, images=images,
        )  # fmt: skip
        return render(view, lang=lang)

    def save(
        self,
        folder: str | Path,
        *,
        lang: Literal["auto", "en", "zh"] = "auto",
        images: bool = True,
    ) -> Path:
        """Write `report.html` and `report.json` into `folder`, both or neither.

        Returns:
            The path of the page.

        Raises:
            OutputError: the folder cannot be written; nothing is left behind.
        """
        pages = {"report.html": self.html(lang=lang, images=images), "report.json": self.json()}
        return write_folder(Path(folder), pages) / "report.html"


def ranked(findings: list[Finding]) -> tuple[Finding, ...]:
    """The most serious first; checks keep their order within a severity."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
