"""The message catalogues: both languages say the same things."""

from __future__ import annotations

import re
from importlib.resources import files
from string import Formatter

import pytest

from immersion.report import CatalogError, Text, catalog, text


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def test_both_languages_have_the_same_keys() -> None:
    assert catalog.catalog("en").keys() == catalog.catalog("zh").keys()


def test_a_key_has_the_same_fields_in_both_languages() -> None:
    english, chinese = catalog.catalog("en"), catalog.catalog("zh")
    differing = {key for key in english if fields(english[key]) != fields(chinese[key])}
    assert not differing


def test_every_chinese_sentence_is_chinese() -> None:

    for key, sentence in catalog.catalog("zh").items():
        if key.startswith("page."):
            assert re.search(r"[\u4e00-\u9fff]", sentence), key


def test_the_page_asks_for_no_label_that_is_missing() -> None:
    root = files("immersion.report")
    sources = [
        entry.read_text(encoding="utf-8")
        for folder in ("core", "map", "panels")
        for entry in root.joinpath("assets", folder).iterdir()
    ]
    sources.append(root.joinpath("assets", "main.js").read_text(encoding="utf-8"))
    sources.append(root.joinpath("templates", "report.html.jinja").read_text(encoding="utf-8"))
    asked = set(re.findall(r"[\"'](page\.[A-Za-z.]*[A-Za-z])[\"']", "\n".join(sources)))
    assert asked
    assert asked <= catalog.catalog("en").keys()


def test_text_fills_named_fields_in_both_languages() -> None:
    found = text("page.selection.count", count=3, total=10)
    assert found.en == "3 of 10 samples"
    assert "3" in found.zh and "10" in found.zh and found.zh != found.en


def test_a_text_parameter_enters_each_sentence_in_its_language() -> None:
    found = text("page.selection.class", name=Text("cat", "猫"))
    assert found.en.endswith("cat") and found.zh.endswith("猫")


def test_values_are_not_formatted_twice() -> None:
    assert "{count}" in text("page.selection.class", name="{count}").en


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(CatalogError, match=r"page\.no\.such\.key"):
        text("page.no.such.key")


def test_a_missing_field_is_named_with_its_key() -> None:
    with pytest.raises(CatalogError, match=r"page\.selection\.count.*'total'"):
        text("page.selection.count", count=3)
