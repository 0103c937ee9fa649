"""Text on a terminal: widths of ideographs, wrapping, tables, progress that comes late."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from immersion.cli.terminal import Late, cells, columns, printable, spoken, table, wrapped
from immersion.core.progress import Advance, Progress


def test_an_ideograph_takes_two_columns() -> None:
    assert [cells(text) for text in ("维数", "d = 2", "±●─│", "（ESS）")] == [4, 5, 4, 7]


@pytest.mark.parametrize("width", [12, 17, 40, 79])
@pytest.mark.parametrize(
    "text",
    [
        "仅凭距离，5000 个点能分辨至 2 log10(n) = 7.4 的维数（球）；与“平直”的球体相比为 14.7。",
        "5000 points resolve dimensions up to 2 log10(n) = 7.4: the rest, 12.8, is not local.",
    ],
    ids=["zh", "en"],
)
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    lines = wrapped(text, width, "! ").split("\n")
    assert lines[0].startswith("! ") and all(line.startswith("  ") for line in lines[1:])
    assert all(cells(line) <= width for line in lines)
    assert all(line == line.rstrip() for line in lines)
    assert "".join(line[2:] for line in lines).replace(" ", "") == text.replace(" ", "")
    assert not any(line[2] in "，。：；、）”！？" for line in lines[1:])
    assert not any(line[-1] in "（“" for line in lines)
    # No line could have taken the next one's first word of Latin letters or ideograph.
    if text.isascii():
        for line, following in pairwise(lines):
            assert cells(line) + 1 + len(following.split()[0]) > width


def test_a_word_wider_than_the_line_stays_whole() -> None:
    path = "a/" * 30
    assert wrapped(f"of {path} here", 20).split("\n") == ["of", path, "here"]
    assert wrapped("", 20) == ""


def test_columns_align_with_ideographs() -> None:
    lines = table(["类别", "n"], [["猫", "5"], ["a long name", "1,000"]], right={1}).split("\n")
    assert len(lines) == 4
    assert {cells(line) for line in lines} == {cells("a long name") + 2 + 5}
    assert lines[1] == "─" * 18


def test_no_column_ends_in_spaces() -> None:
    assert table(["a", "b"], [["1", ""], ["2", "long"]], right=()).split("\n")[2] == "1"


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
    ],
)
def test_the_language_of_the_environment(
    variables: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert spoken("auto") == language
    assert (spoken("en"), spoken("zh")) == ("en", "zh")


def test_a_pipe_has_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert columns() == 80
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert columns() == 100
    monkeypatch.setenv("COLUMNS", "20")
    assert columns() == 60


def test_control_characters_are_not_obeyed() -> None:
    assert printable("a\x1b[2Jb\u202ec 猫") == "a?[2Jb?c 猫"


class Recorder(Progress):
    """Remembers what would be shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, object]] = []

    @contextmanager
    def stage(self, label: str, total: int | None = None) -> Generator[Advance]:
        self.seen.append((label, total))
        yield lambda steps: self.seen.append(("step", steps))
        self.seen.append(("end", label))


def test_progress_appears_after_two_seconds_with_what_was_done() -> None:
    recorder, now = Recorder(), [0.0]
    progress = Late(recorder, {"neighbours": "近邻"}, clock=lambda: now[0])
    with progress.stage("neighbours", total=10) as advance:
        advance(3)
        assert not recorder.seen
        now[0] = 2.5
        advance(2)
        advance(5)
    expected = [("近邻", 10), ("step", 5), ("step", 5), ("end", "近邻")]
    assert recorder.seen == expected
    with progress.stage("estimators"):
        pass
    with progress.stage("classes", total=1) as advance:
        advance(1)  # over before it could be seen
    assert recorder.seen == expected


def test_short_work_is_never_shown() -> None:
    recorder = Recorder()
    with Late(recorder, {}, clock=lambda: 1.0).stage("neighbours", 2) as advance:
        advance(1)
        advance(1)
    assert recorder.seen == []
