"""From the containers people hold data in (pairs, data sets, loaders) to one x and one y."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError
from immersion.datasets.arrays import Note, any_array, is_array, sequence_of, to_array

Collected = tuple[NDArray[Any], "object | None", tuple[Note, ...]]

_FORMS = "give an array or tensor x, a pair (x, y), a torch Dataset or a DataLoader"


def collect(data: object) -> Collected:
    """The samples x, the labels as given (or `None`) and notes on what was decided.

    Args:
        data: An array or tensor, a pair (x, y), nested lists of numbers, a torch `Dataset` of x or
            (x, y), or an iterable of batches x or (x, y), such as a `DataLoader`. A pair whose y is
            one scalar counts as one sample, one whose y is an array as a batch.

    Raises:
        InputError: `data` is none of these, is empty, or its samples differ in shape.
    """
    if isinstance(data, str | bytes):
        raise InputError("data is text; to read a file use immersion.datasets.read(path)")
    keys = _keys_of(data)
    if keys is not None:
        raise InputError(f"data is a mapping with keys {keys}; {_FORMS}")
    if is_array(data):
        return _single(data)
    if isinstance(data, tuple):
        return _pair(cast("tuple[object, ...]", data))
    if isinstance(data, list):
        return _from_list(cast("list[object]", data))
    tensors = _tensors_of(data)
    if tensors is not None:
        return _pair(tensors)
    if _is_iterable(data) or _is_torch(data, "Dataset"):
        return _from_entries(_entries(data), items=_yields_items(data))
    raise InputError(f"data is a {type(data).__name__}; {_FORMS}")


def _single(data: object) -> Collected:
    x, notes = to_array(data, "x")
    return x, None, notes


def _pair(data: tuple[object, ...]) -> Collected:
    if len(data) not in (1, 2):
        raise InputError(f"data is a tuple of {len(data)} parts; {_FORMS}")
    x, notes = to_array(data[0], "x")
    return x, data[1] if len(data) == 2 else None, notes


def _from_list(data: list[object]) -> Collected:
    if not data:
        raise InputError(f"data is an empty list; {_FORMS}")
    if len(data) == 2 and is_array(data[0]):
        return _pair(tuple(data))
    if any(is_array(part) and np.ndim(cast(Any, part)) for part in data):
        raise InputError(
            f"data is a list of {len(data)} arrays, which could be samples or batches; "
            "give np.stack(list) for samples, np.concatenate(list) for batches"
        )
    if all(_is_pair(part) for part in data):
        return _from_entries(iter(data), items=False)
    return _single(data)


def _is_pair(part: object) -> bool:
    """Whether an entry of a list is a tuple (x, y) and not a row of numbers."""
    values = sequence_of(part) or ()
    return isinstance(part, tuple) and not all(isinstance(value, int | float) for value in values)


def _is_iterable(data: object) -> bool:
    return isinstance(data, Iterable)


def _is_torch(data: object, *names: str) -> bool:
    loading: Any = sys.modules.get("torch.utils.data")
    return loading is not None and isinstance(data, tuple(getattr(loading, name) for name in names))


def _tensors_of(data: object) -> tuple[object, ...] | None:
    """The tensors of a `TensorDataset`, which need no loop over samples."""
    return tuple(cast(Any, data).tensors) if _is_torch(data, "TensorDataset") else None


def _yields_items(data: object) -> bool:
    if _is_torch(data, "DataLoader"):
        loader = cast(Any, data)
        return loader.batch_size is None and loader.batch_sampler is None
    return _is_torch(data, "Dataset")


def _entries(data: object) -> Iterator[object]:
    if _is_torch(data, "Dataset") and isinstance(data, Sized):
        indexed = cast(Any, data)  # torch's map-style data sets promise len and [i], not iteration
        return (indexed[index] for index in range(len(data)))
    return iter(cast("Iterable[object]", data))


def _from_entries(entries: Iterator[object], *, items: bool) -> Collected:
    xs: list[NDArray[Any]] = []
    ys: list[NDArray[Any]] = []
    found: dict[str, Note] = {}
    single = items
    for index, entry in enumerate(entries):
        x, y, notes = _parted(entry, index)
        if index == 0:
            single = items or (y is not None and y.ndim == 0)
        found |= {str(note): note for note in notes}
        _check_entry(index, x, y, xs, ys, single)
        xs.append(x)
        if y is not None:
            ys.append(y)
    if not xs:
        raise InputError(f"data is empty: it gave no samples; {_FORMS}")
    notes = tuple(found.values())
    if single:
        return np.stack(xs), np.stack(ys) if ys else None, notes
    notes = (*notes, ("collected_batches", {"batches": str(len(xs))}))
    return np.concatenate(xs), np.concatenate(ys) if ys else None, notes


def _check_entry(
    index: int,
    x: NDArray[Any],
    y: NDArray[Any] | None,
    xs: Sequence[NDArray[Any]],
    ys: Sequence[NDArray[Any]],
    single: bool,
) -> None:
    what = "sample" if single else "batch"
    if not single and x.ndim == 0:
        raise InputError(f"batch {index} is one number; give batches of shape (n, ...)")
    if xs:
        shapes = (x.shape, xs[0].shape) if single else (x.shape[1:], xs[0].shape[1:])
        if shapes[0] != shapes[1]:
            where = "has shape" if single else "has samples of shape"
            raise InputError(
                f"{what} {index} {where} {shapes[0]}, the first {shapes[1]}; "
                "every sample must have the same shape: resize, crop or pad"
            )
        if (y is None) != (not ys):
            raise InputError(f"{what} {index} and those before it differ in having labels")
    if y is None:
        return
    if single and y.ndim:
        raise InputError(
            f"y of sample {index} has shape {y.shape}; give one class index or name a sample, "
            "such as y.argmax() of a one-hot vector"
        )
    if not single and (y.ndim != 1 or len(y) != len(x)):
        raise InputError(
            f"y of batch {index} has shape {y.shape} for x of shape {x.shape}; "
            "give one class index or name a sample, such as y.argmax(1) of one-hot rows"
        )
    if ys and (y.dtype.kind in "USTO") != (ys[0].dtype.kind in "USTO"):
        raise InputError(f"y mixes text and numbers from {what} {index} on; give one kind of label")


def _parted(
    entry: object, index: int
) -> tuple[NDArray[Any], NDArray[Any] | None, tuple[Note, ...]]:
    keys = _keys_of(entry)
    if keys is not None:
        raise InputError(f"entry {index} is a mapping with keys {keys}; give pairs (x, y) instead")
    parts = sequence_of(entry)
    images: Any = sys.modules.get("PIL.Image")
    first: object = parts[0] if parts else entry
    if images is not None and isinstance(first, images.Image):
        raise InputError(
            f"entry {index} is a PIL image; give arrays or tensors, for instance with "
            "transform=torchvision.transforms.PILToTensor()"
        )
    if parts is None:
        x, notes = to_array(entry, "x")
        return x, None, notes
    if len(parts) not in (1, 2):
        raise InputError(f"entry {index} has {len(parts)} parts; give x or pairs (x, y)")
    x, notes = to_array(parts[0], "x")
    if len(parts) == 1:
        return x, None, notes
    return x, any_array(parts[1], "y")[0], notes


def _keys_of(data: object) -> str | None:
    """The first keys of a mapping, to be shown; `None` for anything else."""
    if not isinstance(data, Mapping):
        return None
    return ", ".join(repr(key) for key in list(cast("Mapping[object, object]", data))[:8])
