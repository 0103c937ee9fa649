"""A measured number that carries its uncertainty, its settings, its control and its caveats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import NormalDist

from immersion.core.errors import InputError

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Measurement:
    """One number that leaves `immersion.measure`.

    Attributes:
        name: the quantity, in snake case (`"two_nn"`).
        value: the estimate; NaN when the data cannot decide it, and then `caveats` says why.
        stderr: one standard error of `value`, in the same unit; NaN when it is unknown.
        n: how many samples the estimate rests on.
        settings: every parameter that changes the value, so that it can be computed again.
        null: the same quantity on a control that has no structure of the kind in question.
        caveats: when not to trust the value, one sentence each.

    Example:
        >>> d = Measurement("two_nn", 13.0, 0.2, 5000, null=Measurement("two_nn", 40.0, 0.6, 5000))
        >>> str(d)
        '13.0 ± 0.2 (n = 5000)'
        >>> round(d.z_from_null, 1)
        -42.7
        >>> tuple(round(end, 2) for end in d.interval())
        (12.61, 13.39)
    """

    name: str
    value: float
    stderr: float
    n: int
    settings: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    null: Measurement | None = None
    caveats: tuple[str, ...] = ()

    @property
    def decidable(self) -> bool:
        """Whether the data decided the value at all."""
        return math.isfinite(self.value)

    @property
    def z_from_null(self) -> float:
        """(value - null) in standard errors of the difference; NaN without a null.

        The two estimates are taken as independent, which overstates the error of a paired control
        and so errs on the side of "not different".
        """
        if self.null is None:
            return math.nan
        spread = math.hypot(self.stderr, self.null.stderr)
        return (self.value - self.null.value) / spread if spread > 0 else math.nan

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Normal confidence interval of the given level, ends included.

        Raises:
            InputError: `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise InputError(f"the level of an interval lies between 0 and 1, not {level}")
        half = NormalDist().inv_cdf(0.5 + level / 2) * self.stderr
        return self.value - half, self.value + half

    def to_dict(self) -> dict[str, object]:
        """JSON-ready dictionary; NaN and infinity become None, as JSON has no word for them."""
        return {
            "name": self.name,
            "value": _finite(self.value),
            "stderr": _finite(self.stderr),
            "n": self.n,
            "settings": {
                name: _finite(setting) if isinstance(setting, float) else setting
                for name, setting in self.settings.items()
            },
            "null": None if self.null is None else self.null.to_dict(),
            "caveats": list(self.caveats),
        }

    def __str__(self) -> str:
        if not self.decidable:
            return f"not decidable (n = {self.n})"
        return f"{with_error(self.value, self.stderr)} (n = {self.n})"


def proportion(
    name: str,
    count: int,
    n: int,
    settings: Mapping[str, Setting] | None = None,
    null: Measurement | None = None,
) -> Measurement:
    """The share count / n with the standard error of Agresti and Coull, not zero at 0 or 1.

    The error is that of (count + 2) / (n + 4), which holds at shares near 0 and 1 and for small n,
    where the textbook error of a share is far too small. Source: Agresti and Coull 1998.

    Example:
        >>> str(proportion("flipped", 0, 100))
        '0.000 ± 0.013 (n = 100)'
    """
    centre = (count + 2) / (n + 4)
    stderr = math.sqrt(centre * (1 - centre) / (n + 4))
    return Measurement(name, count / n, stderr, n, settings or {}, null)


def percent(share: Measurement) -> str:
    """A share with its error as a percentage.

    Example:
        >>> percent(Measurement("accuracy", 0.995, 0.001, 5000))
        '99.50 ± 0.10%'
    """
    return with_error(100 * share.value, 100 * share.stderr) + "%"


def with_error(value: float, stderr: float) -> str:
    """`value ± stderr` with the error to one or two significant digits and the value to match.

    Numbers that would need many zeros share a power of ten.

    Example:
        >>> with_error(13.0412, 0.183)
        '13.0 ± 0.2'
        >>> with_error(0.01234, 0.00104)
        '0.0123 ± 0.0010'
        >>> with_error(5.6789e-12, 4e-14)
        '(5.68 ± 0.04)e-12'
        >>> with_error(0.99999951, 2e-7)
        '0.9999995 ± 0.0000002'
    """
    if not math.isfinite(value):
        return "–"
    # An error below the resolution of the value is rounding, not uncertainty.
    if not (math.isfinite(stderr) and stderr > abs(value) * 2**-52):
        return f"{value:.4g}"
    # An error that starts with 1 loses up to a third of itself when cut to one digit.
    mantissa, exponent = f"{stderr:.6e}".split("e")
    last = int(exponent) - (1 if float(mantissa) < 1.75 else 0)
    common = 0
    if last < -6 or last > 6:
        power = max(int(f"{value or stderr:e}".split("e")[1]), int(exponent))
        common = power if abs(power) > 3 else 0
    # Decimal shifts the point without rounding; a power of ten as a float may not even exist.
    shown = [Decimal(number).scaleb(-common) for number in (value, stderr)]
    digits = max(0, common - last)
    text = " ± ".join(f"{number:z.{digits}f}" for number in shown)
    return f"({text})e{common:+03d}" if common else text


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
