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

from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Pool = Literal["auto", "flatten", "mean"]

_CHANNELS_LAST = (
    nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.MultiheadAttention, nn.RNNBase,
)  # fmt: skip
_CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,  # pyright: ignore[reportPrivateUsage]
    nn.modules.batchnorm._NormBase,  # pyright: ignore[reportPrivateUsage]
    nn.modules.padding._ConstantPadNd,  # pyright: ignore[reportPrivateUsage]
    nn.modules.padding._ReflectionPadNd,  # pyright: ignore[reportPrivateUsage]
    nn.modules.padding._ReplicationPadNd,  # pyright: ignore[reportPrivateUsage]
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
        if by_unit.ndim - 2 > len(self.grid):
            by_unit = by_unit.flatten(2)
        return _average(by_unit, self.grid).flatten(1)

    def unit_range(
        self, output: Float[Tensor, "n *shape"]
    ) -> tuple[Float[Tensor, " units"], Float[Tensor, " units"]]:
        """Least and greatest value of each unit over samples and positions, not averaged."""
        if not self.shape:
            output = output[:, None]
        # Two reductions in place are 10 times faster than aminmax, which wants one flat axis.
        others = [axis for axis in range(output.ndim) if axis != self.unit_axis + 1]
        return output.amin(others), output.amax(others)


def pool_rule(
    module: nn.Module,
    shape: tuple[int, ...],
    pool: Pool = "auto",
    max_features: int = 4096,
    *,
    unit_axis: int | None = None,
) -> PoolRule:
    """The rule for a module whose output for one sample has the given shape.

    Args:
        module: tells the axis of units where `unit_axis` does not: the first after convolutions and
            their like and in grids of unknown origin, the last after dense, normalising, attention
            and recurrent layers and in 2-D sequences.
        shape: shape of one sample's output.
        pool: "auto", "flatten" or "mean".
        max_features: bound for "auto"; one cell a unit is the least there can be.
        unit_axis: axis of `shape` that counts units.

    Example:
        >>> str(pool_rule(nn.Conv2d(1, 32, 3), (32, 28, 28)))
        '32x28x28, averaged to 32 units on 11x11 cells'
        >>> str(pool_rule(nn.Linear(4, 64), (10, 64)))
        '10x64, flattened'
    """
    axis = unit_axis if unit_axis is not None else unit_axis_of(module, shape)
    if axis is None:
        axis = 0 if len(shape) >= 3 else len(shape) - 1
    whole = PoolRule(shape, axis, None)
    if len(shape) < 2 or pool == "flatten" or (pool == "auto" and whole.features <= max_features):
        return whole
    positions = shape[:axis] + shape[axis + 1 :]
    if len(positions) > 3:
        positions = (math.prod(positions),)
    cells = 1 if pool == "mean" else max(1, max_features // whole.units)
    return PoolRule(shape, axis, _largest_grid(positions, cells))


def unit_axis_of(module: nn.Module, shape: tuple[int, ...], *, folded: bool = False) -> int | None:
    """The axis of units in one sample's part of a tensor; None where the module takes any layout.

    `folded` says that the first axis counts positions that were folded into the batch.
    """
    last = len(shape) - 1
    if last < 1:
        return 0
    match module:
        case nn.LayerNorm() | nn.RMSNorm():
            # Over several axes at once it is used on grids of either layout.
            return last if len(module.normalized_shape) == 1 else None
        case _ if isinstance(module, _CHANNELS_LAST):
            return last
        case _ if isinstance(module, _CHANNELS_FIRST):
            return int(folded)
        case _:
            return None


def _largest_grid(positions: tuple[int, ...], cells: int) -> tuple[int, ...]:
    """Grid of at most `cells` cells that no axis can grow in, its cells as square as can be."""
    grid = [1] * len(positions)
    growing = set(range(len(positions)))
    while growing:
        axis = max(sorted(growing), key=lambda a: positions[a] / grid[a])
        others = math.prod(grid) // grid[axis]
        if grid[axis] < positions[axis] and others * (grid[axis] + 1) <= cells:
            grid[axis] += 1
        else:
            growing.remove(axis)
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
