"""A headless Chromium without a GPU, and the example reports as files on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from example_view import example_view
from opened import FLAGS, Opened, OpenReport
from playwright.sync_api import Browser, Playwright, sync_playwright

from immersion.report import render


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert found, "no Chromium: install it, or set CHROMIUM to its path"
    return found


@pytest.fixture(scope="session")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
    yield started
    started.close()


@pytest.fixture(scope="module")
def browser_with_webgl(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """A Chromium whose WebGL runs on the processor, for the drawing path of real GPUs."""
    flags = [flag for flag in FLAGS if flag != "--disable-gpu"]
    software = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    started = playwright.chromium.launch(executable_path=chromium, args=flags + software)
    yield started
    started.close()


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Report files by name."""
    folder = tmp_path_factory.mktemp("reports")
    views = {
        "full": example_view(),
        "hostile": example_view(hostile=True, found=12),
        "unlabelled": example_view(labelled=False, pictured=False),
        "calm": example_view(n=500, found=0),
    }
    paths: dict[str, Path] = {}
    for name, view in views.items():
        paths[name] = folder / f"{name}.html"
        paths[name].write_text(render(view), encoding="utf-8")
    return paths


@pytest.fixture
def open_report(browser: Browser, reports: dict[str, Path]) -> Iterator[OpenReport]:
    """Opens the report of a name (or path) and waits until it is ready.

    Options are those of a browser context; `init_script` runs before the page's own scripts.
    """
    contexts: list[Any] = []

    def opener(name: str | Path = "full", **options: Any) -> Opened:
        settings: dict[str, Any] = {
            "viewport": {"width": 1280, "height": 900},
            "locale": "en-US",
            "reduced_motion": "reduce",
            **options,
        }
        init_script = settings.pop("init_script", "")
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(init_script)
        path = name if isinstance(name, Path) else reports[name]
        opened = Opened(page, path.as_uri())
        page.on("console", lambda message: opened.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: opened.said.append(f"error: {error}"))
        page.on("request", lambda request: opened.asked.append(request.url))

        def refuse(dialog: Any) -> None:
            opened.dialogs.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", refuse)
        page.goto(opened.url)
        if settings.get("java_script_enabled", True):
            opened.await_true("window.__immersion !== undefined", seconds=20)
        return opened

    yield opener
    for context in contexts:
        context.close()
