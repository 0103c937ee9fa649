"""One check a file: from the evidence to a verdict and its findings."""

from __future__ import annotations

from collections.abc import Callable

from immersion.auditing.checks.dead_units import dead_units
from immersion.auditing.checks.off_data_sensitivity import off_data_sensitivity
from immersion.auditing.checks.squeeze import squeeze
from immersion.auditing.checks.tangled_classes import tangled_classes
from immersion.auditing.checks.wrong_labels import wrong_labels
from immersion.auditing.evidence import Evidence
from immersion.auditing.finding import Outcome

CHECKS: tuple[Callable[[Evidence], Outcome], ...] = (
    wrong_labels,
    squeeze,
    tangled_classes,
    dead_units,
    off_data_sensitivity,
)

__all__ = ["CHECKS"]
