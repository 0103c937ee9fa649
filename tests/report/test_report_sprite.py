"""Thumbnails: right picture in the right place, within the limit of bytes."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from example_view import example_view
from numpy.typing import NDArray
from PIL import Image

from immersion.report import Thumbnails, thumbnails


def decoded(sprite: Thumbnails) -> NDArray[np.uint8]:
    kind, data = sprite.sprite.split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def tile(sprite: Thumbnails, row: int) -> NDArray[np.uint8]:
    place = int(sprite.tile_of[row])
    assert place >= 0
    x, y = place % sprite.columns * sprite.width, place // sprite.columns * sprite.height
    return decoded(sprite)[y : y + sprite.height, x : x + sprite.width]


def test_every_row_finds_its_own_picture() -> None:
    shades = np.linspace(0, 255, 50).astype(np.uint8)
    images = np.broadcast_to(shades[:, None, None], (50, 28, 28))
    sprite = thumbnails(images)
    for row in (0, 7, 31, 49):
        assert abs(float(tile(sprite, row).mean()) - float(shades[row])) < 10


def test_colour_images_keep_their_channels() -> None:
    images = np.zeros((4, 3, 32, 32), np.uint8)
    images[1, 0] = images[2, 1] = images[3, 2] = 255
    sprite = thumbnails(images, tile=16)
    for row, channel in ((1, 0), (2, 1), (3, 2)):
        assert tile(sprite, row).reshape(-1, 3).mean(0).argmax() == channel


def test_a_wide_picture_keeps_its_shape_and_is_centred() -> None:
    images = np.full((1, 20, 80), 255, np.uint8)
    shown = tile(thumbnails(images, tile=40), 0)[..., 0]
    assert shown.shape == (40, 40)
    assert shown[20, 20] > 240 and shown[2, 20] < 15 and shown[37, 20] < 15
    assert (shown.mean(1) > 128).sum() == 10


def test_small_pictures_are_not_enlarged() -> None:
    shown = tile(thumbnails(np.full((1, 8, 8), 255, np.uint8), tile=28), 0)[..., 0]
    assert (shown > 128).sum() == 64


def test_floats_are_scaled_robustly() -> None:
    images = np.random.default_rng(0).normal(size=(60, 1, 28, 28))
    images[0, 0, 0, 0] = 1e9
    images[0, 0, 0, 1] = np.nan
    assert 40 < decoded(thumbnails(images)).std() < 110


def test_a_told_range_is_kept() -> None:
    images = np.full((1, 28, 28), 0.25, np.float32)
    shown = tile(thumbnails(images, value_range=(0.0, 1.0)), 0)
    assert abs(float(shown.mean()) - 64) < 12


def test_too_many_pictures_keep_those_that_matter_most() -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 28, 28)).astype(np.uint8)
    first = np.arange(399, 349, -1)
    sprite = thumbnails(images, order=first, max_bytes=40_000)
    assert len(sprite.sprite) <= 40_000
    kept = np.flatnonzero(sprite.tile_of >= 0)
    assert 10 < len(kept) < 400
    assert set(kept) <= set(first) or set(first) <= set(kept)
    assert sorted(sprite.tile_of[kept]) == list(range(len(kept)))


def test_a_hopeless_limit_gives_no_picture() -> None:
    sprite = thumbnails(np.zeros((3, 28, 28), np.uint8), max_bytes=10)
    assert sprite.sprite == "" and (sprite.tile_of == -1).all()


def test_five_thousand_digits_fit() -> None:
    pictures = example_view().thumbnails
    assert pictures is not None
    assert (pictures.tile_of >= 0).all()
    assert len(pictures.sprite) <= 600_000


@pytest.mark.parametrize(("n", "tile"), [(3000, 1), (2000, 500)])
def test_the_sprite_stays_within_what_webp_and_a_browser_can_hold(n: int, tile: int) -> None:
    sprite = thumbnails(np.zeros((n, 2, 2), np.uint8), tile=tile)
    height, width, _ = decoded(sprite).shape
    assert max(height, width) <= 16383
    assert height * width <= 21_000_000


def test_it_keeps_the_tiles_it_has_room_for() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2000, 28, 28)).astype(np.uint8)
    sprite = thumbnails(images, max_bytes=200_000)
    assert 170_000 < len(sprite.sprite) <= 200_000


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((3, 28), {}, r"\(3, 28\)"),
        ((3, 2, 28, 28), {}, r"\(3, 2, 28, 28\)"),
        ((3, 0, 28), {}, "0 x 28"),
        ((3, 28, 28), {"order": [0, 3]}, r"0\.\.2"),
        ((3, 28, 28), {"order": [1, 1]}, "twice"),
        ((3, 28, 28), {"tile": 0}, "tile"),
        ((3, 28, 28), {"value_range": (1.0, 1.0)}, "value_range"),
    ],
)
def test_what_cannot_be_meant_is_said(
    shape: tuple[int, ...], options: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        thumbnails(np.zeros(shape, np.uint8), **options)  # pyright: ignore[reportArgumentType]
