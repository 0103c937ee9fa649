"""A sentence that says why, and that another language can say too."""

from __future__ import annotations

from typing import Any, Self


class Reason(str):
    """An English sentence that knows its id and parameters, so that a catalogue can translate it.

    Attributes:
        id: names the sentence in the message catalogues, as `skip.<id>`.
        params: what fills it.

    Example:
        >>> import pickle
        >>> why = Reason("some_samples", "was called for {rows} of {n} samples only", rows=3, n=8)
        >>> why, why.id
        ('was called for 3 of 8 samples only', 'some_samples')
        >>> pickle.loads(pickle.dumps(why)).params
        {'rows': 3, 'n': 8}
    """

    id: str
    params: dict[str, object]

    def __new__(cls, id: str, template: str, **params: object) -> Self:
        """The filled sentence."""
        self = super().__new__(cls, template.format(**params))
        self.id, self.params = id, params
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """The finished sentence has no fields left to fill; its parameters travel as state."""
        plain = str(self).replace("{", "{{").replace("}", "}}")
        return type(self), (self.id, plain), {"params": self.params}
