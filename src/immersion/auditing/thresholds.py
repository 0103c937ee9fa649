"""Where a measured value becomes a finding.

Every bound is compared with the near end of a confidence interval, so that a finding is never
raised by noise alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Bounds of the checks; the defaults are those of the published benchmarks.

    Attributes:
        dead_share: a layer with more than this share of dead units is a matter of concern
            ("medium"); from four times that, serious ("high"); below it, good to know ("info").
        squeeze_share: a hidden layer squeezes when its points fill fewer linear directions than
            this share of what is needed: C - 1 to hold C class centres apart, or without labels
            the intrinsic dimension of the input.
        tangle: two classes are tangled in the last representation when this share of the
            neighbours of one belongs to the other.
        suspect_votes: a sample is suspect when this share of its neighbours, averaged over the
            early layers, carries one other label. 0.7 finds 63 to 86% of planted wrong labels with
            84 to 96% of the suspects wrong (digits, 5% wrong, five networks).
        wrong_labels: labels are called wrong when more than this share of samples is suspect. Clean
            digits have 0.4 to 1.0%, those with 5% wrong labels 3.4 to 5.1%.
        flips: the model is called sensitive off the data when more than this share of predictions
            changes within half the distance to the nearest neighbour.
    """

    dead_share: float = 0.05
    squeeze_share: float = 0.75
    tangle: float = 0.05
    suspect_votes: float = 0.7
    wrong_labels: float = 0.02
    flips: float = 0.25
