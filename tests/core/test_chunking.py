"""Sizes as people write them, and pieces of work that fit them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immersion.core.chunking import parse_bytes, row_chunks
from immersion.core.errors import InputError


@given(st.integers(0, 2000), st.integers(0, 500), st.integers(0, 5000))
def test_row_chunks(n: int, per_row: int, budget: int) -> None:
    pieces = list(row_chunks(n, per_row, budget))
    assert [row for piece in pieces for row in range(n)[piece]] == list(range(n))
    sizes = [piece.stop - piece.start for piece in pieces]
    assert all(size >= 1 for size in sizes)
    assert all(size == 1 or size * per_row <= budget for size in sizes)
    # No piece could be larger: all but the last are as long as the budget allows.
    assert all((size + 1) * max(per_row, 1) > budget for size in sizes[:-1])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1.5GB", 1_500_000_000), ("800 MiB", 800 * 2**20), ("2g", 2_000_000_000), (" 7 ", 7),
        ("7b", 7), (".5k", 500), ("1KIB", 1024), ("3T", 3 * 10**12), (12, 12),
        (2**70 + 1, 2**70 + 1), ("0.1TB", 10**11),
    ],
)  # fmt: skip
def test_parse_bytes(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", -1, 0, "0", "0.1", "1 2", "5i", "5iB", "1e9", "1,5GB", "5XB", "nan"]
)
def test_sizes_that_are_none(text: str | int) -> None:
    with pytest.raises(InputError, match="memory must be a size"):
        parse_bytes(text)


@given(st.integers(1, 10**15), st.sampled_from(["", "k", "M", "G", "T"]), st.booleans())
def test_units_are_powers(count: int, unit: str, binary: bool) -> None:
    power = ["", "k", "M", "G", "T"].index(unit)
    text = f"{count} {unit}{'i' if binary and unit else ''}B"
    assert parse_bytes(text) == count * (1024 if binary else 1000) ** power
