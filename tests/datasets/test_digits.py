from __future__ import annotations

import importlib.util
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np

from immersion.datasets import digits, digits_index

ROOT = Path(__file__).resolve().parents[2]
HASH = "58b888e73c81ce7f45947468faeb9b6136df6f7444bc75e4d94f6944cd583232"


def bundler():
    spec = importlib.util.spec_from_file_location("bundle_digits", ROOT / "tools/bundle_digits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_five_hundred_of_each_digit() -> None:
    data = digits()
    assert (data.x.shape, data.x.dtype) == ((5000, 1, 28, 28), np.uint8)
    assert data.classes == tuple("0123456789")
    assert data.y is not None
    assert np.bincount(data.y).tolist() == [500] * 10
    assert data.source == "MNIST test set, 5,000 of 10,000, stratified"
    assert (data.x.min(), data.x.max()) == (0, 255)


def test_the_values_are_the_ones_that_were_released() -> None:
    assert digits().sha256() == HASH


def test_rows_are_shuffled_and_distinct() -> None:
    data = digits()
    assert len(np.unique(data.x.reshape(5000, -1), axis=0)) == 5000
    assert (np.diff(data.y) != 0).mean() > 0.85  # 0.9 where neighbours are independent


def test_each_can_be_found_again_in_mnist() -> None:
    rows = digits_index()
    assert rows.shape == (5000,)
    assert len(set(rows.tolist())) == 5000
    assert 0 <= rows.min() < rows.max() < 10_000


def test_two_calls_share_nothing() -> None:
    first = digits()
    first.x[:] = 0
    assert digits().x.max() == 255


def test_the_file_is_small_dated_and_licensed() -> None:
    stored = files("immersion.datasets") / "digits.npz"
    assert len(stored.read_bytes()) < 1_500_000
    with stored.open("rb") as file, zipfile.ZipFile(file) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    licence = (files("immersion.datasets") / "digits.LICENSE.md").read_text(encoding="utf-8")
    for words in ("Yann LeCun", "Corinna Cortes", "Christopher J. C. Burges", "CC BY-SA 3.0"):
        assert words in licence


def test_the_bundler_draws_the_same_rows_of_the_smallest_class_too() -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(10), 892))
    rows = bundler().chosen_rows(labels)
    assert np.bincount(labels[rows]).tolist() == [500] * 10
    assert len(set(rows.tolist())) == 5000
    np.testing.assert_array_equal(rows, bundler().chosen_rows(labels))


def test_the_bundler_writes_the_same_bytes(tmp_path: Path) -> None:
    arrays = {"x": np.arange(6).reshape(2, 3), "y": np.array([0, 1])}
    for name in ("a.npz", "b.npz"):
        bundler().write_npz(tmp_path / name, arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as stored:
        np.testing.assert_array_equal(stored["x"], arrays["x"])
