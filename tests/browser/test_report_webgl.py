"""The large map on a GPU: the same picture as the raster's, and a fall back when it is lost.

There is no GPU here, so WebGL runs in software, and an injected script hides that from the page,
which would otherwise (rightly) prefer its own raster.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page

DISGUISE = """
const original = HTMLCanvasElement.prototype.getContext;
window.webglContexts = 0;
HTMLCanvasElement.prototype.getContext = function (kind, options) {
  if (kind !== "webgl2") return original.call(this, kind, options);
  window.webglContexts++;
  const settings = { ...options, failIfMajorPerformanceCaveat: false };
  window.gl = original.call(this, kind, settings);
  return window.gl;
};
const parameter = WebGL2RenderingContext.prototype.getParameter;
WebGL2RenderingContext.prototype.getParameter = function (which) {
  const value = parameter.call(this, which);
  return typeof value === "string" ? "A graphics card" : value;
};
"""


def opened(browser: Browser, path: Path, script: str) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    page = context.new_page()
    page.add_init_script(script)
    page.goto(path.as_uri())
    end = time.monotonic() + 20
    while not page.evaluate("window.__immersion !== undefined"):
        assert time.monotonic() < end, "the report never became ready"
        time.sleep(0.05)
    return page


def stage(page: Page) -> NDArray[np.float64]:
    picture = Image.open(io.BytesIO(page.locator("#stage").screenshot())).convert("RGB")
    return np.asarray(picture).astype(np.float64)


def test_it_draws_what_the_raster_draws(
    browser_with_webgl: Browser, reports: dict[str, Path]
) -> None:
    fast = opened(browser_with_webgl, reports["full"], DISGUISE)
    plain = opened(browser_with_webgl, reports["full"], "")
    assert fast.evaluate("window.__immersion.backend") == "WebGL2"
    assert plain.evaluate("window.__immersion.backend") == "Canvas 2D"
    for action in ("void 0", "document.querySelector('[data-key=class-4]').click()"):
        fast.evaluate(action)
        plain.evaluate(action)
        ours, theirs = stage(fast), stage(plain)
        blank = np.abs(theirs - theirs[0, 0]).mean()
        # Discs stand on whole pixels in the one and between them in the other.
        assert np.abs(ours - theirs).mean() < 0.45 * blank
        coarse = [a[: a.shape[0] // 8 * 8, : a.shape[1] // 8 * 8] for a in (ours, theirs)]
        blocks = [a.reshape(a.shape[0] // 8, 8, a.shape[1] // 8, 8, 3).mean((1, 3)) for a in coarse]
        assert np.corrcoef(blocks[0].ravel(), blocks[1].ravel())[0, 1] > 0.97
    assert fast.evaluate("window.webglContexts") == 1


def test_a_lost_gpu_leaves_the_map_standing(
    browser_with_webgl: Browser, reports: dict[str, Path]
) -> None:
    page = opened(browser_with_webgl, reports["full"], DISGUISE)
    before = stage(page)
    page.evaluate("window.gl.getExtension('WEBGL_lose_context').loseContext()")
    end = time.monotonic() + 5
    while page.evaluate("window.__immersion.backend") != "Canvas 2D":
        assert time.monotonic() < end, "the page stayed without a map"
        time.sleep(0.05)
    assert np.abs(stage(page) - before).mean() < 0.5 * np.abs(before - before[0, 0]).mean()
