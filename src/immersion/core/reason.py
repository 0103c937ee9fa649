"""A sentence that says why, and that another language can say too."""

from __future__ import annotations


class Reason(str):
    """An English sentence that knows its id and parameters, so that a catalogue can translate it.

    Attributes:
        id: names the sentence in the message catalogues, as `skip.<id>`.
        params: what fills it.

    Example:
        >>> why = Reason("some_samples", "was called for {rows} of {n} samples only", rows=3, n=8)
        >>> why, why.id
        ('was called for 3 of 8 samples only', 'some_samples')
    """

    id: str
    params: dict[str, object]

    def __new__(cls, id: str, template: str, **params: object) -> Reason:
        """The filled sentence."""
        self = super().__new__(cls, template.format(**params))
        self.id, self.params = id, params
        return self
