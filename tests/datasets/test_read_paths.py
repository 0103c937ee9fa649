from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from immersion.core.errors import ReadError
from immersion.datasets import read

X = np.eye(3)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *[(f"w{s}", "unpickling runs code") for s in (".pt", ".pth", ".pkl", ".ckpt", ".joblib")],
        ("table.csv", "is text; convert it"),
        ("data.H5", "h5py"),
        ("data.mat", "scipy.io.loadmat"),
        ("data.json", "text"),
        ("data.npy.gz", "unpack"),
        ("one.png", "give the folder"),
        ("data.feather", "Arrow"),
        ("data.xyz", "'.xyz', which is not known"),
        ("data", "'', which is not known"),
    ],
)
def test_other_kinds_of_file(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).write_bytes(b"content")
    with pytest.raises(ReadError, match=says) as met:
        read(tmp_path / name)
    assert ".npz, .npy, .parquet, .safetensors or a folder of images" in str(met.value)


@pytest.mark.parametrize("suffix", ["npz", "npy", "parquet", "safetensors"])
def test_empty_files(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"x.{suffix}").touch()
    with pytest.raises(ReadError, match="empty file"):
        read(tmp_path / f"x.{suffix}")


def test_missing_paths_suggest_what_is_there(tmp_path: Path) -> None:
    np.save(tmp_path / "embeddings.npy", X)
    with pytest.raises(ReadError, match=r"does not exist; did you mean 'embeddings.npy'\?"):
        read(tmp_path / "embedings.npy")
    with pytest.raises(ReadError, match="does not exist; check the path"):
        read(tmp_path / "zzz")
    with pytest.raises(ReadError, match=r"nor does the folder .*/nowhere'"):
        read(tmp_path / "nowhere" / "x.npy")


@pytest.mark.parametrize(
    "name", ["n\0ul.npy", "a" * 5000 + ".npy", "~nobody-of-this-name/x.npy", ""]
)
def test_impossible_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReadError) as met:
        read(name)
    assert str(met.value).isprintable()


@pytest.mark.parametrize(
    "name", ["名前 データ.npy", "ü ñ.NPY", "<b>&'\".npy", "-x.npy", "line\nbreak.npy"]
)
def test_names_of_any_kind(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").rename(tmp_path / name)
    data = read(tmp_path / name)
    np.testing.assert_array_equal(data.x, X)
    assert data.source == name
    with pytest.raises(ReadError) as met:
        read(tmp_path / name / "below")
    assert str(met.value).isprintable()


def test_home_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", X)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for path in ("~/x.npy", "x.npy", "./x.npy", Path("x.npy")):
        assert read(path).n == 3


def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's refusal is imitated, since tests may run as a user who may read everything."""
    np.save(tmp_path / "x.npy", X)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ReadError, match="may not be read by this user"):
        read(tmp_path / "x.npy")
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ReadError, match="may not be read by this user"):
        read(tmp_path)


def test_what_does_not_fit_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "x.npz", x=X)

    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array", exhausted)
    with pytest.raises(ReadError, match="does not fit in memory"):
        read(tmp_path / "x.npz")


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(ReadError, match="neither a file nor a folder"):
        read(tmp_path / "x.npy")
