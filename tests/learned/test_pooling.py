"""The rule that makes a vector of a layer's output, against the rule computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from immersion.learned.capture import capture
from immersion.learned.pooling import PoolRule, pool_rule

CONV, DENSE, ANY = nn.Conv2d(1, 1, 1), nn.Linear(1, 1), nn.ReLU()


@pytest.mark.parametrize(
    ("module", "shape", "pool", "bound", "unit_axis", "grid", "said"),
    [
        (DENSE, (64,), "auto", 10, 0, None, "64"),
        (ANY, (), "auto", 10, 0, None, "scalar"),
        (CONV, (32, 28, 28), "flatten", 10, 0, None, "32x28x28, flattened"),
        (CONV, (32, 28, 28), "auto", 4096, 0, (11, 11),
         "32x28x28, averaged to 32 units on 11x11 cells"),
        (CONV, (32, 28, 28), "mean", 4096, 0, (1, 1),
         "32x28x28, averaged to 32 units on 1x1 cells"),
        (CONV, (5000, 4, 4), "auto", 4096, 0, (1, 1),
         "5000x4x4, averaged to 5000 units on 1x1 cells"),
        (DENSE, (8, 8, 96), "auto", 1000, 2, (3, 3),
         "8x8x96, averaged to 96 units on 3x3 cells"),
        (nn.LayerNorm(96), (8, 8, 96), "mean", 1, 2, (1, 1),
         "8x8x96, averaged to 96 units on 1x1 cells"),
        (nn.LayerNorm((3, 8, 8)), (3, 8, 8), "mean", 1, 0, (1, 1),
         "3x8x8, averaged to 3 units on 1x1 cells"),
        (ANY, (50, 96), "auto", 1000, 1, (10,), "50x96, averaged to 96 units on 10 cells"),
        (nn.Conv1d(1, 1, 1), (96, 50), "auto", 1000, 0, (10,),
         "96x50, averaged to 96 units on 10 cells"),
        (nn.Conv3d(1, 1, 1), (4, 6, 6, 6), "auto", 4 * 27, 0, (3, 3, 3),
         "4x6x6x6, averaged to 4 units on 3x3x3 cells"),
        (ANY, (2, 3, 3, 3, 3), "auto", 20, 0, (10,),
         "2x3x3x3x3, averaged to 2 units on 10 cells"),
    ],
)  # fmt: skip
def test_rules(
    module: nn.Module, shape: tuple[int, ...], pool: str, bound: int,
    unit_axis: int, grid: tuple[int, ...] | None, said: str,
) -> None:  # fmt: skip
    rule = pool_rule(module, shape, pool, bound)
    assert rule == PoolRule(shape, unit_axis, grid)
    assert str(rule) == said
    vectors = rule.apply(torch.randn(3, *shape))
    assert vectors.shape == (3, rule.features)


shapes = st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple)


@given(positions=shapes, units=st.integers(1, 60), bound=st.integers(1, 500))
@settings(max_examples=200, deadline=None)
def test_grid_is_the_largest(positions: tuple[int, ...], units: int, bound: int) -> None:
    rule = pool_rule(CONV, (units, *positions), "auto", bound, unit_axis=0)
    if rule.grid is None:
        assert rule.features == units * math.prod(positions) <= bound
        return
    assert rule.features <= max(bound, units)
    assert all(1 <= cells <= size for cells, size in zip(rule.grid, positions, strict=True))
    for axis, size in enumerate(positions):
        larger = list(rule.grid)
        larger[axis] += 1
        assert larger[axis] > size or units * math.prod(larger) > bound
    # Cells are as square as whole numbers allow: no axis is ahead of another by more than the step
    # with which it got there, unless the other cannot grow.
    sides = [size / cells for size, cells in zip(positions, rule.grid, strict=True)]
    if units * math.prod(rule.grid) <= bound:
        for axis, cells in enumerate(rule.grid):
            before = positions[axis] / max(cells - 1, 1)
            for other, side in enumerate(sides):
                fits = units * math.prod(rule.grid) // rule.grid[other] * (rule.grid[other] + 1)
                assert before >= side or cells == 1 or fits > bound


def cell(size: int, cells: int, k: int) -> slice:
    return slice(k * size // cells, -(-(k + 1) * size // cells))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("unit_axis", "shape"), [(0, (3, 7, 10)), (2, (7, 10, 3)), (1, (7, 3))])
def test_averages_by_hand(unit_axis: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    rule = pool_rule(ANY, shape, "auto", 3 * 5, unit_axis=unit_axis)
    x = torch.randn(4, *shape, dtype=dtype)
    by_unit = np.moveaxis(x.numpy(), unit_axis + 1, 1)
    positions = by_unit.shape[2:]
    assert rule.grid is not None
    expected = np.empty((4, 3, *rule.grid))
    for index in np.ndindex(*rule.grid):
        window = tuple(map(cell, positions, rule.grid, index))
        block = by_unit[(slice(None), slice(None), *window)]
        expected[(slice(None), slice(None), *index)] = block.reshape(4, 3, -1).mean(-1)
    found = rule.apply(x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected.reshape(4, -1), atol=1e-6)
    low, high = rule.unit_range(x)
    np.testing.assert_array_equal(low, by_unit.min(axis=(0, *range(2, by_unit.ndim))))
    np.testing.assert_array_equal(high, by_unit.max(axis=(0, *range(2, by_unit.ndim))))


def test_activations_follow_the_layout_of_what_they_are_given() -> None:
    """A GELU after a dense layer has channels last, after a convolution first."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(2, 5, 1), nn.ReLU()
            self.dense, self.gelu = nn.Linear(5, 4), nn.GELU()
            self.seq, self.tanh = nn.Conv1d(2, 5, 1), nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            y = self.gelu(self.dense(self.relu(self.conv(x)).permute(0, 2, 3, 1)))
            return y.sum((1, 2)) + self.tanh(self.seq(x.flatten(2))).sum()

    model, x = Both(), torch.randn(6, 2, 3, 3)
    found = capture(model, x, pool="mean")
    assert {name: (layer.shape, layer.units) for name, layer in found.items()} == {
        "conv": ((5, 3, 3), 5), "relu": ((5, 3, 3), 5), "dense": ((3, 3, 4), 4),
        "gelu": ((3, 3, 4), 4), "seq": ((5, 9), 5), "tanh": ((5, 9), 5),
    }  # fmt: skip
    y = model.gelu(model.dense(model.relu(model.conv(x)).permute(0, 2, 3, 1))).detach()
    np.testing.assert_allclose(found["gelu"].activations, y.mean((1, 2)), atol=1e-6)
    assert found["gelu"].rule == "3x3x4, averaged to 4 units on 1x1 cells"


def test_half_precision_is_averaged_in_float32() -> None:
    model = nn.Conv2d(1, 2, 1).bfloat16()
    x = (torch.rand(4, 1, 64, 64) * 100).bfloat16()
    found = capture(model, x, pool="mean")["(model)"]
    whole = model(x).detach().double().mean((2, 3))
    np.testing.assert_allclose(found.activations, whole, rtol=1e-5)


def test_unknown_pool_axis_of_scalars() -> None:
    class Norms(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.norm(dim=1)

    layer = capture(Norms(), torch.randn(5, 3))["(model)"]
    assert layer.shape == () and layer.units == 1 and layer.rule == "scalar"
    assert layer.activations.shape == (5, 1)
