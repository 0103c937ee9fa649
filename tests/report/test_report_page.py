"""The page as text: self-contained, inert, deterministic, useful without scripts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from example_view import SCRIPT, example_view

from immersion.report import LayerMap, ReportView, Text, render


class Elements(HTMLParser):
    """Every element with its attributes, and the raw text of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self.text: list[str] = []
        self._open: tuple[str, dict[str, str | None]] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open = (tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is None:
            self.text.append(data)
        else:
            self.raw.append((*self._open, data))


def data_of(html: str) -> dict[str, Any]:
    blocks = [text for _, attributes, text in Elements(html).raw if attributes.get("id") == "data"]
    return json.loads("".join(blocks))


@pytest.fixture(scope="module")
def html() -> str:
    return render(example_view())


def test_equal_views_give_equal_pages(html: str) -> None:
    assert render(example_view()) == html


def test_it_names_no_external_address(html: str) -> None:
    assert "http://" not in html and "https://" not in html
    assert "//# source" not in html and "@import" not in html


def test_it_is_within_the_target_size(html: str) -> None:
    assert len(html.encode()) <= 1_500_000


def test_the_policy_admits_exactly_the_inline_scripts_and_the_style(html: str) -> None:
    page = Elements(html)
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in page.found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["connect-src"] == rules["font-src"] == "'none'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        run = [
            text for name, attributes, text in page.raw if name == tag and "type" not in attributes
        ]
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run]
        assert rules[rule].split() == [f"'sha256-{digest}'" for digest in hashes]


def test_nothing_loads_from_outside_and_nothing_is_inline(html: str) -> None:
    for tag, attributes in Elements(html).found:
        assert not attributes.get("src"), tag
        assert "style" not in attributes, tag
        assert not any(attribute.startswith("on") for attribute in attributes), tag
        if tag != "a":
            assert (attributes.get("href") or "data:").startswith("data:")


def test_hostile_names_add_no_element() -> None:
    calm, hostile = Elements(render(example_view())), Elements(render(example_view(hostile=True)))
    assert [tag for tag, _ in hostile.found] == [tag for tag, _ in calm.found]
    assert data_of(render(example_view(hostile=True)))["classes"][0] == SCRIPT


def test_text_that_is_no_unicode_is_replaced() -> None:
    page = render(replace(example_view(), title="broken \udcff name"))
    assert "broken ? name" in page


def test_the_arrays_arrive_as_they_were(html: str) -> None:
    view = example_view()
    data, page = data_of(html), Elements(html)
    blocks = {
        a.get("id"): text for _, a, text in page.raw if (a.get("id") or "").startswith("block-")
    }

    def array(reference: dict[str, str]) -> np.ndarray:
        packed = base64.b64decode(blocks[f"block-{reference['block']}"] or "")
        return np.frombuffer(
            gzip.decompress(packed), np.dtype(reference["dtype"]).newbyteorder("<")
        )

    for picture, sent in zip(view.maps, data["maps"], strict=True):
        np.testing.assert_array_equal(array(sent["xy"]).reshape(-1, 2), picture.xy)
    np.testing.assert_array_equal(array(data["labels"]), view.labels)
    np.testing.assert_array_equal(array(data["ids"]), view.sample_ids)


def test_unknown_labels_large_ids_and_nan_survive() -> None:
    view = example_view(n=50, pictured=False)
    curve = view.curves[3]
    series = replace(curve.series[0], values=(float("nan"), *curve.series[0].values[1:]))
    html = render(
        replace(
            view,
            labels=np.full(50, -1, np.int32),
            sample_ids=np.arange(50) + 2**40,
            curves=(replace(curve, series=(series,)),),
        )
    )
    data = data_of(html)
    assert data["ids"]["dtype"] == "int64"
    assert data["curves"][0]["series"][0]["values"][0] is None


def test_without_scripts_the_findings_stand_in_both_languages(html: str) -> None:
    text = " ".join(Elements(html.split("<noscript>")[1].split("</noscript>")[0]).text)
    for finding in example_view().findings:
        for part in (finding.title, finding.body, finding.action):
            assert part.en in text and part.zh in text
    assert "(control: 9.8% ± 0.3)" in text and "（对照：9.8% ± 0.3）" in text
    for check in example_view().checks:
        assert check.says.en in text and check.says.zh in text
    for verdict in ("found", "clear", "not decidable", "not applicable", "无法判定", "不适用"):
        assert verdict in text


@pytest.mark.parametrize(("lang", "expected"), [("auto", "en"), ("en", "en"), ("zh", "zh-CN")])
def test_the_language_is_declared(lang: str, expected: str) -> None:
    view = example_view(n=20, pictured=False, found=0)
    page = render(view, lang=lang)  # pyright: ignore[reportArgumentType]
    assert re.search(rf'<html lang="{expected}" data-language="{lang}">', page)


def _wrong_map(view: ReportView) -> ReportView:
    bad = LayerMap("conv", np.zeros((3, 2), np.uint16), Text("", ""))
    return replace(view, maps=(bad,))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_wrong_map, "map of layer 'conv'"),
        (lambda view: replace(view, labels=view.labels[:3]), "labels"),
        (lambda view: replace(view, layers=view.layers[:3]), "curve 'dimension'"),
        (
            lambda view: replace(view, findings=(replace(view.findings[0], samples=(99,)),)),
            "finding 'labels'",
        ),
        (
            lambda view: replace(
                view,
                curves=(
                    replace(view.curves[0], series=(replace(view.curves[0].series[0], colour=-1),)),
                ),
            ),
            "curve 'dimension' has the colour of class -1",
        ),
        (
            lambda view: replace(view, suspects=(replace(view.suspects[0], sample=-1),)),
            "suspect -1",
        ),
    ],
)
def test_parts_that_do_not_fit_are_named(spoil: Any, said: str) -> None:
    view = example_view(n=80, pictured=False)
    with pytest.raises(ValueError, match=said):
        render(spoil(view))
