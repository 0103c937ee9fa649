"""Work in pieces that fit a memory budget."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from immersion.core.errors import InputError

DEFAULT_BUDGET = 1 << 30
"""Bytes that a step may hold beside its input and output, unless the caller says otherwise."""

_UNITS = {"": 1} | {
    prefix + i: base**power
    for i, base in (("", 1000), ("i", 1024))
    for power, prefix in enumerate("kmgt", start=1)
}


def row_chunks(n: int, bytes_per_row: int, budget: int = DEFAULT_BUDGET) -> Iterator[slice]:
    """Consecutive slices that cover `range(n)`, each at most `budget` bytes, at least one row.

    Example:
        >>> [(s.start, s.stop) for s in row_chunks(10, bytes_per_row=100, budget=400)]
        [(0, 4), (4, 8), (8, 10)]
    """
    rows = max(1, budget // max(1, bytes_per_row))
    for start in range(0, n, rows):
        yield slice(start, min(n, start + rows))


def parse_bytes(text: str | int) -> int:
    """Bytes from `"1.5GB"`, `"800 MiB"`, `"2g"` or a plain number.

    k, M, G, T are powers of 1000, and of 1024 when an `i` follows.

    Raises:
        InputError: the text is not a size, or the size is not positive.

    Example:
        >>> parse_bytes("1.5GB"), parse_bytes("2KiB"), parse_bytes(10)
        (1500000000, 2048, 10)
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*((?:[kmgt]i?)?)b?\s*", str(text).lower())
    # A fraction keeps every digit of a large number, where a float keeps 16.
    size = int(Fraction(match[1]) * _UNITS[match[2]]) if match else 0
    if size <= 0:
        raise InputError(f"memory must be a size such as '800MB' or '1.5GB', not {text!r}")
    return size
