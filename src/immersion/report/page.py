"""Renders a `ReportView` as one self-contained HTML page.

The page holds its style, its scripts, its data and both languages. It asks nothing of a network:
its content security policy allows the scripts and the style it was built with, by their hashes,
pictures from data URIs, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from immersion.report.catalog import catalog
from immersion.report.payload import payload, script_json
from immersion.report.view import ReportView

_SCRIPT_FOLDERS = ("core", "map", "panels")
_STYLES = ("tokens.css", "page.css", "maps.css", "panels.css", "print.css")


def render(view: ReportView, *, lang: Literal["auto", "en", "zh"] = "auto") -> str:
    """The report as HTML text (write it as UTF-8).

    `lang` is the language it opens in; `"auto"` is the reader's browser's. The reader can switch
    either way. Equal views give equal text. Raises `ValueError` for a view whose parts do not
    fit together (see `immersion.report.payload.check`).
    """
    packed = payload(view)
    boot, library, script, style = _boot(), _library(), _script(), _style()
    html = _template().render(
        view=view,
        lang=lang,
        html_lang="zh-CN" if lang == "zh" else "en",
        policy=_policy(scripts=(boot, library, script), styles=(style,)),
        style=_verbatim(style, "style"),
        boot=_verbatim(boot, "script"),
        library=_verbatim(library, "script"),
        script=_verbatim(script, "script"),
        data=Markup(packed.json),
        blocks={name: Markup(text) for name, text in packed.blocks.items()},
        messages=Markup(script_json({"en": _labels("en"), "zh": _labels("zh")})),
        palette=Markup(script_json(json.loads(_asset("palette.json")))),
        english=_labels("en"),
        chinese=_labels("zh"),
    )
    # A path may hold bytes that are no text (lone surrogates); no file could hold them as UTF-8.
    return html.encode("utf-8", "replace").decode("utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("immersion.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.jinja")


def _labels(lang: Literal["en", "zh"]) -> dict[str, str]:
    """The page's own labels; the findings' sentences reach the page already filled in."""
    return {key: text for key, text in catalog(lang).items() if key.startswith("page.")}


def _policy(*, scripts: tuple[str, ...], styles: tuple[str, ...]) -> str:
    """The content security policy that admits exactly these inline scripts and styles."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(_source_hash(text) for text in scripts)}",
            f"style-src {' '.join(_source_hash(text) for text in styles)}",
            "img-src data:",
            "connect-src 'none'",
            "font-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _source_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _verbatim(text: str, element: str) -> Markup:
    """Our own source as it stands; it must not close the element it stands in."""
    if f"</{element}" in text.lower():
        raise ValueError(f"an asset contains </{element}, which would end its element")
    return Markup(text)


@cache
def _boot() -> str:
    return _asset("boot.js")


@cache
def _script() -> str:
    """All modules in one strict function scope: definitions by folder, then `main.js`."""
    root = files("immersion.report").joinpath("assets")
    sources = [
        entry.read_text(encoding="utf-8")
        for folder in _SCRIPT_FOLDERS
        for entry in sorted(root.joinpath(folder).iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".js")
    ]
    body = "\n".join((*sources, _asset("main.js"))).replace("\r\n", "\n")
    return f'(() => {{\n"use strict";\n{body}}})();\n'


@cache
def _style() -> str:
    sheets = [_vendored("uplot", "uPlot.min.css"), *(_asset("css", name) for name in _STYLES)]
    return "\n".join(sheets).replace("\r\n", "\n")


@cache
def _library() -> str:
    return _vendored("uplot", "uPlot.iife.min.js").replace("\r\n", "\n")


def _asset(*path: str) -> str:
    return files("immersion.report").joinpath("assets", *path).read_text(encoding="utf-8")


def _vendored(*path: str) -> str:
    return files("immersion.report").joinpath("vendor", *path).read_text(encoding="utf-8")
