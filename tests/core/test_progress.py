"""Progress goes to its stream, one line a stage, and never to standard output."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest

from immersion.core.progress import Bars, Lines, Progress, Silent, progress_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def visible(stream: io.StringIO) -> str:
    """What is left on a terminal: the text after the last time each line was erased."""
    lines: list[str] = [""]
    row = 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\n|\r|[^\x1b\n\r]+", stream.getvalue()):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token == "\x1b[2K":
            lines[row] = ""
        elif up := re.fullmatch(r"\x1b\[(\d+)A", token):
            row -= int(up[1])
        elif not token.startswith("\x1b") and token != "\r":
            lines[row] += token
    return "\n".join(line.rstrip() for line in lines).strip()


def work(progress: Progress, label: str = "neighbours [k=15]") -> None:
    with progress.stage(label, total=10) as advance:
        for _ in range(10):
            advance(1)


@pytest.mark.parametrize("make", [Lines, Bars])
def test_one_line_a_stage(
    make: Callable[[io.StringIO], Progress], capsys: pytest.CaptureFixture[str]
) -> None:
    stream = Terminal()
    work(make(stream))
    assert re.fullmatch(r"neighbours \[k=15\]: \d+\.\d s", visible(stream))
    work(make(stream), "layers")
    assert re.search(r"\nlayers: \d+\.\d s$", visible(stream))
    assert capsys.readouterr() == ("", "")


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    work(Silent())
    assert capsys.readouterr() == ("", "")


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    work(progress_for("lines"), "layers")
    out, err = capsys.readouterr()
    assert not out and re.fullmatch(r"layers: \d+\.\d s\n", err)


@pytest.mark.parametrize("make", [Lines, Bars, lambda stream: Silent()])
@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_exceptions_pass_through(
    make: Callable[[io.StringIO], Progress], error: BaseException,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(progress: Progress) -> None:
        with progress.stage("layers", 3) as advance:
            advance(1)
            raise error

    stream = Terminal()
    with pytest.raises(type(error)):
        fail(make(stream))
    assert visible(stream) == ""
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("total", [None, 0, 3])
def test_totals_that_are_unknown_or_wrong(total: int | None) -> None:
    stream = Terminal()
    with Bars(stream).stage("layers", total) as advance:
        advance(5)
    assert visible(stream).startswith("layers: ")


def test_output_of_others_stays_where_it_belongs(capsys: pytest.CaptureFixture[str]) -> None:
    """A model that prints in its forward pass does so to standard output under a bar too."""
    stream = Terminal()
    with Bars(stream).stage("layers", 3):
        print("from the model")
    assert capsys.readouterr().out == "from the model\n"
    assert "from the model" not in stream.getvalue()


def test_stages_within_stages() -> None:
    stream = Terminal()
    bars = Bars(stream)
    with bars.stage("outer", 2) as advance:
        with bars.stage("inner", 2):
            pass
        advance(2)
    assert "inner: " in stream.getvalue() and "outer: " in stream.getvalue()


def test_kinds() -> None:
    assert isinstance(progress_for("silent"), Silent)
    assert isinstance(progress_for("auto", Terminal()), Bars)
    assert isinstance(progress_for("auto", io.StringIO()), Lines)
    assert isinstance(progress_for("bars", io.StringIO()), Bars)
    assert isinstance(progress_for("lines", Terminal()), Lines)
