"""Parquet tables: numeric columns, or one column of vectors, with a column of labels."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import ReadError
from immersion.datasets.arrays import Note, to_labels
from immersion.datasets.samples import Samples

_LABELS = {"label", "labels", "y", "target", "targets", "class", "classes"}
_VECTORS = {"x", "features", "embedding", "embeddings", "vector", "data"}
_ROW_NAMES = {"id", "idx", "index", "unnamed: 0", ""}


def read_parquet(path: Path) -> Samples:
    """Samples of a parquet file; row numbers and text columns are left out, with a note."""
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise ReadError(
            "reading parquet needs pyarrow: pip install 'immersion[parquet]'"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            label, features = _columns(arrow, schema)
            chosen = [*features, label] if label else features
            table = file.read(columns=chosen)
    except (arrow.ArrowException, OSError) as error:
        first = str(error).split("\n", 1)[0]
        raise ReadError(f"is damaged or not a parquet file ({first}); save it again") from error
    if not table.num_rows:
        raise ReadError("has no rows")
    values = [_values(arrow, table.column(name), name) for name in features]
    x = values[0] if values[0].ndim > 1 else np.stack(values, axis=1)
    left = [name for name in schema.names if name not in chosen]
    notes: list[Note] = [
        ("read_columns", {"x": _joined(features), "n": str(len(features)), "y": label or ""})
    ]
    if left:
        notes.append(("ignored_columns", {"names": _joined(left), "n": str(len(left))}))
    if label is None:
        return Samples(x, source=path.name, notes=tuple(notes))
    column = table.column(label)
    _require_no_nulls(column, label)
    text = arrow.types.is_dictionary(column.type) or _is_text(arrow, column.type)
    y, classes = to_labels(column.to_pylist() if text else column.to_numpy(), label)
    return Samples(x, y, classes, path.name, tuple(notes))


def _joined(names: Sequence[str]) -> str:
    return ", ".join([*names[:8], *(["..."] if len(names) > 8 else [])])


def _columns(arrow: Any, schema: Any) -> tuple[str | None, list[str]]:
    """The label column, if any, and the columns of features."""
    names: list[str] = list(schema.names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ReadError(f"has more than one column called {twice[0]!r}; rename them")
    labels = [name for name in names if name.lower() in _LABELS]
    labels = [name for name in labels if _depth(arrow, schema.field(name).type) is None]
    if len(labels) > 1:
        shown = " or ".join(repr(name) for name in labels)
        raise ReadError(f"the labels could be {shown}; drop or rename all but one")
    label = labels[0] if labels else None
    others = [name for name in names if name != label]
    vectors = [name for name in others if _depth(arrow, schema.field(name).type) is not None]
    if len(vectors) > 1:
        preferred = [name for name in vectors if name.lower() in _VECTORS]
        if len(preferred) != 1:
            shown = " or ".join(repr(name) for name in vectors)
            raise ReadError(f"the vectors could be {shown}; call the one to use 'x'")
        vectors = preferred
    if vectors:
        return label, vectors
    features = [
        name
        for name in others
        if _is_number(arrow, schema.field(name).type) and not _is_row_name(name)
    ]
    if not features:
        listed = ", ".join(f"{field.name!r} {field.type}" for field in list(schema)[:20])
        raise ReadError(
            f"has no column of numbers or of number lists to take as x; it holds {listed}"
        )
    return label, features


def _is_row_name(name: str) -> bool:
    return name.lower() in _ROW_NAMES or name.startswith("__index_level_")


def _is_number(arrow: Any, kind: Any) -> bool:
    types = arrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _is_text(arrow: Any, kind: Any) -> bool:
    return bool(arrow.types.is_string(kind) or arrow.types.is_large_string(kind))


def _is_list(arrow: Any, kind: Any) -> bool:
    types = arrow.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _depth(arrow: Any, kind: Any) -> int | None:
    """How many lists are nested around numbers; `None` where there is no list of numbers."""
    depth = 0
    while _is_list(arrow, kind):
        kind, depth = kind.value_type, depth + 1
    return depth if depth and _is_number(arrow, kind) else None


def _require_no_nulls(column: Any, name: str) -> None:
    if column.null_count:
        raise ReadError(
            f"column {name!r} has {column.null_count} missing values; fill or drop them"
        )


def _values(arrow: Any, column: Any, name: str) -> NDArray[Any]:
    """A column as (n,) numbers, or (n, d...) where it holds lists, which must be of one length."""
    column = column.combine_chunks()
    shape = [len(column)]
    while _is_list(arrow, column.type):
        _require_no_nulls(column, name)
        rows = len(column)
        lengths = np.unique(import_module("pyarrow.compute").list_value_length(column).to_numpy())
        if len(lengths) != 1:
            raise ReadError(
                f"column {name!r} holds lists of {lengths[0]} to {lengths[-1]} entries; "
                "every sample must have the same shape"
            )
        column = column.flatten()
        shape.append(len(column) // rows)
    _require_no_nulls(column, name)
    return column.to_numpy(zero_copy_only=False).reshape(shape)
