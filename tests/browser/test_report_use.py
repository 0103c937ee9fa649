"""What a reader does with the report: hover, select, search, sort, switch, print."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from example_view import example_view
from opened import AFTER_PAINT, Opened, OpenReport
from playwright.sync_api import Browser


@pytest.fixture
def report(open_report: OpenReport) -> Opened:
    return open_report("full")


def canvases(report: Opened) -> list[str]:
    """A fingerprint of the pixels of every small map."""
    return report.page.evaluate(
        """[...document.querySelectorAll("#multiples canvas")].map((canvas) => {
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            let sum = 0;
            for (let i = 0; i < data.length; i++) sum = (sum * 31 + data[i]) >>> 0;
            return String(sum);
        })"""
    )


def test_it_opens_in_silence_and_asks_for_nothing(open_report: OpenReport) -> None:
    for name in ("full", "unlabelled", "calm", "hostile"):
        report = open_report(name)
        assert report.said == []
        assert [url for url in report.asked if not url.startswith("data:")] == [report.url]


def test_every_layer_has_a_map(report: Opened) -> None:
    assert report.page.locator("#multiples button").count() == 12
    assert len(set(canvases(report))) == 12


def test_hover_shows_the_sample_under_the_pointer(report: Opened) -> None:
    view = example_view()
    assert view.labels is not None
    report.page.locator("#multiples button").last.click()
    for row in (10, 2500, 4990):
        report.page.mouse.move(*report.point(row))
        shown = report.probe("focused")
        here, there = view.maps[-1].xy[[row, shown]].astype(float)
        assert np.hypot(*(here - there)) < 150
        card = report.page.locator("#tooltip").inner_text()
        assert f"#{view.sample_ids[shown]}" in card
        assert re.search(rf"Label\s+{view.labels[shown]}\b", card)
        assert report.page.locator("#tooltip .picture").count() == 1
    report.page.mouse.move(5, 5)
    assert report.probe("focused") == -1


def test_a_click_pins_the_sample(report: Opened) -> None:
    report.page.mouse.click(*report.point(100))
    pinned = report.probe("focused")
    report.page.mouse.move(5, 5)
    assert report.probe("focused") == pinned >= 0
    assert report.page.locator("#multiples .follower:visible").count() == 12


def test_a_class_is_selected_in_all_layers(report: Opened) -> None:
    view = example_view()
    before = canvases(report)
    report.page.click('[data-key="class-4"]')
    assert report.probe("selectedRows") == np.flatnonzero(view.labels == 4).tolist()
    after = canvases(report)
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert f"{(view.labels == 4).sum():,} of 5,000" in report.page.inner_text("#selection")
    assert report.page.locator("#selection .thumbnail").count() == 60
    report.page.click('[data-key="class-4"]')
    assert report.probe("selectionCount") == 0
    assert canvases(report) == before


def test_a_lasso_selects_what_lies_inside(report: Opened) -> None:
    xy = example_view().maps[0].xy.astype(float)
    found = report.probe("lasso([[20000, 10000], [40000, 10000], [40000, 40000], [20000, 40000]])")
    inside = (xy > [20000, 10000]).all(1) & (xy < [40000, 40000]).all(1)
    border = ((xy == [20000, 10000]) | (xy == [40000, 40000])).any(1).sum()
    assert abs(found["count"] - inside.sum()) <= border
    assert set(np.flatnonzero(inside)) <= set(report.probe("selectedRows"))


def test_a_lasso_is_drawn_with_shift_and_the_pointer(report: Opened) -> None:
    x, y = report.point(2000)
    mouse = report.page.mouse
    report.page.keyboard.down("Shift")
    mouse.move(x - 60, y - 60)
    mouse.down()
    for dx, dy in ((60, -60), (60, 60), (-60, 60)):
        mouse.move(x + dx, y + dy, steps=8)
    mouse.up()
    report.page.keyboard.up("Shift")
    assert 2000 in report.probe("selectedRows")
    assert "Lasso in input" in report.page.inner_text("#selection")


def test_dragging_and_zooming_move_the_map(report: Opened) -> None:
    x, y = report.point(2000)
    report.page.click("#zoom-in")
    zoomed = report.point(2000)
    assert zoomed != (x, y)
    report.page.mouse.move(*zoomed)
    report.page.mouse.down()
    report.page.mouse.move(zoomed[0] + 40, zoomed[1] + 25, steps=4)
    report.page.mouse.up()
    assert report.point(2000) == pytest.approx((zoomed[0] + 40, zoomed[1] + 25), abs=1)
    report.page.locator("#stage").focus()
    report.page.mouse.wheel(0, -200)
    report.page.mouse.dblclick(*report.point(2000))
    assert report.point(2000) == pytest.approx((x, y), abs=1)


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("#{id}", [77]),
        ("3", "label 3"),
        ("wrong", "wrong"),
        ("#99999999", []),
        ("no such class", []),
    ],
)
def test_search(report: Opened, query: str, rows: str | list[int]) -> None:
    view = example_view()
    assert view.labels is not None and view.predictions is not None
    report.page.fill("#search-box", query.format(id=view.sample_ids[77]))
    report.page.press("#search-box", "Enter")
    expected = {
        "label 3": np.flatnonzero(view.labels == 3).tolist(),
        "wrong": np.flatnonzero(view.labels != view.predictions).tolist(),
    }
    assert report.probe("selectedRows") == (expected[rows] if isinstance(rows, str) else rows)
    if rows == [77]:
        assert report.probe("focused") == 77
    if rows == []:
        assert report.page.inner_text("#search-answer")


def test_the_keyboard_walks_selects_clears_and_changes_the_layer(report: Opened) -> None:
    view = example_view()
    assert view.labels is not None
    report.page.locator("#stage").focus()
    report.page.keyboard.press("ArrowRight")
    first = report.probe("focused")
    for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowUp", 1, 1), ("ArrowLeft", 0, -1)):
        before = report.probe("focused")
        report.page.keyboard.press(key)
        after = report.probe("focused")
        step = view.maps[0].xy[after].astype(int) - view.maps[0].xy[before].astype(int)
        assert sign * step[axis] > 0 and abs(step[axis]) >= abs(step[1 - axis])
    assert first >= 0
    assert str(view.sample_ids[report.probe("focused")]) in report.page.inner_text("#live")
    report.page.keyboard.press("Enter")
    label = view.labels[report.probe("focused")]
    assert report.probe("selectedRows") == np.flatnonzero(view.labels == label).tolist()
    report.page.keyboard.press("Escape")
    assert (report.probe("selectionCount"), report.probe("focused")) == (0, -1)
    report.page.keyboard.press("]")
    assert report.probe("layer") == view.layers[1]
    report.page.keyboard.press("[")
    report.page.keyboard.press("[")
    assert report.probe("layer") == view.layers[-1]


def test_a_finding_shows_its_samples_and_its_layer(report: Opened) -> None:
    view = example_view()
    report.page.click('[data-key="samples-0"]')
    assert report.probe("selectedRows") == sorted(view.findings[0].samples)
    assert report.probe("layer") == view.findings[0].layer
    assert report.page.locator("#suspects tr.selected").count() == 20
    report.page.click('[data-key="layer-4"]')
    assert report.probe("layer") == "logits"


def test_at_most_seven_findings_stand_open(open_report: OpenReport) -> None:
    report = open_report("hostile")
    assert report.page.locator("#findings .finding:visible").count() == 7
    report.page.locator("#findings summary").click()
    assert report.page.locator("#findings .finding:visible").count() == 12
    keys = report.page.locator("#findings [data-key]").evaluate_all(
        "nodes => nodes.map((node) => node.dataset.key)"
    )
    assert len(set(keys)) == len(keys) > 0


def test_no_findings_is_said_calmly(open_report: OpenReport) -> None:
    said = open_report("calm").page.inner_text("#findings")
    assert "Nothing was found" in said and "no proof" in said


def test_the_table_sorts_by_mouse_and_keyboard(report: Opened) -> None:
    def column() -> list[str]:
        return report.page.locator("#suspects tbody td.label").all_inner_texts()

    scores = report.page.locator("#suspects tbody td.score").all_inner_texts()
    assert scores == sorted(scores, reverse=True)
    report.page.click('[data-key="sort-label"]')
    assert column() == sorted(column())
    assert report.page.get_attribute("#suspects th.label", "aria-sort") == "ascending"
    report.page.keyboard.press("Enter")
    assert report.page.get_attribute("#suspects th.label", "aria-sort") == "descending"
    assert column() == sorted(column(), reverse=True)


def test_rows_of_the_table_join_the_selection(report: Opened) -> None:
    view = example_view()
    report.page.locator("#suspects tbody input").nth(2).check()
    assert report.probe("selectedRows") == [view.suspects[2].sample]
    report.page.keyboard.press("Space")
    assert report.probe("selectionCount") == 0
    report.page.click('[data-key="page-next"]')
    assert "21–40 of 40" in report.page.inner_text("#suspects")
    report.page.click('[data-key="highlight"]')
    assert report.probe("selectionCount") == 40


def test_ids_can_be_downloaded(report: Opened) -> None:
    view = example_view()
    report.page.click('[data-key="class-7"]')
    with report.page.expect_download() as waiting:
        report.page.click('#selection [data-key="download"]')
    ids = waiting.value.path().read_text().split()
    assert ids == [str(sample) for sample in view.sample_ids[view.labels == 7]]
    assert report.said == []


def test_charts_have_lines_a_readout_and_the_same_numbers_as_a_table(report: Opened) -> None:
    view = example_view()
    chart = report.page.locator("figure.chart").first
    chart.scroll_into_view_if_needed()
    assert report.page.locator("figure.chart canvas").count() == 5
    chart.locator("summary").click()
    cells = chart.locator("tbody tr").nth(2).locator("td").all_inner_texts()
    assert cells[0] == "not decidable"
    measured = view.curves[0].series[1].values[2]
    assert measured is not None and cells[1] == f"{measured:.2f} ± 0.20"
    over = chart.locator(".u-over").bounding_box()
    assert over is not None
    report.page.mouse.move(over["x"] + over["width"] / 24, over["y"] + 40)
    assert "input" in chart.locator(".readout").inner_text()
    toggle = chart.locator('[data-key="series-0"]')
    toggle.click()
    assert chart.locator('[data-key="series-0"]').get_attribute("aria-pressed") == "false"


def test_a_layer_is_chosen_in_a_chart(report: Opened) -> None:
    chart = report.page.locator("figure.chart").first
    chart.scroll_into_view_if_needed()
    over = chart.locator(".u-over").bounding_box()
    assert over is not None
    report.page.mouse.click(over["x"] + over["width"] - 6, over["y"] + 40)
    assert report.probe("layer") == "logits"


def test_the_language_switches_every_label(report: Opened) -> None:
    report.page.click('[data-key="class-4"]')
    report.page.click('button[data-language="zh"]')
    view = example_view()
    assert report.page.get_attribute("html", "lang") == "zh-CN"
    text = report.page.inner_text("#app")
    for finding in view.findings:
        assert finding.title.zh in text and finding.title.en not in text
    left = re.findall(r"\b(?:Findings|Classes|Selection|Copy|Label|Score|Notes|Layer)\b", text)
    assert left == []
    report.page.mouse.move(*report.point(2000))
    assert "预测" in report.page.inner_text("#tooltip")
    assert "图" in (report.page.get_attribute("#stage", "aria-label") or "")
    assert report.probe("selectionCount") == (view.labels == 4).sum()
    report.page.click('button[data-language="en"]')
    assert report.page.get_attribute("html", "lang") == "en"
    assert view.findings[0].title.en in report.page.inner_text("#app")


def test_the_browser_chooses_the_first_language(open_report: OpenReport) -> None:
    report = open_report("full", locale="zh-CN")
    assert report.page.get_attribute("html", "lang") == "zh-CN"


def test_the_theme_follows_the_reader_and_switches(open_report: OpenReport) -> None:
    report = open_report("full", color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    before = canvases(report)
    assert report.page.evaluate(background) == "rgb(21, 23, 26)"
    report.page.click('[data-theme-choice="light"]')
    assert report.page.evaluate(background) == "rgb(250, 249, 246)"
    assert all(a != b for a, b in zip(before, canvases(report), strict=True))


def test_it_works_without_labels_and_pictures(open_report: OpenReport) -> None:
    report = open_report("unlabelled")
    report.page.mouse.move(*report.point(1000))
    assert report.probe("focused") >= 0
    assert "#" in report.page.inner_text("#tooltip")
    assert report.probe("lasso([[0, 0], [65535, 0], [65535, 65535], [0, 65535]])")["count"] > 4900
    assert report.page.locator("#suspects").is_hidden()


@pytest.mark.parametrize("width", [380, 768, 1280, 2560])
@pytest.mark.parametrize("name", ["full", "hostile"])
def test_the_page_never_scrolls_sideways(open_report: OpenReport, name: str, width: int) -> None:
    report = open_report(name, viewport={"width": width, "height": 900})
    assert report.page.evaluate("document.documentElement.scrollWidth") == width


def test_the_canvas_follows_the_screen(open_report: OpenReport) -> None:
    report = open_report("full", device_scale_factor=2)
    sharp = (
        "document.querySelector('canvas.points').width"
        " / document.querySelector('#stage').clientWidth"
    )
    assert report.page.evaluate(sharp) == pytest.approx(2, abs=0.01)
    report.page.set_viewport_size({"width": 700, "height": 900})
    report.await_true(f"Math.abs({sharp} - 2) < 0.01")


def test_hostile_names_render_inert(open_report: OpenReport) -> None:
    report = open_report("hostile")
    report.page.click('[data-key="class-0"]')
    report.page.click('button[data-language="zh"]')
    report.page.mouse.move(*report.point(2000))
    report.page.click('[data-key="sort-label"]')
    for _ in range(12):
        report.page.keyboard.press("]")
    assert report.dialogs == [] and report.said == []
    assert report.page.locator("img").count() == 0
    assert report.page.evaluate("document.scripts.length") == report.page.evaluate(
        "[...document.querySelectorAll('head > script, body > script')].length"
    )
    assert "<script>alert(1)</script>" in report.page.inner_text("#legend")


def test_without_scripts_the_findings_can_be_read(open_report: OpenReport) -> None:
    report = open_report("full", java_script_enabled=False)
    text = report.page.inner_text("body")
    for finding in example_view().findings:
        assert finding.title.en in text and finding.title.zh in text


def test_an_old_browser_still_gets_the_findings(browser: Browser, reports: dict[str, Path]) -> None:
    page = browser.new_context(locale="zh-CN").new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto(reports["full"].as_uri())
    report = Opened(page, page.url)
    report.await_true("!document.getElementById('failure').hidden")
    assert "无法打开" in page.inner_text("#failure")
    assert example_view().findings[0].title.zh in page.inner_text("#findings")
    page.context.close()


def test_print_opens_the_tables_and_hides_the_controls(report: Opened) -> None:
    report.page.emulate_media(media="print")
    report.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert report.page.locator("figure.chart table:visible").count() == 5
    assert report.page.locator("#suspects tbody tr:visible").count() == 40
    assert report.page.locator("button[data-language]:visible").count() == 0
    assert report.page.locator("#stage:visible").count() == 0
    report.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert report.page.locator("details[open]").count() == 0
    assert report.page.locator("#suspects tbody tr").count() == 20


def test_controls_are_named_and_images_described(report: Opened) -> None:
    nameless = report.page.evaluate(
        """[...document.querySelectorAll("button, input, textarea, [role=img], [role=application]")]
            .filter((node) => node.checkVisibility())
            .filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim()
                || node.labels?.length || node.querySelector("[aria-label]")))
            .map((node) => node.outerHTML.slice(0, 120))"""
    )
    assert nameless == []


@pytest.mark.parametrize(
    ("language", "verdicts"),
    [
        ("en", ["found", "clear", "not decidable", "not applicable"]),
        ("zh", ["有发现", "正常", "无法判定", "不适用"]),
    ],
)
def test_every_check_is_listed_after_the_findings(
    report: Opened, language: str, verdicts: list[str]
) -> None:
    report.page.click(f'button[data-language="{language}"]')
    rows = report.page.locator("#findings + #checks li")
    assert rows.locator(".verdict").all_inner_texts() == verdicts
    said = rows.locator(".check-says").all_inner_texts()
    assert [text.replace("\u00a0", " ") for text in said] == [
        check.says.en if language == "en" else check.says.zh for check in example_view().checks
    ]
    marks = rows.locator(".verdict-mark").evaluate_all(
        """nodes => nodes.map((node) => {
            const own = getComputedStyle(node), drawn = getComputedStyle(node, "::before");
            return [own.clipPath, own.borderStyle, drawn.borderStyle].join();
        })"""
    )
    assert len(set(marks)) == 4, "a verdict differs from another by its colour only"


def ink_in(report: Opened, curve: str, colour: str) -> int:
    """How many pixels of a chart have exactly this colour (light theme)."""
    return report.page.evaluate(
        """([curve, colour]) => {
            const canvas = document.querySelector(`[data-curve="chart-${curve}"] canvas`);
            const { data } = canvas.getContext("2d")
              .getImageData(0, 0, canvas.width, canvas.height);
            const wanted = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
            let count = 0;
            for (let i = 0; i < data.length; i += 4) {
              if (data[i + 3] === 255 && wanted.every((v, c) => data[i + c] === v)) count++;
            }
            return count;
        }""",
        [curve, colour],
    )


def test_a_line_is_emphasised_by_pointer_and_keyboard(report: Opened) -> None:
    orange = "#f3610c"
    entries = report.page.locator('[data-curve="chart-per_class"] .chart-series')
    entries.first.scroll_into_view_if_needed()
    report.await_true("document.querySelectorAll('figure.chart canvas').length === 5")
    plain = ink_in(report, "per_class", orange)
    entries.nth(1).hover()
    report.page.evaluate(AFTER_PAINT)
    emphasised = ink_in(report, "per_class", orange)
    entries.nth(2).hover()
    report.page.evaluate(AFTER_PAINT)
    faded = ink_in(report, "per_class", orange)
    report.page.mouse.move(2, 2)
    report.page.evaluate(AFTER_PAINT)
    assert emphasised > 1.3 * plain > 0 == faded
    assert ink_in(report, "per_class", orange) == plain
    entries.first.focus()
    report.page.keyboard.press("Tab")
    report.page.evaluate(AFTER_PAINT)
    assert ink_in(report, "per_class", orange) == emphasised


def test_a_logarithmic_axis_is_said_and_leaves_out_what_it_cannot_hold(report: Opened) -> None:
    chart = report.page.locator('[data-curve="chart-sensitivity"]')
    chart.scroll_into_view_if_needed()
    caption = chart.locator("figcaption").inner_text()
    assert "logarithmic" in caption and "zero and less" in caption
    values = chart.locator(".series-value")
    over = chart.locator(".u-over").bounding_box()
    assert over is not None
    report.page.mouse.move(over["x"] + over["width"] / 24, over["y"] + 40)
    assert values.nth(2).inner_text().replace("\u00a0", " ") == "0.00 ± 0.50"
    report.page.click('button[data-language="zh"]')
    assert "对数" in chart.locator("figcaption").inner_text()
    assert report.said == []


def test_reading_a_chart_moves_nothing(report: Opened) -> None:
    """The values stand in cells wide enough for every layer's."""
    chart = report.page.locator('[data-curve="chart-per_class"]')
    chart.scroll_into_view_if_needed()
    over = chart.locator(".u-over").bounding_box()
    assert over is not None
    heights: set[float] = set()
    for layer in range(12):
        report.page.mouse.move(over["x"] + (layer + 0.5) * over["width"] / 12, over["y"] + 60)
        heights.add(chart.evaluate("node => node.getBoundingClientRect().height"))
    assert len(heights) == 1
    report.page.mouse.move(2, 2)
    assert "input" in chart.locator(".readout").inner_text()
