"""`immersion dimension` as a person or a build uses it: streams, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from immersion.cli import run
from immersion.cli.terminal import cells
from immersion.measure.dimension import intrinsic_dimension


def sphere(n: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    line = np.pad(np.random.default_rng(1).uniform(size=(300, 1)), ((0, 0), (0, 2)))
    x = np.concatenate([sphere(300), 5 + line, 9 + sphere(20)])
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.array(["ball"] * 300 + ["line"] * 300 + ["few"] * 20))
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["dimension", *arguments, "--quiet"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("immersion: ") and len(printed.err.splitlines()) == 1
    return printed.err


def test_a_table_and_a_plot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dimension", "x.npy"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # no terminal, no progress
    for title in ("TwoNN", "MLE", "local PCA", "angles (ESS)", "correlation"):
        assert title in printed.out
    assert "620 points of shape 3" in printed.out
    assert "95% interval" in printed.out
    plot = [line for line in printed.out.splitlines() if "●" in line]
    assert [int(line.split()[0]) for line in plot] == [2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_lines_fit_and_columns_align(
    lang: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ideographs take two columns."""
    arguments = ["--labels", "y.npy", "--null", "gaussian", "--samples", "500", "--lang", lang]
    assert run(["dimension", "x.npy", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(cells(line) <= 80 and line == line.rstrip() for line in lines)
    for rule in (place for place, line in enumerate(lines) if re.fullmatch("─+", line)):
        title, body = lines[rule - 1], lines[rule + 1]
        assert cells(title) <= cells(lines[rule])
        assert cells(body) <= cells(lines[rule])
    estimators = [line for line in lines if line.endswith(tuple("0123456789")) and "±" in line]
    tables = [line for line in estimators if "│" not in line and line.count("±") == 2]
    assert len(tables) == 5
    assert len({cells(line[: line.index("±")]) for line in tables}) <= 2  # digits of an error vary
    plot = [line for line in lines if "│" in line]
    assert len({cells(line[: line.index("│")]) for line in plot}) == 1
    assert len({cells(line[: line.rindex("│")]) for line in plot}) == 1


@pytest.mark.parametrize(
    ("variable", "arguments", "chinese"),
    [
        ("zh_CN.UTF-8", [], True),
        ("en_GB.UTF-8", [], False),
        ("zh_CN.UTF-8", ["--lang", "en"], False),
        ("C", ["--lang", "zh"], True),
    ],
)
def test_the_language_is_the_readers(
    variable: str,
    arguments: list[str],
    chinese: bool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LANG", variable)
    assert run(["dimension", "x.npy", "--labels", "y.npy", *arguments]) == 0
    printed = capsys.readouterr().out
    assert ("内在维数" in printed and "该类别只有 20 个样本" in printed) == chinese
    assert ("Intrinsic dimension" in printed and "the class has 20 samples" in printed) != chinese
    assert not chinese or not re.search(r"\b(?:the|neighbours|points|dimension)\b", printed)


def test_labels_give_rows_by_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dimension", "x.npy", "--labels", "y.npy", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    rows = {line.split()[0]: line for line in printed.out.splitlines() if line.strip()}
    assert " 300 " in rows["ball"] and rows["ball"].endswith("distances")
    assert "not decidable" in rows["few"]
    assert "– few: the class has 20 samples and 60 are needed" in printed.out


def test_json_is_the_result_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["dimension", "x.npy", "--labels", "y.npy", "--null", "shuffled", "--json"]
    assert run(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "immersion.dimension/1"
    assert found["data"] == {
        "source": "x.npy", "points_given": 620, "points": 620, "shape": [3], "dtype": "float64",
    }  # fmt: skip
    low, high = found["classes"]["line"]["interval"]
    assert low < 1 < high
    assert found["classes"]["few"]["interval"] is None
    assert "20 samples and 60 are needed" in found["classes"]["few"]["dimension"]["caveats"][0]
    direct = intrinsic_dimension(np.load("x.npy"), null="shuffled")
    assert found["all"] == json.loads(json.dumps(direct.to_dict()))
    assert found["all"]["dimension"]["null"]["value"] > 0


def test_labels_inside_the_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("both.npz", x=np.concatenate([sphere(100), sphere(100, 1)]), y=np.repeat([3, 8], 100))
    assert run(["dimension", "both.npz", "--json", "--quiet"]) == 0
    assert list(json.loads(capsys.readouterr().out)["classes"]) == ["3", "8"]


def test_labels_in_an_archive(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    y = np.load("y.npy")
    np.savez("only.npz", whatever=y)
    np.savez("called.npz", other=np.zeros(3), Labels=y)
    printed: list[str] = []
    for name in ("y.npy", "only.npz", "called.npz"):
        assert run(["dimension", "x.npy", "--labels", name, "--json"]) == 0
        printed.append(json.dumps(json.loads(capsys.readouterr().out)["classes"]))
    assert printed[0] == printed[1] == printed[2]


def test_a_class_that_its_points_do_not_resolve_is_marked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    np.savez("high.npz", x=rng.normal(size=(400, 12)), y=np.repeat([0, 1], 200))
    assert run(["dimension", "high.npz"]) == 0
    printed = capsys.readouterr().out
    assert "if the data is nearly flat)" in printed
    assert printed.count("distances and angles *") == 2
    assert "* the class has too few points for its dimension" in printed
    run(["dimension", "high.npz", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["all"]["resolved"] is found["classes"]["0"]["resolved"] is False


def test_more_points_than_asked_for_are_drawn_down(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for seed in ("1", "1", "2"):
        run(["dimension", "x.npy", "--samples", "200", "--seed", seed, "--json", "--quiet"])
        found.append(json.loads(capsys.readouterr().out))
    assert (found[0]["data"]["points_given"], found[0]["data"]["points"]) == (620, 200)
    assert found[0]["all"] == found[1]["all"]
    assert found[0]["all"] != found[2]["all"]
    run(["dimension", "x.npy", "--samples", "200", "--quiet"])
    assert "200 of 620 points" in capsys.readouterr().out


def test_points_that_coincide(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("same.npy", np.ones((100, 4)))
    assert run(["dimension", "same.npy", "--quiet"]) == 0
    assert "not decidable" in capsys.readouterr().out
    assert run(["dimension", "same.npy", "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["all"]["interval"] is None


def test_errors_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in refused(capsys, "z.npy")
    assert "did you mean 'x.npy'" in refused(capsys, "xx.npy")
    assert "no file 'l.npy'" in refused(capsys, "x.npy", "--labels", "l.npy")
    np.save("short.npy", np.arange(9))
    said = refused(capsys, "x.npy", "--labels", "short.npy")
    assert "9 labels" in said and "620 points" in said
    np.save("objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    assert "cannot be read" in refused(capsys, "x.npy", "--labels", "objects.npy")
    Path("y.csv").write_text("1\n")
    assert ".npy" in refused(capsys, "x.npy", "--labels", "y.csv")
    np.savez("two.npz", a=np.arange(620), b=np.arange(620))
    said = refused(capsys, "x.npy", "--labels", "two.npz")
    assert "'a', 'b'" in said and "'labels'" in said
    np.savez("none.npz")
    assert "no array" in refused(capsys, "x.npy", "--labels", "none.npz")
    Path("torn.npz").write_bytes(Path("two.npz").read_bytes()[:200])
    assert "cannot be read" in refused(capsys, "x.npy", "--labels", "torn.npz")
    np.save("real.npy", np.random.default_rng(0).normal(size=620))
    assert "labels" in refused(capsys, "x.npy", "--labels", "real.npy")
    assert "lang" in refused(capsys, "x.npy", "--lang", "fr").lower()
    bad = np.ones((50, 2))
    bad[7, 1] = np.nan
    np.save("bad.npy", bad)
    assert "points[7]" in refused(capsys, "bad.npy")
    np.save("few.npy", np.eye(5))
    assert "more than 12 points; there are 5" in refused(capsys, "few.npy")
    assert "--samples" in refused(capsys, "x.npy", "--samples", "3")
    assert "null" in refused(capsys, "x.npy", "--null", "uniform").lower()
    assert refused(capsys)


def test_class_names_cannot_command_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("y.npy", np.array(["\x1b[31mred"] * 310 + ["[bold]"] * 310))
    assert run(["dimension", "x.npy", "--labels", "y.npy", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "[bold]" in printed


class Terminal:
    """A command on a terminal of 80 columns, standard output and errors alike."""

    def __init__(self, *arguments: str, columns: int = 80) -> None:
        self._end, other = pty.openpty()
        self.running = subprocess.Popen(
            [sys.executable, "-m", "immersion", "dimension", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=other,
            stderr=other,
            env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm"},
        )
        os.close(other)

    def read(self, until: str | None = None) -> str:
        """What appears up to a text, or to the end."""
        seen, deadline = "", time.monotonic() + 60
        while until is None or until not in seen:
            assert time.monotonic() < deadline, seen
            if not select.select([self._end], [], [], 1)[0]:
                continue
            try:
                found = os.read(self._end, 1 << 16)
            except OSError:  # Linux: the other end was closed
                break
            if not found:
                break
            seen += found.decode(errors="replace")
        if until is None:
            os.close(self._end)
            self.running.wait(60)
        return seen


def test_short_work_shows_no_progress_on_a_terminal(folder: Path) -> None:
    terminal = Terminal("x.npy")
    seen = terminal.read()
    assert terminal.running.returncode == 0
    assert seen.startswith("immersion: loading the data")
    assert "%  " not in seen and "neighbours ━" not in seen
    assert "Intrinsic dimension: " in seen


def test_long_work_tells_the_time_left_and_an_interrupt_ends_it(folder: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20_000, 1500)).astype(np.float32)
    np.save(folder / "large.npy", x)
    terminal = Terminal("large.npy", "--lang", "zh")
    seen = terminal.read(until="0:")  # the time left
    assert "近邻" in seen and "%" in seen
    terminal.running.send_signal(signal.SIGINT)
    rest = terminal.read()
    assert terminal.running.returncode == 130
    assert rest.rstrip().endswith("immersion: interrupted; nothing was written")
    assert "内在维数" not in rest
