from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from immersion.core.errors import ReadError
from immersion.datasets import Samples, images, read

DRAW = np.random.default_rng(0)


def put(
    path: Path, *, mode: str = "L", size: tuple[int, int] = (5, 4), **options: object
) -> np.ndarray:
    """Save a random image of `size` = (width, height) and give its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}[mode]
    pixels = DRAW.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    Image.fromarray(pixels, mode if mode == "CMYK" else None).save(path, **options)
    return pixels


def notes(data: Samples) -> dict[str, dict[str, str]]:
    return dict(data.notes)


def test_one_sub_folder_a_class_in_natural_order(tmp_path: Path) -> None:
    root = tmp_path / "animals"
    pixels = {
        name: put(root / name)
        for name in ("class10/b2.png", "class10/b10.png", "class2/a.PNG", "class2/deep/er/c.png")
    }
    data = read(root)
    order = ["class2/a.PNG", "class2/deep/er/c.png", "class10/b2.png", "class10/b10.png"]
    assert data.classes == ("class2", "class10")
    np.testing.assert_array_equal(data.y, [0, 0, 1, 1])
    assert (data.x.shape, data.x.dtype, data.source) == ((4, 1, 4, 5), np.uint8, "animals")
    for row, name in enumerate(order):
        np.testing.assert_array_equal(data.x[row, 0], pixels[name])
    assert data.notes == ()
    assert read(root).sha256() == data.sha256()


def test_a_flat_folder_has_no_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "flat"
    pixels = [put(root / f"{i}.png", mode="RGB") for i in range(12)]
    monkeypatch.chdir(root)
    for path in (root, ".", f"{root}/"):
        data = read(path)
        assert (data.y, data.classes, data.source) == (None, (), "flat")
        np.testing.assert_array_equal(data.x, np.stack(pixels).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "pgm", "webp", "jpg", "jpeg"])
def test_formats_grey(tmp_path: Path, suffix: str) -> None:
    lossy = {"jpg": {"quality": 100}, "jpeg": {"quality": 100}, "webp": {"lossless": True}}
    pixels = put(tmp_path / f"x.{suffix}", **lossy.get(suffix, {}))
    x = read(tmp_path).x
    if suffix == "webp":  # which knows only colour
        assert x.shape == (1, 3, 4, 5)
        x = x[:, :1]
    np.testing.assert_allclose(x[0, 0].astype(int), pixels, atol=2 if "jp" in suffix else 0)


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "webp"])
def test_formats_colour(tmp_path: Path, suffix: str) -> None:
    pixels = put(
        tmp_path / f"x.{suffix}", mode="RGB", **({"lossless": True} if suffix == "webp" else {})
    )
    np.testing.assert_array_equal(read(tmp_path).x[0], pixels.transpose(2, 0, 1))


def test_one_colour_image_makes_all_colour(tmp_path: Path) -> None:
    grey = put(tmp_path / "a.png")
    clear = put(tmp_path / "b.png", mode="RGBA")
    faint = put(tmp_path / "c.png", mode="LA")
    Image.fromarray(grey > 127).save(tmp_path / "d.png")
    Image.fromarray(clear[..., :3]).quantize(8).save(tmp_path / "e.png")
    put(tmp_path / "f.jpg", mode="CMYK")
    data = read(tmp_path)
    assert data.x.shape == (6, 3, 4, 5)
    np.testing.assert_array_equal(data.x[0], np.stack([grey] * 3))
    np.testing.assert_array_equal(data.x[1], clear[..., :3].transpose(2, 0, 1))
    np.testing.assert_array_equal(data.x[2], np.stack([faint[..., 0]] * 3))
    np.testing.assert_array_equal(data.x[3, 0], np.where(grey > 127, 255, 0))
    assert notes(data) == {
        "grey_as_colour": {"n": "3", "of": "6"},
        "dropped_transparency": {"n": "2", "of": "6"},
    }


def test_only_grey_with_transparency_stays_grey(tmp_path: Path) -> None:
    faint = put(tmp_path / "a.png", mode="LA")
    data = read(tmp_path)
    np.testing.assert_array_equal(data.x[0, 0], faint[..., 0])
    assert notes(data) == {"dropped_transparency": {"n": "1", "of": "1"}}


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("L", (5, 4), shade) for shade in (10, 200, 90)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    data = read(tmp_path)
    assert set(np.unique(data.x)) == {10}
    assert notes(data) == {"first_frame_only": {"n": "1", "of": "1"}}


def test_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/._1.png", ".hidden/2.png", "dog/3.png", "empty/.keep.png"):
        put(tmp_path / name)
    for name in ("readme.txt", "cat/labels10.csv", "cat/labels9.csv"):
        (tmp_path / name).write_text("text")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    (tmp_path / "dog" / "loop").symlink_to(tmp_path)
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    data = read(tmp_path)
    assert (data.n, data.classes) == (2, ("cat", "dog"))
    assert notes(data) == {"skipped_files": {"n": "3", "example": "cat/labels9.csv"}}


def test_split_folders(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("Test", 2)):
        for index in range(count):
            put(tmp_path / split / "cat" / f"{index}.png")
    data = read(tmp_path)
    assert (data.n, data.classes, data.source) == (2, ("cat",), tmp_path.name)
    assert notes(data) == {"read_split": {"split": "Test"}}
    assert read(tmp_path / "train").n == 3


@pytest.mark.parametrize("name", ["猫", "ü ñ", "<img src=x onerror=alert(1)>", "a\nb", "'\""])
def test_class_names_of_any_kind(tmp_path: Path, name: str) -> None:
    put(tmp_path / name / "x.png")
    assert read(tmp_path).classes == (name,)
    (tmp_path / name / "y.png").write_bytes(b"damaged")
    with pytest.raises(ReadError) as met:
        read(tmp_path)
    assert str(met.value).isprintable()


def test_class_names_that_are_not_text(tmp_path: Path) -> None:
    put(tmp_path / os.fsdecode(b"caf\xe9") / "x.png")
    (name,) = read(tmp_path).classes
    assert name == "caf?"


def test_mixed_sizes_name_two_files(tmp_path: Path) -> None:
    put(tmp_path / "cat" / "1.png")
    put(tmp_path / "dog" / "2.png", size=(7, 4))
    with pytest.raises(ReadError, match=r"'dog/2.png' is 7 x 4 .*'cat/1.png' is 5 x 4; resize"):
        read(tmp_path)


def test_images_beside_and_inside_sub_folders(tmp_path: Path) -> None:
    put(tmp_path / "1.png")
    put(tmp_path / "cat" / "2.png")
    with pytest.raises(ReadError, match=r"beside \('1.png'\) and inside"):
        read(tmp_path)


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="has no images; give a folder of PNG"):
        read(tmp_path)
    for name in ("a.npz", "b.npz", "noted"):
        (tmp_path / name).write_text("x")
    with pytest.raises(ReadError, match=r"among its 3 files \(2 x .npz, 1 x no suffix\)"):
        read(tmp_path)


def png16(colour: int, channels: int) -> bytes:
    """A 1 x 1 PNG of 16 bits a channel, which Pillow itself cannot write in colour."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", 1, 1, 16, colour, 0, 0, 0)
    body = zlib.compress(b"\0" + b"\x01\x2c" * channels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.png", png16(0, 1)),
        ("x.png", png16(2, 3)),
        ("x.png", png16(4, 2)),
        ("x.png", png16(6, 4)),
        ("x.pgm", b"P5 1 1 65535\n" + struct.pack(">H", 300)),
        ("x.ppm", b"P6 1 1 65535\n" + struct.pack(">HHH", 300, 300, 300)),
        ("x.ppm", b"P6 1 1 1023\n" + struct.pack(">HHH", 300, 300, 300)),
        ("x.pgm", b"Pf 1 1 -1.0\n" + struct.pack("<f", 300)),
    ],
)
def test_more_than_8_bits_are_refused_not_clipped(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ReadError, match="more than 8 bits"):
        read(tmp_path)


def test_other_formats_behind_a_known_suffix_are_not_decoded(tmp_path: Path) -> None:
    Image.new("L", (5, 4)).save(tmp_path / "x.png", format="TIFF")
    with pytest.raises(ReadError, match=r"'x.png' is damaged or of another format"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "gif", "ppm"])
def test_cut_images(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "cat" / f"x.{suffix}"
    put(path, mode="RGB", size=(40, 30))
    whole = path.read_bytes()
    for stop in (0, 1, 10, len(whole) // 2):
        path.write_bytes(whole[:stop])
        with pytest.raises(ReadError, match=rf"'cat/x.{suffix}' is damaged"):
            read(tmp_path)


def test_decompression_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.ppm").write_bytes(b"P6 60000 60000 255\n" + b"0" * 100)
    with pytest.raises(ReadError, match=r"'x.ppm' is refused"):
        read(tmp_path)
    (tmp_path / "x.ppm").write_bytes(b"P6 9000 9000 255\n" + b"0" * 100)
    with pytest.raises(ReadError, match=r"9000 x 9000 .*decompression bomb"):
        read(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "x.ppm").write_bytes(b"P6 60000 60000 255\n" + b"0" * 100)
    with pytest.raises(ReadError, match="decompression bomb"):
        read(tmp_path)
    (tmp_path / "x.ppm").unlink()
    put(tmp_path / "x.png")
    monkeypatch.setattr(images, "_MAX_PIXELS", 20)
    assert read(tmp_path).n == 1
    monkeypatch.setattr(images, "_MAX_PIXELS", 19)
    with pytest.raises(ReadError, match="decompression bomb"):
        read(tmp_path)
