"""One array from whatever holds numbers, and class indices from whatever names classes."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError

Note = tuple[str, dict[str, str]]

_NUMERIC = "biuf"


@runtime_checkable
class _ConvertsToArray(Protocol):
    def __array__(self) -> NDArray[Any]: ...


def is_tensor(value: object) -> bool:
    """Whether `value` is a torch tensor; torch is not imported to find out."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_array(value: object) -> bool:
    """Whether `value` is one array in itself: NumPy's, torch's, a table's or a sparse matrix."""
    return is_tensor(value) or _is_scipy_sparse(value) or isinstance(value, _ConvertsToArray)


def sequence_of(value: object) -> Sequence[Any] | None:
    """The parts of a list or tuple; `None` for anything else, text and arrays included."""
    return cast(Sequence[Any], value) if isinstance(value, list | tuple) else None


def _is_scipy_sparse(value: object) -> bool:
    sparse: Any = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(value))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A sorting key under which `img2` precedes `img10`; equal only for equal names."""
    parts = re.split(r"([0-9]+)", name)
    key = [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts if part]
    return [*key, (-1, 0, name)]


def to_array(value: object, name: str) -> tuple[NDArray[Any], tuple[Note, ...]]:
    """`value` as a numeric array that shares memory where it can, and what had to be converted.

    Args:
        value: A NumPy array, torch tensor, nested list of numbers or anything with `__array__`.
        name: What to call it in errors.

    Returns:
        The array (bool, integer or float; native byte order; no negative strides) and notes.

    Raises:
        InputError: It is sparse, masked, ragged, complex, text or holds Python objects.
    """
    array, notes = any_array(value, name)
    if array.dtype.kind not in _NUMERIC:
        kinds = {"O": "Python objects", "c": "complex numbers", "V": "records"}
        met = kinds.get(array.dtype.kind, f"{array.dtype} values")
        raise InputError(
            f"{name} has shape {array.shape} and holds {met} (dtype {array.dtype}); "
            "give one array of floats, integers or bools in which every sample has the same shape"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)  # torch.from_numpy refuses negative strides
    return array, notes


def any_array(value: object, name: str) -> tuple[NDArray[Any], tuple[Note, ...]]:
    """`value` as an array of any type, text and Python objects included, and notes."""
    if is_tensor(value):
        return _from_tensor(value, name)
    if _is_scipy_sparse(value):
        shape = cast(Any, value).shape
        raise InputError(f"{name} is a sparse matrix of shape {shape}; give {name}.toarray()")
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array; fill the masked values or drop those samples")
    parts = sequence_of(value)
    if parts is not None and any(is_tensor(part) for part in parts):
        raise InputError(f"{name} is a list of tensors; give torch.stack({name})")
    try:
        return np.asarray(value), ()
    except (ValueError, TypeError, OverflowError) as error:
        size = "" if parts is None else f" of {len(parts)} entries"
        raise InputError(
            f"{name} is a ragged {type(value).__name__}{size} that is not one array; "
            "every sample must have the same shape"
        ) from error


def _from_tensor(tensor: Any, name: str) -> tuple[NDArray[Any], tuple[Note, ...]]:
    torch: Any = sys.modules["torch"]
    shape = tuple(tensor.shape) if not tensor.is_nested else "ragged"
    if tensor.is_nested or tensor.layout != torch.strided:
        kind = "nested" if tensor.is_nested else "sparse"
        fix = "pad it to one shape" if tensor.is_nested else f"give {name}.to_dense()"
        raise InputError(f"{name} is a {kind} tensor of shape {shape}; {fix}")
    if tensor.is_meta or tensor.is_quantized:
        kind = "meta" if tensor.is_meta else "quantized"
        raise InputError(f"{name} is a {kind} tensor of shape {shape}; give one of plain numbers")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    notes: tuple[Note, ...] = ()
    if tensor.is_floating_point() and tensor.dtype not in (
        torch.float16,
        torch.float32,
        torch.float64,
    ):
        stored = str(tensor.dtype).removeprefix("torch.")
        notes = (("converted_dtype", {"from": stored, "to": "float32"}),)
        tensor = tensor.float()
    return tensor.numpy(), notes


def to_labels(value: object, name: str = "y") -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class indices 0..C-1 and the names of the C classes that occur.

    Integers, bools and whole floats keep their value as the class's name and are sorted by value;
    strings are sorted with runs of digits read as numbers.

    Args:
        value: One label a sample: integers, bools, whole floats or strings.
        name: What to call it in errors.

    Raises:
        InputError: The labels are not one-dimensional, mixed, missing, or are measurements.
    """
    parts = sequence_of(value)
    if parts is not None:
        kinds = {isinstance(label, str | bytes) for label in parts}
        if len(kinds) > 1:
            raise InputError(f"{name} mixes text and numbers; give one kind of label")
    labels = any_array(value, name)[0]
    if labels.ndim != 1:
        fix = "give one class index or name a sample"
        if labels.ndim == 2:
            fix += f": {name}.ravel()" if labels.shape[1] == 1 else f": {name}.argmax(1)"
        raise InputError(f"{name} has shape {labels.shape}; {fix}")
    if labels.dtype.kind in "OT":
        labels = _from_objects(labels.astype(object), name)
    if labels.dtype.kind in "US":
        return _from_text(labels, name)
    if labels.dtype.kind == "f":
        labels = _whole(labels, name)
    if labels.dtype.kind not in "biu":
        raise InputError(
            f"{name} has dtype {labels.dtype}; give class indices (integers) or names (strings)"
        )
    values, indices = np.unique(labels, return_inverse=True)
    return indices.astype(np.int64), tuple(str(value) for value in values.tolist())


def _from_objects(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Tables keep strings as Python objects; anything else in an object array is refused."""
    for row, label in enumerate(labels):
        if not isinstance(label, str):
            raise InputError(
                f"{name}[{row}] is {label!r} ({type(label).__name__}, dtype object); "
                "give class indices (integers) or names (strings), none of them missing"
            )
    return labels.astype(np.str_)


def _from_text(labels: NDArray[Any], name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if labels.dtype.kind == "S":
        try:
            labels = np.char.decode(labels, "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{name} holds bytes that are not UTF-8 text; give strings") from error
    values, indices = np.unique(labels, return_inverse=True)
    names: list[str] = values.tolist()
    order = sorted(range(len(names)), key=lambda index: natural_key(names[index]))
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return rank[indices], tuple(names[index] for index in order)


def _whole(labels: NDArray[Any], name: str) -> NDArray[np.int64]:
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~(np.isfinite(labels) & (labels == np.round(labels))))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{name}[{row}] is {labels[row]}, which is not a class; give class indices, "
            f"or leave {name} out if it holds measurements"
        )
    if len(labels) and float(np.abs(labels).max()) >= 2.0**53:
        raise InputError(f"{name} holds floats above 2**53, too large to be class indices")
    return labels.astype(np.int64)
