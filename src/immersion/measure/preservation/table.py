"""Measurements side by side with what chance would give, as text."""

from __future__ import annotations

from collections.abc import Sequence

from immersion.core.measurement import Measurement, with_error


def table(measurements: Sequence[Measurement]) -> str:
    """One line a measurement: name, value with error, null; then each caveat once.

    Example:
        >>> chance = Measurement("recall", 0.012, 0.001, 500)
        >>> print(table([Measurement("recall", 0.75, 0.01, 500, null=chance)]))
        recall  0.750 ± 0.010  at random 0.012
    """
    names = max(len(one.name) for one in measurements)
    values = [with_error(one.value, one.stderr) for one in measurements]
    width = max(map(len, values))
    lines: list[str] = []
    for one, value in zip(measurements, values, strict=True):
        chance = "" if one.null is None else f"  at random {round(one.null.value, 3) + 0:.3f}"
        lines.append(f"{one.name:{names}}  {value:{width}}{chance}".rstrip())
    caveats = dict.fromkeys(caveat for one in measurements for caveat in one.caveats)
    return "\n".join([*lines, *caveats])
