from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from immersion.core.errors import InputError
from immersion.datasets import Samples, as_samples, first_nonfinite, require_finite


def samples(n: int = 6, *, classes: int = 3) -> Samples:
    x = np.arange(n * 4, dtype=np.float32).reshape(n, 4)
    y = (np.arange(n) % classes).astype(np.int64)
    return Samples(x, y, tuple("abc"[:classes]), "six", (("read_split", {"split": "test"}),))


def test_one_sample_is_enough() -> None:
    one = Samples(np.ones((1, 1)), np.zeros(1, np.int64), ("only",))
    assert (one.n, one.shape) == (1, (1,))
    assert one.subset([0]).n == 1


@pytest.mark.parametrize(
    ("x", "y", "classes", "says"),
    [
        (np.zeros((0, 3)), None, (), r"\(0, 3\)"),
        (np.zeros((3, 0)), None, (), r"\(3, 0\)"),
        (np.zeros(3), None, (), r"x\[:, None\]"),
        (np.float32(1), None, (), "float32"),
        (np.array(1.0), None, (), r"\(\)"),
        (np.zeros((3, 1), complex), None, (), "complex128"),
        (np.array([["a"]]), None, (), "<U1"),
        (np.zeros((3, 1), object), None, (), "object"),
        ([[1.0]], None, (), "list"),
        (np.zeros((3, 1)), None, ("a",), "without labels"),
        (np.zeros((3, 1)), np.zeros(2, np.int64), ("a",), r"y has shape \(2,\).*\(3, 1\)"),
        (np.zeros((3, 1)), np.zeros((3, 1), np.int64), ("a",), r"\(3, 1\)"),
        (np.zeros((3, 1)), np.zeros(3, np.int32), ("a",), "int32"),
        (np.zeros((3, 1)), [0, 0, 0], ("a",), "as_samples"),
        (np.zeros((3, 1)), np.array([0, 1, 2]), ("a", "b"), "from 0 to 2 but there are 2"),
        (np.zeros((3, 1)), np.array([0, -1, 0]), ("a", "b"), "from -1 to 0"),
        (np.zeros((3, 1)), np.zeros(3, np.int64), (), "0 class names"),
    ],
)
def test_what_no_audit_could_use_is_refused(
    x: object, y: object, classes: object, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        Samples(x, y, classes)  # pyright: ignore


def test_subset_keeps_order_repeats_and_everything_else() -> None:
    data = samples()
    part = data.subset([5, 0, 0])
    np.testing.assert_array_equal(part.x, data.x[[5, 0, 0]])
    np.testing.assert_array_equal(part.y, [2, 0, 0])
    assert (part.classes, part.source, part.notes) == (data.classes, data.source, data.notes)
    assert not np.shares_memory(part.x, data.x)
    assert data.subset(np.array([True, False] * 3)).n == 3
    assert Samples(data.x).subset(range(2)).y is None


@pytest.mark.parametrize(
    "rows",
    [[], [6], [-1], [0.0], [[0]], 0, [True] * 5, [False] * 6, ["a"], np.array([2**63], "u8")],
)
def test_subset_refuses_rows_that_are_not_there(rows: object) -> None:
    with pytest.raises(InputError):
        samples().subset(rows)  # pyright: ignore


def test_hash_is_of_values_not_of_layout(tmp_path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", np.asfortranarray(x))
    same = [
        x,
        np.asfortranarray(x),
        np.repeat(x, 2, axis=0)[::2],
        x[::-1][::-1],
        x.astype(">f4"),
        np.load(tmp_path / "x.npy", mmap_mode="r"),
    ]
    hashes = {Samples(values).sha256() for values in same}
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64


def test_hash_sees_every_part() -> None:
    x = np.zeros((4, 4), np.float32)
    y = np.zeros(4, np.int64)
    other = x.copy()
    other[3, 3] = 1e-30
    different = [
        Samples(x),
        Samples(other),
        Samples(x.reshape(4, 2, 2)),
        Samples(x.view(np.int32)),
        Samples(x, y, ("a", "b")),
        Samples(x, y + 1, ("a", "b")),
    ]
    assert len({data.sha256() for data in different}) == len(different)
    assert Samples(x, y, ("c", "d"), "elsewhere").sha256() == different[4].sha256()


def test_hash_is_the_same_in_every_release() -> None:
    x = np.arange(6, dtype=np.uint8).reshape(3, 2)
    written = b"x |u1 (3, 2)\n" + bytes(range(6)) + b"y <i8 (3,)\n" + struct.pack("<3q", 0, 1, 0)
    expected = hashlib.sha256(written).hexdigest()
    assert Samples(x, np.array([0, 1, 0]), ("a", "b")).sha256() == expected


def test_hash_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    from immersion.datasets import samples as module

    data = samples()
    whole = data.sha256()
    for size in (1, 17, 33):
        monkeypatch.setattr(module, "_CHUNK_BYTES", size)
        assert data.sha256() == whole


@pytest.mark.parametrize("chunk", [1, 2, 7, 100, None])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nonfinite_values_are_counted_by_row(chunk: int | None, dtype: type) -> None:
    x = np.zeros((9, 2, 3), dtype)
    assert first_nonfinite(x, chunk) is None
    x[4, 1, 0], x[4, 0, 2], x[8, 0, 0] = np.nan, np.inf, -np.inf
    assert first_nonfinite(x, chunk) == (2, 4)
    assert first_nonfinite(np.asfortranarray(x), chunk) == (2, 4)


def test_integers_are_always_finite_and_chunks_must_hold_a_row() -> None:
    assert first_nonfinite(np.zeros((3, 2), np.uint8)) is None
    assert first_nonfinite(np.zeros((3, 2), bool), 1) is None
    with pytest.raises(InputError, match="chunk is 0"):
        first_nonfinite(np.zeros((3, 2)), 0)


def test_the_error_names_the_first_position() -> None:
    x = np.zeros((5000, 1, 4), np.float32)
    require_finite(as_samples(x))
    x[17, 0, 3] = np.nan
    x[40, 0, 0] = np.inf
    with pytest.raises(InputError) as met:
        require_finite(as_samples(x))
    assert str(met.value) == (
        "x[17, 0, 3] is nan; 2 of 5000 rows have non-finite values; remove or impute them"
    )
