"""Pictures of the samples, shrunk and packed into one WebP sprite of bounded size."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from immersion.report.view import Thumbnails

_WEBP_SIDE = 16383
_URI_PREFIX = "data:image/webp;base64,"
_SPRITE_PIXELS = 20_000_000
"""A browser holds the sprite unpacked, at four bytes a pixel."""
_SAMPLED_FOR_RANGE = 200_000
_PROBED = 300
_PROBED_PIXELS = 1_000_000


@dataclass(frozen=True)
class _Lossy:
    quality: int


@dataclass(frozen=True)
class _Levels:
    """Lossless, after rounding the greys to this many levels."""

    levels: int


# Best first. On 5,000 MNIST digits, 8 lossless levels take 373 kB at an RMS error of 3.8 grey
# values where lossy quality 40 takes 551 kB at 4.3: line drawings do better rounded than
# transformed. Photographs are the other way round, hence both in turn.
_GREY_LADDER = (_Levels(16), _Lossy(75), _Levels(8), _Lossy(50), _Levels(6), _Lossy(25))
_COLOUR_LADDER = (_Lossy(80), _Lossy(60), _Lossy(40), _Lossy(25))


def thumbnails(
    images: ArrayLike,
    *,
    order: Sequence[int] | NDArray[np.integer] | None = None,
    max_bytes: int = 600_000,
    tile: int = 28,
    value_range: tuple[float, float] | None = None,
) -> Thumbnails:
    """Pack the pictures of the samples into one sprite of at most `max_bytes` as a data URI.

    `images` is (n, h, w), or (n, c, h, w) with c in {1, 3}; row i belongs to sample i. uint8 is
    taken as it is. Other numbers are mapped to 0..255 from `value_range`, or from the 0.1% and
    99.9% quantiles of the data where it is not told, so that one outlier does not blacken the
    rest. Each picture is shrunk (never enlarged) to fit `tile` x `tile` pixels, centred.

    A sprite that is too large is first encoded more coarsely, then keeps fewer tiles: `order`
    lists rows by priority (default: row order; rows it leaves out come last), and rows without
    a tile have `tile_of == -1`.

    Raises `ValueError` for a shape, order or limit that cannot be meant.
    """
    pictures = np.asarray(images)
    if pictures.ndim == 4 and pictures.shape[1] in (1, 3):
        pictures = np.moveaxis(pictures, 1, -1)
    elif pictures.ndim == 3:
        pictures = pictures[..., None]
    else:
        raise ValueError(
            f"images must be (n, h, w) or (n, c, h, w) with c in {{1, 3}}, got {pictures.shape}"
        )
    n, height, width, channels = _shape(pictures)
    if min(height, width) < 1:
        raise ValueError(f"images of {height} x {width} pixels have nothing to show")
    if not 1 <= tile <= 512:
        raise ValueError(f"tile must be between 1 and 512 pixels, got {tile}")
    ranked = _priority(n, order)
    tile_of: NDArray[np.int32] = np.full(n, -1, np.int32)
    if n == 0:
        return Thumbnails("", tile, tile, 1, tile_of)
    low, high = _range(pictures, value_range)

    ladder = _GREY_LADDER if channels == 1 else _COLOUR_LADDER
    across = _WEBP_SIDE // tile
    keep = min(n, across**2, _SPRITE_PIXELS // tile**2)
    probed = max(1, min(_PROBED, _PROBED_PIXELS // tile**2))
    sample = ranked[:: max(1, n // probed)][:probed]
    probe = _sheet(pictures, sample, min(len(sample), across), tile, (low, high))
    # Bytes a tile of each encoding, so that none is tried that is sure to be too large.
    cost = [_uri_bytes(_encode(probe, step)) / len(sample) for step in ladder]
    cheapest = ladder[int(np.argmin(cost))]
    keep = min(keep, int(1.2 * max_bytes / min(cost)))
    while keep > 0:
        rows = ranked[:keep]
        columns = min(math.ceil(math.sqrt(keep)), across)
        sheet = _sheet(pictures, rows, columns, tile, (low, high))
        least = math.inf
        for step, bytes_a_tile in zip(ladder, cost, strict=True):
            if step is not cheapest and bytes_a_tile * keep > 1.2 * max_bytes:
                continue
            encoded = _encode(sheet, step)
            least = min(least, _uri_bytes(encoded))
            if least <= max_bytes:
                tile_of[rows] = np.arange(keep, dtype=np.int32)
                uri = _URI_PREFIX + base64.b64encode(encoded).decode("ascii")
                return Thumbnails(uri, tile, tile, columns, tile_of)
        # The size is nearly proportional to the number of tiles: aim just below.
        keep = int(keep * min(0.97, 0.98 * max_bytes / least))
    return Thumbnails("", tile, tile, 1, tile_of)


def _shape(pictures: NDArray[np.generic]) -> tuple[int, int, int, int]:
    n, height, width, channels = (int(length) for length in pictures.shape)
    return n, height, width, channels


def _uri_bytes(encoded: bytes) -> int:
    return len(_URI_PREFIX) + 4 * math.ceil(len(encoded) / 3)


def _priority(n: int, order: Sequence[int] | NDArray[np.integer] | None) -> NDArray[np.intp]:
    if order is None:
        return np.arange(n)
    first = np.asarray(order, dtype=np.intp).ravel()
    if len(first) and not (first.min() >= 0 and first.max() < n):
        raise ValueError(f"order names rows outside 0..{n - 1}")
    if len(np.unique(first)) != len(first):
        raise ValueError("order names a row twice")
    return np.concatenate([first, np.setdiff1d(np.arange(n), first)])


def _range(pictures: NDArray[np.generic], told: tuple[float, float] | None) -> tuple[float, float]:
    if told is not None:
        low, high = told
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"value_range must be (low, high) with low < high, got {told}")
        return low, high
    if pictures.dtype == np.uint8:
        return 0.0, 255.0
    step = max(1, pictures.size // _SAMPLED_FOR_RANGE)
    sample = pictures.reshape(-1)[::step].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not len(sample):
        return 0.0, 1.0
    low, high = (float(q) for q in np.quantile(sample, (0.001, 0.999)))
    # Sparse drawings can have more than 99.9% background; their strokes are no outliers.
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    return (low, high) if high > low else (low, low + 1.0)


def _sheet(
    pictures: NDArray[np.generic],
    rows: NDArray[np.intp],
    columns: int,
    tile: int,
    bounds: tuple[float, float],
) -> NDArray[np.uint8]:
    """The tiles of `rows` side by side, (H, W, channels) uint8."""
    _, height, width, channels = _shape(pictures)
    shrink = min(1.0, tile / max(height, width))
    small_h, small_w = max(1, round(height * shrink)), max(1, round(width * shrink))
    top, left = (tile - small_h) // 2, (tile - small_w) // 2
    lines = math.ceil(len(rows) / columns)
    sheet = np.zeros((lines * tile, columns * tile, channels), np.uint8)
    for place, row in enumerate(rows):
        picture = _to_bytes(pictures[row], bounds)
        if shrink < 1.0:
            image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
            small = image.resize((small_w, small_h), Image.Resampling.BOX)
            picture = np.asarray(small).reshape(small_h, small_w, channels)
        y, x = place // columns * tile + top, place % columns * tile + left
        sheet[y : y + small_h, x : x + small_w] = picture
    return sheet


def _to_bytes(picture: NDArray[np.generic], bounds: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = bounds
    if picture.dtype == np.uint8 and bounds == (0.0, 255.0):
        return picture.astype(np.uint8)
    scaled = (picture.astype(np.float64) - low) * (255.0 / (high - low))
    return np.round(np.nan_to_num(scaled, nan=0.0).clip(0.0, 255.0)).astype(np.uint8)


def _encode(sheet: NDArray[np.uint8], step: _Lossy | _Levels) -> bytes:
    """The sheet as WebP."""
    buffer = io.BytesIO()
    pixels = sheet[..., 0] if sheet.shape[-1] == 1 else sheet
    match step:
        case _Lossy(quality):
            Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=4)
        case _Levels(levels):
            table = np.round(np.round(np.linspace(0, levels - 1, 256)) * 255 / (levels - 1))
            rounded = table.astype(np.uint8)[pixels]
            Image.fromarray(rounded).save(buffer, "WEBP", lossless=True, quality=80, method=4)
    return buffer.getvalue()
