"""The range of every unit, and which units a layer itself holds constant."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

_UNIT_BY_UNIT = (
    nn.modules.batchnorm._BatchNorm,  # pyright: ignore[reportPrivateUsage]
    nn.modules.instancenorm._InstanceNorm,  # pyright: ignore[reportPrivateUsage]
    nn.PReLU,
)

_ROUNDING = 8
"""Units in the last place by which values that are meant to be equal may differ."""


class UnitRange:
    """Running least and greatest value of each unit.

    Attributes:
        low: (units,) least value so far.
        high: (units,) greatest value so far.
    """

    def __init__(self, low: torch.Tensor, high: torch.Tensor) -> None:
        self.low = low
        self.high = high

    def widen(self, low: torch.Tensor, high: torch.Tensor) -> None:
        """Take in the range of one more batch."""
        self.low = torch.minimum(self.low, low)
        self.high = torch.maximum(self.high, high)

    def constant(self) -> NDArray[np.bool_]:
        """(units,) whether a unit had one and the same value all along, to rounding.

        A convolution of constants rounds otherwise at the end of a batch than in its middle.
        """
        spread = self.high - self.low
        size = torch.maximum(self.low.abs(), self.high.abs())
        if self.low.is_floating_point():
            size = size * (_ROUNDING * torch.finfo(self.low.dtype).eps)
        else:
            size = torch.zeros_like(size)
        # Equal infinities have no difference.
        return ((spread <= size) | (self.low == self.high)).cpu().numpy()


def silenced_units(
    module: nn.Module, given: UnitRange | None, put_out: UnitRange
) -> NDArray[np.bool_]:
    """Units that are constant in the output although something they are computed from is not.

    Args:
        module: decides what a unit is computed from: without weights or normalising, from the unit
            of the same place; a convolution, from the channels of its group; else from all.
        given: range of the units of the input; None where it was not watched.
        put_out: range of the units of the output.
    """
    constant = put_out.constant()
    weighted = next(module.parameters(), None) is not None
    if given is None:
        # A reshaping or pooling module passes constants on; it cannot silence a unit itself.
        return constant if weighted else np.zeros_like(constant)
    held = given.constant()
    if isinstance(module, nn.modules.conv._ConvNd):  # pyright: ignore[reportPrivateUsage]
        by_group = held.reshape(module.groups, -1).all(1)
        return constant & ~np.repeat(by_group, len(constant) // module.groups)
    if weighted and not isinstance(module, _UNIT_BY_UNIT):
        return constant & (not held.all())
    return constant & ~held if len(held) == len(constant) else np.zeros_like(constant)
