from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from immersion.core.errors import ReadError
from immersion.datasets import Samples, read

X = np.arange(12, dtype=np.float32).reshape(4, 3)
COLUMNS = {"a": X[:, 0], "b.c": X[:, 1], "猫": X[:, 2]}


def table(tmp_path: Path, columns: dict, **options: object) -> Path:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return path


def notes(data: Samples) -> dict[str, dict[str, str]]:
    return dict(data.notes)


@pytest.mark.parametrize("label", ["label", "labels", "y", "target", "Class"])
@pytest.mark.parametrize(
    "values",
    [
        ["dog", "cat", "dog", "cat"],
        pa.array(["dog", "cat", "dog", "cat"]).dictionary_encode(),
        pa.array(["dog", "cat", "dog", "cat"], pa.large_string()),
        [7, 3, 7, 3],
        [7.0, 3.0, 7.0, 3.0],
        [True, False, True, False],
    ],
)
def test_columns_of_numbers_with_labels(tmp_path: Path, label: str, values: object) -> None:
    data = read(table(tmp_path, {label: values, **COLUMNS}, row_group_size=3))
    np.testing.assert_array_equal(data.x, X)
    assert data.x.dtype == np.float32
    assert data.classes in (("cat", "dog"), ("3", "7"), ("False", "True"))
    np.testing.assert_array_equal(data.y, [1, 0, 1, 0])
    assert notes(data) == {"read_columns": {"x": "a, b.c, 猫", "n": "3", "y": label}}
    assert data.source == "data.parquet"


def test_types_are_joined_and_kept_where_equal(tmp_path: Path) -> None:
    small = {name: column.astype(np.uint8) for name, column in COLUMNS.items()}
    assert read(table(tmp_path, small)).x.dtype == np.uint8
    mixed = {"a": X[:, 0], "b": X[:, 1].astype(np.int64), "c": X[:, 2] > 3}
    data = read(table(tmp_path, mixed))
    assert data.x.dtype == np.float64
    np.testing.assert_array_equal(data.x[:, 1], X[:, 1])


def test_row_numbers_and_text_are_left_out_and_named(tmp_path: Path) -> None:
    others = {"id": [5, 6, 7, 8], "__index_level_0__": range(4), "name": list("abcd")}
    data = read(table(tmp_path, {**others, **COLUMNS}))
    np.testing.assert_array_equal(data.x, X)
    assert notes(data)["ignored_columns"] == {"names": "id, __index_level_0__, name", "n": "3"}
    assert data.y is None


def test_many_columns_are_listed_in_short(tmp_path: Path) -> None:
    data = read(table(tmp_path, {f"f{i}": [0.0, 1.0] for i in range(200)}))
    assert data.x.shape == (2, 200)
    assert notes(data)["read_columns"]["x"] == "f0, f1, f2, f3, f4, f5, f6, f7, ..."


@pytest.mark.parametrize(
    "vectors",
    [
        pa.array(X.tolist(), pa.list_(pa.float32())),
        pa.array(X.tolist(), pa.large_list(pa.float32())),
        pa.array(X.tolist(), pa.list_(pa.float32(), 3)),
        pa.array([[9.0, 9.0, 9.0], *X.tolist()], pa.list_(pa.float32(), 3)).slice(1),
        pa.chunked_array([pa.array(X[:1].tolist()), pa.array(X[1:].tolist())]).cast(
            pa.list_(pa.float32())
        ),
    ],
)
def test_a_column_of_vectors(tmp_path: Path, vectors: object) -> None:
    path = table(tmp_path, {"emb": vectors, "price": [1.0, 2, 3, 4], "y": list("abba")})
    data = read(path)
    np.testing.assert_array_equal(data.x, X)
    assert data.x.dtype == np.float32
    assert data.classes == ("a", "b")
    assert notes(data)["ignored_columns"]["names"] == "price"


def test_nested_lists_keep_their_shape(tmp_path: Path) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    data = read(
        table(tmp_path, {"image": pa.array(images.tolist(), pa.list_(pa.list_(pa.uint8())))})
    )
    np.testing.assert_array_equal(data.x, images)
    assert data.x.dtype == np.uint8


def test_two_columns_of_vectors(tmp_path: Path) -> None:
    columns = {"text_embedding": X.tolist(), "image_embedding": (X + 1).tolist()}
    with pytest.raises(ReadError, match=r"'text_embedding' or 'image_embedding'; call .* 'x'"):
        read(table(tmp_path, columns))
    data = read(table(tmp_path, {**columns, "x": (X + 2).tolist()}))
    np.testing.assert_array_equal(data.x, X + 2)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"name": ["a", "b"], "when": ["c", "d"]}, "no column of numbers.*'name' string, 'when'"),
        ({"id": [1, 2], "label": [0, 1]}, "no column of numbers"),
        ({"a": [1.0, 2.0], "label": [0, 1], "target": [0, 1]}, "'label' or 'target'"),
        ({"a": [1.0, None, None]}, "'a' has 2 missing values"),
        ({"a": [1.0, 2.0], "y": ["u", None]}, "'y' has 1 missing values"),
        ({"x": [[1.0], None]}, "'x' has 1 missing values"),
        ({"x": [[1.0, None], [1.0, 2.0]]}, "'x' has 1 missing values"),
        ({"x": [[1.0, 2.0], [1.0]]}, "lists of 1 to 2 entries"),
        ({"x": [[], []]}, "no column|nothing in it"),
        ({"a": [1.0, 2.0], "target": [0.5, 1.5]}, "measurements"),
        ({"a": pa.array([], pa.float64())}, "no rows"),
        ({"x": pa.array([], pa.list_(pa.float64()))}, "no rows"),
    ],
)
def test_unfit_tables(tmp_path: Path, columns: dict, says: str) -> None:
    with pytest.raises(ReadError, match=says) as met:
        read(table(tmp_path, columns))
    assert str(met.value).isprintable()


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1.0])] * 2, names=["a", "a"]), path)
    with pytest.raises(ReadError, match="more than one column called 'a'"):
        read(path)


def test_damaged_tables(tmp_path: Path) -> None:
    path = table(tmp_path, {f"f{i}": np.random.default_rng(i).normal(size=50) for i in range(4)})
    whole = path.read_bytes()
    for content in (b"text", whole[:100], whole[:-1], whole[100:], b"PAR1" * 20):
        path.write_bytes(content)
        with pytest.raises(ReadError, match="damaged or not a parquet file"):
            read(path)


def test_without_pyarrow_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path, COLUMNS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ReadError, match=r"pip install 'immersion\[parquet\]'"):
        read(path)
