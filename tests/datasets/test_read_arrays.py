from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from immersion.core.errors import ReadError
from immersion.datasets import Samples, read

X = np.arange(24, dtype=np.float32).reshape(6, 4)
Y = np.array([0, 2, 1, 0, 2, 1])
IMAGES = np.arange(6 * 9, dtype=np.uint8).reshape(6, 3, 3)


def notes(data: Samples) -> dict[str, dict[str, str]]:
    return dict(data.notes)


def save(kind: str, path: Path, arrays: dict[str, np.ndarray]) -> Path:
    path = path.with_suffix(f".{kind}")
    if kind == "npz":
        np.savez_compressed(path, **arrays)
    else:
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, path)
    return path


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@pytest.mark.parametrize(
    ("arrays", "x", "y", "split"),
    [
        ({"x": X, "y": Y}, "x", "y", None),
        ({"X": X, "Y": Y}, "X", "Y", None),
        ({"data": X, "labels": Y}, "data", "labels", None),
        ({"images": IMAGES, "label": Y}, "images", "label", None),
        ({"features": X, "targets": Y}, "features", "targets", None),
        ({"Embeddings": X, "target": Y}, "Embeddings", "target", None),
        ({"inputs": X, "classes": Y}, "inputs", "classes", None),
        ({"x": X}, "x", "", None),
        ({"arr_0": X}, "arr_0", "", None),
        ({"arr_0": X, "arr_1": Y}, "arr_0", "", None),
        ({"x": X, "data": IMAGES, "y": Y}, "x", "y", None),
        ({"features": X, "y": Y, "labels": Y[:2]}, "features", "y", None),
        (
            {"x_test": X, "y_test": Y, "x_train": X[:2], "y_train": Y[:2]},
            "x_test",
            "y_test",
            "test",
        ),
        (
            {"train_images": X[:2], "train_labels": Y[:2], "test_images": X, "test_labels": Y},
            *("test_images", "test_labels", "test"),
        ),
        ({"X_val": X, "Y_val": Y, "X_train": X[:2]}, "X_val", "Y_val", "val"),
        ({"train.x": X, "train.y": Y}, "train.x", "train.y", "train"),
        ({"x_test": X, "y_train": Y}, "x_test", "", "test"),
    ],
)
def test_which_array_is_x_and_which_y(
    tmp_path: Path, kind: str, arrays: dict, x: str, y: str, split: str | None
) -> None:
    data = read(save(kind, tmp_path / "data", arrays))
    np.testing.assert_array_equal(data.x, arrays[x])
    assert data.x.dtype == arrays[x].dtype
    assert notes(data)["read_arrays"] == {"x": x, "y": y}
    assert notes(data).get("read_split") == (None if split is None else {"split": split})
    left = set(arrays) - {x, y}
    said = notes(data).get("ignored_arrays", {"names": ""})["names"]
    assert set(filter(None, said.split(", "))) == left
    if y:
        np.testing.assert_array_equal(data.y, Y)
        assert data.classes == ("0", "1", "2")
    else:
        assert data.y is None
    assert data.source == f"data.{kind}"


@pytest.mark.parametrize("key", ["classes", "class_names", "label_names", "target_names"])
def test_class_names_beside_class_indices(tmp_path: Path, key: str) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=X, y=Y, **{key: np.array(["ant", "bee", "cat", "unused"])})
    data = read(path)
    assert data.classes == ("ant", "bee", "cat", "unused")
    np.testing.assert_array_equal(data.y, Y)
    np.savez(path, x=X, y=Y, **{key: np.array(["ant", "bee"])})
    data = read(path)
    assert data.classes == ("0", "1", "2")
    assert notes(data)["ignored_class_names"] == {"array": key}


def test_labels_of_text_and_with_gaps(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, classes=np.array(["b", "a", "b", "b", "a", "b"]))
    assert read(tmp_path / "a.npz").classes == ("a", "b")
    np.savez(tmp_path / "b.npz", x=X, y=np.array([7.0, 3, 7, 3, 3, 3]))
    assert read(tmp_path / "b.npz").classes == ("3", "7")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "holds no arrays"),
        ({"y": Y}, r"no array of shape \(n, features...\).*'y' \(6,\)"),
        (
            {"a": X, "b": IMAGES},
            r"call the one to use 'x'; .*'a' \(6, 4\) float32, 'b' \(6, 3, 3\)",
        ),
        ({"data": X, "images": IMAGES}, "'data' or 'images'"),
        ({"x_test": X, "test_images": IMAGES}, "x could be '(x_test|test_images)' or "),
        ({"x": X, "label": Y, "target": Y}, "y could be 'label' or 'target'"),
        ({"x": X, "y": Y[:5]}, r"y has shape \(5,\) but x has shape \(6, 4\)"),
        ({"x": X, "y": np.eye(6)}, "argmax"),
        ({"x": X[:0], "y": Y[:0]}, r"\(0, 4\)"),
        ({"x": X, "y": Y + 0.5}, "measurements"),
    ],
)
@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_ambiguous_or_unfit_arrays(tmp_path: Path, kind: str, arrays: dict, says: str) -> None:
    path = save(kind, tmp_path / "data", arrays)
    with pytest.raises(ReadError, match=says) as met:
        read(path)
    assert str(met.value).startswith(f"'{path.as_posix()}': ")
    assert "\n" not in str(met.value)


def test_a_long_list_of_arrays_is_cut(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", **{f"a{i}": X for i in range(50)})
    with pytest.raises(ReadError, match="and 30 more"):
        read(tmp_path / "many.npz")


class Bomb:
    def __reduce__(self) -> object:
        return (Path.touch, (Path("unpickled"),))


def test_nothing_is_ever_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = np.empty((2, 1), object)
    hostile[:] = Bomb()
    np.savez("x.npz", x=hostile)
    np.savez("y.npz", x=X[:2], y=hostile[:, 0])
    np.save("x.npy", hostile)
    Path("raw.npy").write_bytes(pickle.dumps(Bomb()))
    Path("raw.npz").write_bytes(pickle.dumps(Bomb()))
    torch.save({"x": Bomb()}, "x.pt")
    for name in ("x.pkl", "x.npz.pth"):
        Path(name).write_bytes(pickle.dumps(Bomb()))
    for name in ("x.npz", "y.npz", "x.npy", "x.pt", "x.pkl", "x.npz.pth"):
        with pytest.raises(ReadError, match="unpickling runs code"):
            read(name)
    for name in ("raw.npy", "raw.npz"):
        with pytest.raises(ReadError, match="damaged"):
            read(name)
    assert not Path("unpickled").exists()


def test_object_arrays_that_are_not_chosen_do_no_harm(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y, meta=np.array([{"a": 1}], object))
    assert notes(read(tmp_path / "a.npz"))["ignored_arrays"] == {"names": "meta"}


def test_npy_is_memory_mapped_and_unlabelled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "x_labels.npy", Y)
    data = read(tmp_path / "x.npy")
    assert isinstance(data.x, np.memmap)
    assert data.y is None
    assert data.notes == (("memory_mapped", {}),)
    np.testing.assert_array_equal(data.x, IMAGES)
    assert not isinstance(data.subset([0, 1]).x, np.memmap)


@pytest.mark.parametrize("stored", [np.asfortranarray(X), X.astype(">f8"), X.astype("f2"), X > 3])
def test_npy_of_any_layout(tmp_path: Path, stored: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", stored)
    data = read(tmp_path / "x.npy")
    np.testing.assert_array_equal(data.x, stored)
    assert data.x.dtype == stored.dtype.newbyteorder("=")
    assert data.sha256() == Samples(stored).sha256()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (Y, r"\(6,\)"),
        (np.array(1.0), r"\(\)"),
        (X[:0], r"\(0, 4\)"),
        (X.astype(complex), "complex128"),
        (np.array([["a"]]), "<U1"),
        (np.zeros((2, 2), [("a", "f4")]), "dtype"),
    ],
)
def test_npy_that_is_not_samples(tmp_path: Path, array: np.ndarray, says: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ReadError, match=says):
        read(tmp_path / "x.npy")


@pytest.mark.parametrize("kind", ["npz", "npy", "safetensors"])
def test_a_file_cut_anywhere_or_altered_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"data.{kind}"
    x = np.random.default_rng(0).normal(size=(60, 4))
    if kind == "npy":
        np.save(path, x)
    else:
        save(kind, path, {"x": x, "y": np.arange(60) % 3})
    whole, draw = path.read_bytes(), np.random.default_rng(1)
    for stop in [*range(0, len(whole) - 1, 37), len(whole) - 1]:
        path.write_bytes(whole[:stop])
        with pytest.raises(ReadError, match=r"damaged|cut short|empty|cannot be read"):
            read(path)
    for _ in range(150):
        altered = bytearray(whole)
        for place in draw.integers(0, len(whole), 8):
            altered[place] = draw.integers(0, 256)
        path.write_bytes(bytes(altered))
        assert "\n" not in complaint(path)


def complaint(path: Path) -> str:
    """What `read` says of a file it refuses; nothing of one it takes."""
    try:
        read(path)
    except ReadError as error:
        return str(error)
    return ""


def archive(path: Path, member: bytes, name: str = "x.npy") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, member)
    return path


def header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def test_a_header_that_promises_too_much_allocates_nothing(tmp_path: Path) -> None:
    for shape in ((2**40, 8), (2**62, 8), (2**31, 2**31, 2**31)):
        path = archive(tmp_path / "big.npz", header(shape) + b"0" * 64)
        with pytest.raises(ReadError, match="cut short"):
            read(path)
        (tmp_path / "big.npy").write_bytes(header(shape) + b"0" * 64)
        with pytest.raises(ReadError, match="cut short"):
            read(tmp_path / "big.npy")


def test_other_archives(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="holds no arrays"):
        read(archive(tmp_path / "docs.npz", b"hello", "readme.txt"))
    with pytest.raises(ReadError, match="'x' is damaged"):
        read(archive(tmp_path / "text.npz", b"hello, this is text"))
    with pytest.raises(ReadError, match="version"):
        read(archive(tmp_path / "new.npz", b"\x93NUMPY\x09\x00" + b" " * 100))
    path = archive(tmp_path / "sealed.npz", header((1, 1)) + b"\0" * 8)
    sealed = bytearray(path.read_bytes())
    sealed[6] |= 1
    sealed[sealed.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(sealed))
    with pytest.raises(ReadError, match="encrypted"):
        read(path)


def test_safetensors_in_every_type(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for dtype in (
        torch.float16,
        torch.float32,
        torch.float64,
        torch.uint8,
        torch.int64,
        torch.bool,
    ):
        save_tensors({"x": torch.from_numpy(X).to(dtype)}, path)
        assert str(read(path).x.dtype) == str(dtype).removeprefix("torch.")
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        save_tensors({"x": torch.from_numpy(X[:, :2]).to(dtype), "y": torch.from_numpy(Y)}, path)
        data = read(path)
        assert data.x.dtype == np.float32
        assert notes(data)["converted_dtype"]["from"] == str(dtype).removeprefix("torch.")
        assert data.classes == ("0", "1", "2")


def test_hostile_array_names_stay_on_one_line(tmp_path: Path) -> None:
    save_file({"<script>\n": X, "\x1b[31mred": IMAGES}, tmp_path / "x.safetensors")
    with pytest.raises(ReadError) as met:
        read(tmp_path / "x.safetensors")
    assert str(met.value).isprintable()


def test_the_same_file_gives_the_same_samples(tmp_path: Path) -> None:
    for path in [save(kind, tmp_path / "a", {"x": X, "y": Y}) for kind in ("npz", "safetensors")]:
        first, second = read(path), read(str(path))
        assert first.sha256() == second.sha256() == Samples(X, Y, ("0", "1", "2")).sha256()
        assert first.notes == second.notes
