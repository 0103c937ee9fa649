"""How fast the report is, headless and without a GPU; every time is the median of 3 loads."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import pytest
from example_view import example_view
from opened import AFTER_PAINT, Opened, OpenReport

from immersion.report import render

MIDDLE = "[[20000, 20000], [45000, 20000], [45000, 45000], [20000, 45000]]"


def hover_ms(report: Opened) -> float:
    """From a hover to the next painted frame, the worst of five places."""
    return max(
        report.page.evaluate(
            f"""async () => {{
                const begin = performance.now();
                window.__immersion.hover({20000 + 5000 * place}, 30000);
                await {AFTER_PAINT};
                return performance.now() - begin;
            }}"""
        )
        for place in range(5)
    )


def lasso_ms(report: Opened) -> float:
    """From a lasso to the frame in which every map shows it."""
    return report.page.evaluate(
        f"""async () => {{
            const begin = performance.now();
            window.__immersion.lasso({MIDDLE});
            await {AFTER_PAINT};
            return performance.now() - begin;
        }}"""
    )


def measured(open_report: OpenReport, name: str | Path) -> dict[str, Any]:
    loads: list[dict[str, float]] = []
    for _ in range(3):
        report = open_report(name)
        timings = report.probe("timings")
        loads.append(
            {
                "first map": timings["firstMap"],
                "all maps and pictures": timings["ready"],
                "hover": hover_ms(report),
                "lasso": lasso_ms(report),
            }
        )
        report.page.context.close()
    return {key: round(median(load[key] for load in loads), 1) for key in loads[0]}


def test_five_thousand_samples_in_twelve_layers(
    open_report: OpenReport, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured(open_report, "full")
    with capsys.disabled():
        print(f"\n5,000 x 12 (ms): {found}")
    assert found["first map"] <= 1000
    assert found["lasso"] <= 150
    assert found["hover"] <= 50


def test_seventy_thousand_samples_are_measured(
    open_report: OpenReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed, not asserted: the aim is 3 s, which the machine's load decides."""
    path = tmp_path / "large.html"
    path.write_text(render(example_view(n=70_000, pictured=False)), encoding="utf-8")
    found = measured(open_report, path)
    with capsys.disabled():
        print(f"\n70,000 x 12, {path.stat().st_size / 1e6:.1f} MB (ms): {found}")
    assert found.keys() == {"first map", "all maps and pictures", "hover", "lasso"}
