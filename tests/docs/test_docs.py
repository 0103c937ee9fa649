"""The pages keep their promises: links, code, options, and one content in two languages."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import immersion as im
from immersion.auditing.metrics import metric_names

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "src").rglob("*.md"),
    ]
)
PAIRS = [
    (page, page.with_name(page.name.replace(".zh-CN.md", ".md")))
    for page in PAGES
    if page.name.endswith(".zh-CN.md")
]
GUIDES = [page for page in PAGES if page.parent == ROOT / "docs" or page.stem.startswith("README")]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#{1,6}) (.+)$", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    return FENCE.sub("", text(page))


def blocks(page: Path) -> list[tuple[str, str]]:
    return FENCE.findall(text(page))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    titles = (
        re.sub(r"[`*]", "", title).strip().lower() for _, title in HEADING.findall(prose(page))
    )
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            assert link.startswith(("https://", "http://", "mailto:"))
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} in {named(page)}"
        assert target.is_relative_to(ROOT), f"{link} in {named(page)}"
        if anchor:
            assert anchor in anchors(target), f"{link} in {named(page)}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_page_names_a_place_on_a_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root|usr)/", text(page))


@pytest.mark.parametrize(("chinese", "english"), PAIRS, ids=lambda page: named(page))
def test_both_languages_have_the_same_structure(chinese: Path, english: Path) -> None:
    assert english.exists()
    levels = [[len(marks) for marks, _ in HEADING.findall(prose(p))] for p in (english, chinese)]
    assert levels[0] == levels[1]
    assert blocks(english) == blocks(chinese)
    rows = [
        [line.count("|") for line in prose(p).splitlines() if line[:1] == "|"]
        for p in (english, chinese)
    ]
    assert rows[0] == rows[1]
    for page, other in ((english, chinese), (chinese, english)):
        assert f"({other.name})" in text(page), f"{named(page)} does not link its other language"


def test_every_guide_is_in_both_languages() -> None:
    assert {english for _, english in PAIRS} == {p for p in GUIDES if ".zh-CN" not in p.name}


@cache
def help_options(command: str) -> frozenset[str]:
    shown = subprocess.run(
        [sys.executable, "-m", "immersion", command, "--help"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    ).stdout
    return frozenset(OPTION.findall(shown)) | {"--help", "--version"}


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_every_option_exists(page: Path) -> None:
    shell = [code for language, code in blocks(page) if language == "sh"]
    lines = [line for code in shell for line in code.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`([^`\n]+)`", prose(page))
    ours = [line for line in (*lines, *spans) if line.startswith(("immersion ", "--"))]
    every = help_options("audit") | help_options("dimension")
    for line in ours:
        options = set(OPTION.findall(line))
        if not line.startswith("immersion "):
            assert options <= every, line
        elif (command := line.split()[1]) not in ("--version", "--help"):
            assert command in ("audit", "dimension"), line
            assert options <= help_options(command), line


def python_blocks() -> list[object]:
    found = {
        code: f"{named(page)}-{number}"
        for page in reversed(PAGES)
        for number, (language, code) in enumerate(blocks(page))
        if language == "python"
    }
    return [pytest.param(code, id=name) for code, name in found.items()]


@pytest.mark.parametrize("code", python_blocks())
def test_every_python_block_runs(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "block.py", "exec"), {"__name__": "__main__"})


def test_the_audit_guide_names_every_field_metric_and_threshold() -> None:
    guide = text(ROOT / "docs" / "audit.md")
    data = im.datasets.digits().subset(range(120))
    result = im.audit(im.models.digits_convnet(), data, layers=["relu3"])
    report = result.to_dict()
    layer = report["layers"][0]
    expected = {
        *report,
        *layer,
        *report["model"],
        *report["data"],
        *report["settings"],
        *report["sensitivity"],
        *report["findings"][0],
        *report["checks"][0],
        *result.accuracy.to_dict(),
        *vars(im.Thresholds()),
        *(name.rpartition("relu3.")[2] for name in metric_names(["relu3"], labelled=True)),
        *(check.id for check in result.checks),
    }
    missing = {name for name in expected if f"`{name}`" not in guide}
    assert not missing
    for name, value in vars(im.Thresholds()).items():
        assert re.search(rf"`{name}`[^\n]*\b{value}\b", guide), f"{name} is {value}"
