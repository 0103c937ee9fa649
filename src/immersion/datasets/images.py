"""A folder of images: one sub-folder a class, or flat and without labels."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import ReadError
from immersion.datasets.arrays import Note, natural_key, sequence_of
from immersion.datasets.samples import Samples

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM")  # the only decoders a file can reach
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm"}
_SPLITS = ("test", "val", "valid", "validation", "train", "training")
_GREY = {"1", "L", "LA", "La"}
_ALPHA = {"LA", "La", "RGBA", "RGBa", "PA"}
_MAX_PIXELS = 2**26  # 8192 x 8192: far above what a network takes, far below what fills a memory


@dataclass(frozen=True)
class _Header:
    name: str
    size: tuple[int, int]
    mode: str
    frames: int
    transparent: bool


def read_images(folder: Path) -> Samples:
    """Samples of a folder of images, (n, 1, h, w) or (n, 3, h, w) uint8 in natural name order.

    Where every sub-folder is a split (train, val, test), the test split is read. Pixels are as
    stored: an orientation recorded by a camera is not applied, transparency is dropped.
    """
    notes: list[Note] = []
    root = _split_of(folder, notes)
    files, others = _listing(root)
    if not files:
        raise ReadError(_nothing_found(others))
    parts = [Path(name).parts for name in files]
    flat = [name for name, part in zip(files, parts, strict=True) if len(part) == 1]
    if flat and len(flat) < len(files):
        raise ReadError(
            f"has images both beside ({flat[0]!r}) and inside sub-folders; "
            "use one sub-folder a class, or no sub-folder"
        )
    if others:
        skipped = {"n": str(len(others)), "example": others[0]}
        notes.append(("skipped_files", skipped))
    headers = [_header(root, name) for name in files]
    x = _pixels(root, headers, notes)
    if flat:
        return Samples(x, source=folder.resolve().name, notes=tuple(notes))
    classes = tuple(sorted({part[0] for part in parts}, key=natural_key))
    rank = {name: index for index, name in enumerate(classes)}
    y = np.array([rank[part[0]] for part in parts], np.int64)
    shown = tuple(name.encode("utf-8", "replace").decode() for name in classes)
    return Samples(x, y, shown, folder.resolve().name, tuple(notes))


def _split_of(folder: Path, notes: list[Note]) -> Path:
    """The folder itself, or its test split where all its sub-folders are splits."""
    with os.scandir(folder) as entries:
        folders = {e.name for e in entries if e.is_dir() and not e.name.startswith(".")}
    splits = {name.lower(): name for name in folders}
    if len(splits) < 2 or not set(splits) <= set(_SPLITS):
        return folder
    split = next(name for name in _SPLITS if name in splits)
    notes.append(("read_split", {"split": splits[split]}))
    return folder / splits[split]


def _listing(root: Path) -> tuple[list[str], list[str]]:
    """Images and other files below `root`, as relative names in natural order."""

    def fail(error: OSError) -> None:
        raise error

    images: list[str] = []
    others: list[str] = []
    for folder, below, names in os.walk(root, onerror=fail):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                known = path.suffix.lower() in _SUFFIXES
                (images if known else others).append(path.relative_to(root).as_posix())

    def order(name: str) -> list[list[tuple[int, int, str]]]:
        return [natural_key(part) for part in name.split("/")]

    return sorted(images, key=order), sorted(others, key=order)


def _nothing_found(others: Sequence[str]) -> str:
    wanted = "PNG, JPEG, BMP, WebP, GIF, PPM or PGM"
    if not others:
        return f"has no images; give a folder of {wanted} files, one sub-folder a class"
    kinds = Counter(Path(name).suffix.lower() or "no suffix" for name in others).most_common(5)
    found = ", ".join(f"{count} x {kind}" for kind, count in kinds)
    return (
        f"has no images ({wanted}) among its {len(others)} files ({found}); "
        "to read one of those, give its own path"
    )


def _header(root: Path, name: str) -> _Header:
    with _opened(root, name) as image:
        if _is_deep(image):
            raise ReadError(
                f"image {name!r} has more than 8 bits a channel, which would be cut off; "
                "convert it to 8 bits, or save the pixels as .npy"
            )
        transparent = image.mode in _ALPHA or "transparency" in image.info
        return _Header(
            name, image.size, image.mode, int(getattr(image, "n_frames", 1)), transparent
        )


def _is_deep(image: Any) -> bool:
    """Whether decoding to 8 bits a channel loses any; Pillow says so only in its raw modes."""
    if image.mode.startswith("I") or image.mode == "F":
        return True
    given: list[Any] = [tile[3] for tile in image.tile]
    if image.format == "PNG":
        return any(str(raw).endswith(";16B") for raw in given)
    # The PPM decoder is told the largest value of a channel.
    return image.format == "PPM" and any(sequence_of(raw) and raw[1] > 255 for raw in given)


def _opened(root: Path, name: str) -> Any:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # the limit here is lower
            image = Image.open(root / name, formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise ReadError(f"image {name!r} is refused: {error}") from error
    except PermissionError:
        raise
    except Exception as error:  # decoders fail in many ways on damaged headers
        raise _damaged(name, error) from error
    if image.width * image.height > _MAX_PIXELS:
        image.close()
        raise ReadError(
            f"image {name!r} is {image.width} x {image.height} pixels, more than "
            f"{_MAX_PIXELS} and refused as a possible decompression bomb; resize it"
        )
    return image


def _damaged(name: str, error: Exception) -> ReadError:
    kind = type(error).__name__
    return ReadError(
        f"image {name!r} is damaged or of another format ({kind}); replace or remove it"
    )


def _pixels(root: Path, headers: Sequence[_Header], notes: list[Note]) -> NDArray[np.uint8]:
    first = headers[0]
    for header in headers:
        if header.size != first.size:
            raise ReadError(
                f"image {header.name!r} is {header.size[0]} x {header.size[1]} pixels but "
                f"{first.name!r} is {first.size[0]} x {first.size[1]}; resize to one size"
            )
    grey = [header for header in headers if header.mode in _GREY]
    channels = 1 if len(grey) == len(headers) else 3
    for message, count in (
        ("grey_as_colour", len(grey) if channels == 3 else 0),
        ("dropped_transparency", sum(header.transparent for header in headers)),
        ("first_frame_only", sum(header.frames > 1 for header in headers)),
    ):
        if count:
            notes.append((message, {"n": str(count), "of": str(len(headers))}))
    width, height = first.size
    x = np.empty((len(headers), channels, height, width), np.uint8)
    for row, header in enumerate(headers):
        with _opened(root, header.name) as image:
            try:
                values = np.asarray(image.convert("L" if channels == 1 else "RGB"))
            except Exception as error:  # decoders fail in many ways on damaged pixels
                raise _damaged(header.name, error) from error
        x[row] = values[np.newaxis] if channels == 1 else values.transpose(2, 0, 1)
    return x
