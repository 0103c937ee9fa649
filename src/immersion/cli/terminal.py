"""What a terminal shows: the reader's language, wrapped text, tables, progress that comes late."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal

from immersion.core.progress import Advance, Progress

Language = Literal["en", "zh"]

_NARROWEST, _WIDEST, _ELSEWHERE = 60, 100, 80
"""Columns: the least and the most that are filled, and those of a file or a pipe."""

_WORD = re.compile(r"\s+|[（“]?(?:[^\s\u2e80-\uffef]+|[\u2e80-\uffef])[，。：；、）”！？]*")
"""Spaces, a Latin word, or an ideograph, with the punctuation that may not begin or end a line."""


def spoken(lang: Literal["auto", "en", "zh"]) -> Language:
    """The language asked for, by default that of the reader's environment."""
    if lang != "auto":
        return lang
    found = next((v for n in ("LC_ALL", "LC_MESSAGES", "LANG") if (v := os.environ.get(n))), "")
    return "zh" if found.startswith("zh") else "en"


def columns() -> int:
    """Columns to fill of standard output."""
    if not sys.stdout.isatty():
        return _ELSEWHERE
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_ELSEWHERE, 24)).columns))


def cells(text: str) -> int:
    """Columns that a text takes: two for an ideograph."""
    from rich.cells import cell_len

    return cell_len(text)


def printable(text: str) -> str:
    r"""A text of a file without the control characters that a terminal would obey.

    Example:
        >>> printable("\x1b[31mred")
        '?[31mred'
    """
    return "".join(c if c.isprintable() else "?" for c in text)


def wrapped(text: str, width: int, first: str = "") -> str:
    """The text in lines of a width, after `first` and indented by as much; ideographs break too.

    Example:
        >>> print(wrapped("one two three", 9, "! "))
        ! one two
          three
    """
    indent = cells(first)
    lines, line, used = [""], "", indent
    for word in _WORD.findall(text):
        taken = cells(word)
        if used + taken > width and line:
            lines[-1], line, used = line.rstrip(), "", indent
            lines.append("")
        if line or not word.isspace():
            line += word
            used += taken
        lines[-1] = line.rstrip()
    return first + ("\n" + " " * indent).join(lines)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int]) -> str:
    """Columns of text under titles and a rule, two spaces apart; some aligned to the right.

    Example:
        >>> print(table(["class", "points"], [["cat", "5"]], right={1}))
        class  points
        ─────────────
        cat         5
    """
    widths = [max(map(cells, column)) for column in zip(titles, *rows, strict=True)]

    def line(texts: Sequence[str]) -> str:
        padded = (
            gap + text if place in right else text + gap
            for place, (text, size) in enumerate(zip(texts, widths, strict=True))
            for gap in [" " * (size - cells(text))]
        )
        return "  ".join(padded).rstrip()

    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([line(titles), rule, *map(line, rows)])


class Late(Progress):
    """Shows only what still goes on after two seconds, and only stages that tell their steps."""

    def __init__(
        self,
        shown: Progress,
        labels: Mapping[str, str],
        after: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown, self._labels, self._clock = shown, labels, clock
        self._from = clock() + after

    @contextmanager
    def stage(self, label: str, total: int | None = None) -> Generator[Advance]:
        """Open a stage, which appears at its first step after the two seconds."""
        with ExitStack() as opened:
            done, inner = 0, None

            def advance(steps: int) -> None:
                nonlocal done, inner
                done += steps
                if inner is not None:
                    inner(steps)
                elif self._clock() >= self._from and (total is None or done < total):
                    name = self._labels.get(label, label)
                    inner = opened.enter_context(self._shown.stage(name, total))
                    inner(done)

            yield advance
