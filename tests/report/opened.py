"""A report open in a browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Page

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Opened:
    """A report in a browser, and everything it said or asked for."""

    page: Page
    url: str
    said: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])
    dialogs: list[str] = field(default_factory=list[str])

    def probe(self, expression: str) -> Any:
        """`expression` on the page's probe object, such as `layer` or `hover(1, 2)`."""
        return self.page.evaluate(f"window.__immersion.{expression}")

    def await_true(self, expression: str, seconds: float = 5.0) -> None:
        """Wait until `expression` holds (the policy forbids Playwright's own way to wait)."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.02)

    def point(self, row: int) -> tuple[float, float]:
        """Where sample `row` stands in the large map, in window coordinates."""
        self.page.locator("#stage").scroll_into_view_if_needed()
        box = self.page.locator("#stage").bounding_box()
        assert box is not None
        x, y = self.probe(f"pixelsOf({row})")
        return box["x"] + x, box["y"] + y


OpenReport = Callable[..., Opened]
"""`open_report(name or path, **options of a browser context)`."""
