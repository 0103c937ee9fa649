"""Progress on standard error: a bar with time left on a terminal, one line a stage elsewhere.

Standard output stays free for results (`--json`). Long work takes a `Progress` and opens a stage:

    with progress.stage("neighbours", total=n) as advance:
        for chunk in chunks:
            ...
            advance(len(chunk))
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, TextIO

Advance = Callable[[int], None]


class Progress(ABC):
    """Where long work tells how far it is."""

    @abstractmethod
    def stage(self, label: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Open a stage of `total` steps (None: unknown); call the result with the steps done."""


class Silent(Progress):
    """Says nothing: for libraries, tests and notebooks."""

    @contextmanager
    def stage(self, label: str, total: int | None = None) -> Generator[Advance]:
        """Open a stage that nobody sees."""
        yield lambda steps: None


class Lines(Progress):
    """One plain line when a stage ends, with its duration: for logs, pipes and CI."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream

    @contextmanager
    def stage(self, label: str, total: int | None = None) -> Generator[Advance]:
        """Open a stage; its line is written when it ends well."""
        start = time.perf_counter()
        yield lambda steps: None
        print(f"{label}: {time.perf_counter() - start:.1f} s", file=self._stream, flush=True)


class Bars(Progress):
    """A live bar with the time left (rich), for a person at a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream

    @contextmanager
    def stage(self, label: str, total: int | None = None) -> Generator[Advance]:
        """Open a stage as a bar that disappears when it ends and leaves one line."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        start = time.perf_counter()
        console = Console(file=self._stream)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
        )
        # rich would send what others print to standard output to this stream.
        bars = Progress(*columns, console=console, transient=True, redirect_stdout=False)
        with bars:
            task = bars.add_task(label, total=total)
            yield lambda steps: bars.advance(task, steps)
        console.print(f"{label}: {time.perf_counter() - start:.1f} s", markup=False, style="dim")


def progress_for(
    kind: Literal["auto", "bars", "lines", "silent"] = "auto", stream: TextIO | None = None
) -> Progress:
    """The progress of the given kind; "auto" is bars on a terminal and lines elsewhere."""
    target = sys.stderr if stream is None else stream
    if kind == "silent":
        return Silent()
    if kind == "bars" or (kind == "auto" and target.isatty()):
        return Bars(target)
    return Lines(target)
