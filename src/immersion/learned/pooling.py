"""How the output of a layer becomes one vector a sample: the stated rule and the axis of its units.

The rule is fixed before data flows, from the shape of one sample's output alone:

- up to `max_features` numbers: flattened, nothing is lost;
- more, with positions (image grid, sequence): averaged over equal cells of the largest grid whose
  result has at most `max_features` numbers, channels kept apart;
- more, without positions: kept whole.

Average pooling contracts distances by a bounded factor and keeps the coarse arrangement in space;
a random projection was rejected, since its noise in distance (2% at 1,024 directions) is of the
size of the neighbour-distance ratios that dimension estimators read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Pool = Literal["auto", "flatten", "mean"]

_CHANNELS_LAST = (
    nn.Linear, nn.Bilinear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.EmbeddingBag,
    nn.MultiheadAttention, nn.RNNBase,
)  # fmt: skip
_CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,  # pyright: ignore[reportPrivateUsage]
    nn.modules.batchnorm._NormBase,  # pyright: ignore[reportPrivateUsage]
    nn.modules.pooling._MaxPoolNd,  # pyright: ignore[reportPrivateUsage]
    nn.modules.pooling._AvgPoolNd,  # pyright: ignore[reportPrivateUsage]
    nn.modules.pooling._AdaptiveAvgPoolNd,  # pyright: ignore[reportPrivateUsage]
    nn.modules.pooling._AdaptiveMaxPoolNd,  # pyright: ignore[reportPrivateUsage]
    nn.GroupNorm, nn.Upsample, nn.PixelShuffle,
)  # fmt: skip


@dataclass(frozen=True)
class PoolRule:
    """What happens to one sample's output of shape `shape`.

    Attributes:
        shape: shape of one sample's output, without the sample axis.
        unit_axis: the axis of `shape` that counts units (channels, features).
        grid: cells that positions are averaged to, or None when everything is kept.
    """

    shape: tuple[int, ...]
    unit_axis: int
    grid: tuple[int, ...] | None

    @property
    def units(self) -> int:
        """Number of units: channels of a convolution, features of a dense layer."""
        return self.shape[self.unit_axis] if self.shape else 1

    @property
    def features(self) -> int:
        """Length of the vector that a sample becomes."""
        return math.prod(self.shape) if self.grid is None else self.units * math.prod(self.grid)

    def __str__(self) -> str:
        met = "x".join(map(str, self.shape)) or "scalar"
        if self.grid is None:
            return met if len(self.shape) < 2 else f"{met}, flattened"
        return f"{met}, averaged to {self.units} units on {'x'.join(map(str, self.grid))} cells"

    def apply(self, output: Float[Tensor, "n *shape"]) -> Float[Tensor, "n features"]:
        """The vectors of a batch of outputs, in the layer's dtype."""
        if self.grid is None:
            return output.reshape(len(output), -1)
        by_unit = output.movedim(self.unit_axis + 1, 1)
        if by_unit.ndim > 5 or (by_unit.ndim > 2 and len(self.grid) == 1):
            by_unit = by_unit.flatten(2)
        return _average(by_unit, self.grid).flatten(1)

    def unit_range(
        self, output: Float[Tensor, "n *shape"]
    ) -> tuple[Float[Tensor, " units"], Float[Tensor, " units"]]:
        """Least and greatest value of each unit over samples and positions, not averaged."""
        if not self.shape:
            output = output.reshape(-1, 1)
        by_unit = output.movedim(self.unit_axis + 1, -1).reshape(-1, self.units)
        low, high = torch.aminmax(by_unit, dim=0)
        return low, high


def pool_rule(
    module: nn.Module, shape: tuple[int, ...], pool: Pool = "auto", max_features: int = 4096
) -> PoolRule:
    """The rule for a module whose output for one sample has the given shape.

    Units lie on the first axis after convolutions and their like and in grids of unknown origin,
    on the last after dense, normalising, attention and recurrent layers and in 2-D sequences.

    Example:
        >>> str(pool_rule(nn.Conv2d(1, 32, 3), (32, 28, 28)))
        '32x28x28, averaged to 32 units on 11x11 cells'
        >>> str(pool_rule(nn.Linear(4, 64), (10, 64)))
        '10x64, flattened'
    """
    last = len(shape) - 1
    if isinstance(module, _CHANNELS_LAST) or len(shape) < 2:
        unit_axis = max(last, 0)
    elif isinstance(module, _CHANNELS_FIRST) or len(shape) >= 3:
        unit_axis = 0
    else:
        unit_axis = last
    whole = PoolRule(shape, unit_axis, None)
    if len(shape) < 2 or pool == "flatten" or (pool == "auto" and whole.features <= max_features):
        return whole
    positions = tuple(size for axis, size in enumerate(shape) if axis != unit_axis)
    if len(positions) > 3:
        positions = (math.prod(positions),)
    grid = (1,) * len(positions)
    if pool == "auto":
        grid = _largest_grid(positions, max(1, max_features // whole.units))
    return PoolRule(shape, unit_axis, grid)


def _largest_grid(positions: tuple[int, ...], cells: int) -> tuple[int, ...]:
    """Grid of at most `cells` cells with about the aspect ratio of `positions`."""
    shrink = (cells / math.prod(positions)) ** (1 / len(positions))
    grid = [max(1, min(size, int(size * shrink + 1e-9))) for size in positions]
    while math.prod(grid) > cells:
        grid[grid.index(max(grid))] -= 1
    return tuple(grid)


def _average(x: Tensor, grid: tuple[int, ...]) -> Tensor:
    match grid:
        case (length,):
            return nn.functional.adaptive_avg_pool1d(x, length)
        case (height, width):
            return nn.functional.adaptive_avg_pool2d(x, (height, width))
        case _:
            depth, height, width = grid
            return nn.functional.adaptive_avg_pool3d(x, (depth, height, width))
