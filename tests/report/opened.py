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

AFTER_PAINT = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"

CONTRASTS = """(() => {
  const channels = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const luminance = (rgb) => rgb
    .map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const over = (front, back) => {
    const [r, g, b, a = 1] = front;
    return [r, g, b].map((v, i) => v * a + back[i] * (1 - a));
  };
  const ground = (node) => {
    const above = [];
    for (let one = node; one !== null; one = one.parentElement) {
      above.push(channels(getComputedStyle(one).backgroundColor));
    }
    return above.reduceRight((back, front) => over(front, back), [255, 255, 255]);
  };
  const opacity = (node) => {
    let product = 1;
    for (let one = node; one !== null; one = one.parentElement) {
      product *= Number(getComputedStyle(one).opacity);
    }
    return product;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    const node = walker.currentNode.parentElement;
    if (text === "" || !node.checkVisibility({ visibilityProperty: true })) continue;
    if (node.closest("script, style, button:disabled, .visually-hidden, .skip")) continue;
    const back = ground(node);
    const [r, g, b, a = 1] = channels(getComputedStyle(node).color);
    const ink = over([r, g, b, a * opacity(node)], back);
    const [one, other] = [luminance(ink), luminance(back)].sort((p, q) => q - p);
    found.push([(one + 0.05) / (other + 0.05), text.slice(0, 60)]);
  }
  return found;
})()"""
"""Of every visible text: its contrast with what lies behind it, computed from the styles."""


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
