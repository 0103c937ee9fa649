"""The classes' colours: visible on their ground, and told apart by colour-blind eyes."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

Theme = Literal["light", "dark"]
Array = NDArray[np.float64]

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def asset(*path: str) -> str:
    return files("immersion.report").joinpath("assets", *path).read_text(encoding="utf-8")


def linear(colours: list[str]) -> Array:
    values = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(colour: str, ground: str) -> float:
    light = linear([colour, ground]) @ np.array([0.2126, 0.7152, 0.0722])
    return float((light.max() + 0.05) / (light.min() + 0.05))


def oklab(colours: Array) -> Array:
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    axes = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(colours.clip(0, 1) @ cones.T) @ axes.T


def tokens(theme: Theme) -> dict[str, str]:
    sheet = asset("css", "tokens.css")
    selector = r":root \{" if theme == "light" else r':root\[data-theme="dark"\] \{'
    block = re.search(selector + r"(.*?)\n\}", sheet, re.DOTALL)
    assert block is not None
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block.group(1)))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_class_colour_stands_out_from_the_ground(theme: Theme) -> None:
    colours = json.loads(asset("palette.json"))[theme]
    assert len(colours) == len(set(colours)) == 20
    for colour in colours:
        assert contrast(colour, tokens(theme)["ground"]) >= 3, colour
        assert contrast(colour, tokens(theme)["paper"]) >= 3, colour


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("vision", "least"), [("normal", 0.13), *((v, 0.07) for v in list(VISIONS)[1:])]
)
def test_ten_classes_can_be_told_apart(theme: Theme, vision: str, least: float) -> None:
    """0.02 in OKLab is about the smallest step one sees; marks this small need a few times that."""
    colours = linear(json.loads(asset("palette.json"))[theme][:10])
    seen = oklab(colours @ VISIONS[vision].T)
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert distances[np.triu_indices(10, 1)].min() >= least


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISIONS)
def test_twelve_lines_of_a_chart_can_be_told_apart(theme: Theme, vision: str) -> None:
    found = json.loads(asset("palette.json"))
    colours = [tokens(theme)["accent"], *(found[theme][index] for index in found["lines"])]
    seen = oklab(linear(colours) @ VISIONS[vision].T)
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert len(colours) == 12
    assert distances[np.triu_indices(12, 1)].min() >= 0.055
    assert distances[:8, :8][np.triu_indices(8, 1)].min() >= 0.07


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_controls_have_contrast(theme: Theme) -> None:
    found = tokens(theme)
    for ground in ("paper", "ground", "wash"):
        for ink in ("ink", "muted", "accent", "high", "medium", "info"):
            assert contrast(found[ink], found[ground]) >= 4.5, (ink, ground)
    for mark in ("edge", "null-series", "single"):
        assert contrast(found[mark], found["paper"]) >= 3, mark
    assert contrast(found["on-accent"], found["accent"]) >= 4.5
