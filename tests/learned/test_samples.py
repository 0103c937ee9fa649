"""Which entries belong to which sample, where the arrangement is chosen at random."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from immersion.learned.samples import SampleAxis, find_samples, outline, samples_by_length


def arranged(rows: Tensor, axis: int, interleaved: bool) -> Tensor:
    """Samples (n, folds, *rest) as a model might hold them."""
    entries = (rows.transpose(0, 1) if interleaved else rows).flatten(0, 1)
    return entries.movedim(0, axis)


@given(
    folds=st.integers(1, 4),
    rest=st.lists(st.integers(1, 4), max_size=2),
    axis=st.integers(0, 2),
    interleaved=st.booleans(),
    offset=st.sampled_from([0.0, 100.0]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    sizes=st.sampled_from([(2, 3), (2, 4)]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=200, deadline=None)
def test_arrangements_are_recognised(
    folds: int, rest: list[int], axis: int, interleaved: bool, offset: float, dtype: torch.dtype,
    sizes: tuple[int, int], seed: int,
) -> None:  # fmt: skip
    axis = min(axis, len(rest))
    generator = torch.Generator().manual_seed(seed)
    offset = 0.0 if dtype == torch.bfloat16 else offset
    rows = torch.randn(4, folds, *rest, generator=generator, dtype=torch.float64) + offset
    # Rounding differs between batches of different sizes.
    few, many = (
        arranged(part, axis, interleaved).to(dtype) * (1 + torch.finfo(dtype).eps)
        for part in (rows[: sizes[0]], rows[: sizes[1]].flip(0))
    )
    found = find_samples(outline(few, sizes[0]), outline(many, sizes[1]), sizes)
    assert found == SampleAxis(axis, folds, interleaved and folds > 1)
    whole = arranged(rows, axis, interleaved)
    expected = rows if folds > 1 else rows[:, 0]
    assert found.to_rows(whole, 4).equal(expected)
    assert found.row_shape(tuple(whole.shape)) == tuple(expected.shape[1:])


def test_equal_samples_lie_side_by_side() -> None:
    same = torch.ones(6, 4)
    assert find_samples(outline(same[:4], 2), outline(same, 3), (2, 3)) == SampleAxis(0, 2)


@pytest.mark.parametrize(
    ("few", "many", "word"),
    [
        (torch.randn(2, 3), torch.randn(2, 3), "does not follow"),
        (torch.randn(2, 2), torch.randn(3, 3), "does not follow"),
        (torch.randn(4, 2), torch.randn(5, 2), "does not follow"),
        (torch.randn(2), torch.randn(3, 1), "does not follow"),
        (torch.randn(2, 0), torch.randn(3, 0), "empty"),
        (torch.randn(4, 5), torch.randn(6, 5), "no known order"),
    ],
)
def test_reasons(few: Tensor, many: Tensor, word: str) -> None:
    found = find_samples(outline(few, 2), outline(many, 3), (2, 3))
    assert isinstance(found, str) and word in found


def test_rows_in_another_order_are_refused_and_random_ones_are_not() -> None:
    rows = torch.randn(3, 5)
    found = find_samples(outline(rows[:2], 2), outline(rows, 3), (2, 3))
    assert found == "the model hands it the samples in another order"
    noise = find_samples(outline(torch.randn(2, 5), 2), outline(torch.randn(3, 5), 3), (2, 3))
    assert noise == SampleAxis(0)


def test_one_pass_only() -> None:
    assert samples_by_length(outline(torch.randn(4, 6), 4), 4) == SampleAxis(0)
    assert samples_by_length(outline(torch.randn(4, 4), 4), 4) == SampleAxis(0)
    assert samples_by_length(outline(torch.randn(6, 4, 2), 4), 4) == SampleAxis(1)
    assert isinstance(samples_by_length(outline(torch.randn(6, 4, 4), 4), 4), str)
    assert isinstance(samples_by_length(outline(torch.randn(8, 3), 4), 4), str)


def test_rows_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="does not hold 3 samples"):
        SampleAxis(0, 2).to_rows(torch.ones(5, 2), 3)
    with pytest.raises(ValueError, match="does not hold"):
        SampleAxis(2).to_rows(torch.ones(5), 5)
