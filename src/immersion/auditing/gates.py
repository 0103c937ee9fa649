"""`--fail-if "metric<0.8"`: conditions under which a build should fail."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from immersion.core.errors import InputError

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(r"\s*(?P<metric>.+?)\s*(?P<op><=|>=|==|!=|<|>)\s*(?P<bound>[-+\w.]+)\s*")


@dataclass(frozen=True)
class Gate:
    """One condition; the build fails where it holds.

    Example:
        >>> gate = Gate.parse("accuracy < 0.98")
        >>> gate.fails({"accuracy": 0.97}), gate.fails({"accuracy": 0.99})
        (True, False)
    """

    metric: str
    op: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Gate:
        """The condition in `text`.

        Raises:
            InputError: not of the form `metric<number`.
        """
        form = _FORM.fullmatch(text)
        if form is None:
            raise InputError(
                f"--fail-if {text!r} is not of the form 'metric<number', "
                f"with one of {' '.join(_OPERATORS)}"
            )
        try:
            bound = float(form["bound"])
        except ValueError:
            raise InputError(f"--fail-if {text!r}: {form['bound']!r} is not a number") from None
        if math.isnan(bound):
            raise InputError(f"--fail-if {text!r}: nothing compares with nan")
        return cls(form["metric"], form["op"], bound)

    def require_known(self, metrics: list[str]) -> None:
        """Refuse a metric that the audit will not have, before it starts.

        Raises:
            InputError: names the closest metrics there are.
        """
        if self.metric in metrics:
            return
        close = get_close_matches(self.metric, metrics, n=4, cutoff=0.4) or metrics[:8]
        raise InputError(
            f"--fail-if: there is no metric {self.metric!r}; close ones are: {', '.join(close)}"
        )

    def fails(self, metrics: Mapping[str, float]) -> bool:
        """Whether the condition holds; a missing or undecided value fails every gate."""
        value = metrics.get(self.metric, math.nan)
        return math.isnan(value) or _OPERATORS[self.op](value, self.bound)

    def __str__(self) -> str:
        return f"{self.metric} {self.op} {self.bound:g}"
