"""All that the checks may look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from immersion.auditing.geometry import LayerGeometry
from immersion.auditing.prepare import Prepared
from immersion.auditing.thresholds import Thresholds
from immersion.measure.sensitivity import Sensitivity


@dataclass(frozen=True, eq=False)
class Evidence:
    """Measures of the input and of all layers, in the order of their calls.

    Attributes:
        data: the audited samples.
        input: geometry of the inputs; None when they are no points (token numbers).
        layers: geometry of every captured layer.
        output: (n, C) the model's output, or None when it is no small vector.
        predictions: (n,) predicted classes, or None when the model is no classifier of them.
        sensitivity: reaction on and off the data, or None with the reason in `no_sensitivity`.
        no_sensitivity: suffix of the message that says why there is none.
        thresholds: where a value becomes a finding.
    """

    data: Prepared
    input: LayerGeometry | None
    layers: tuple[LayerGeometry, ...]
    output: NDArray[np.floating] | None
    predictions: NDArray[np.int64] | None
    sensitivity: Sensitivity | None
    no_sensitivity: str
    thresholds: Thresholds

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Class indices of the audited samples."""
        return self.data.samples.y

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.data.samples.classes

    @property
    def everywhere(self) -> tuple[LayerGeometry, ...]:
        """The input, where it is points, and all layers."""
        return self.layers if self.input is None else (self.input, *self.layers)

    @property
    def hidden(self) -> tuple[LayerGeometry, ...]:
        """Layers before the one that gives the model's output.

        Without a vector output the last layer counts as hidden too.
        """
        if self.output is None or self.output.ndim != 2:
            return self.layers
        width = self.output.shape[1]
        last = len(self.layers)
        while last > 0 and self.layers[last - 1].shape == (width,):
            last -= 1
        return self.layers[:last]

    @property
    def early(self) -> tuple[LayerGeometry, ...]:
        """The input and the first half of the hidden layers, each set of values once.

        Wrong labels show there: later layers of a network that memorised them agree with them.
        """
        distinct = [layer for layer in self.hidden if layer.same_as is None]
        first_half = distinct[: max(1, len(distinct) // 2)]
        return tuple(first_half) if self.input is None else (self.input, *first_half)

    def user_rows(self, rows: NDArray[np.integer]) -> tuple[int, ...]:
        """Rows of the user's data for audited rows."""
        return tuple(int(row) for row in self.data.rows[rows])
