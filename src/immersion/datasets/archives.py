"""Files of named arrays (npz, safetensors) or of one (npy), and which array is x and which y."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import ReadError
from immersion.datasets.arrays import Note, to_array, to_labels
from immersion.datasets.samples import Samples

_X_NAMES = {
    *("x", "data", "image", "images", "feature", "features", "embedding", "embeddings"),
    *("input", "inputs", "vectors", "activations"),
}
_Y_NAMES = {"y", "label", "labels", "target", "targets", "class", "classes"}
_CLASS_NAMES = {"classes", "class_names", "label_names", "target_names"}
_TYPES = {"BF": "bfloat", "F": "float", "U": "uint", "I": "int", "C": "complex"}
_SPLITS = ("test", "val", "valid", "validation", "train", "training")
_OBJECTS = (
    "holds Python objects, which are not read because unpickling runs code; "
    "save it again as plain numbers, such as x.astype(float)"
)


@dataclass(frozen=True)
class Stored:
    """An array in a file, before its values are read."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str


@dataclass(frozen=True)
class _Choice:
    x: Stored
    y: Stored | None
    names: Stored | None
    notes: tuple[Note, ...]


def read_npz(path: Path) -> Samples:
    """Samples of an npz file; nothing in it is unpickled and only the arrays chosen are loaded."""
    try:
        with zipfile.ZipFile(path) as archive:
            stored: list[Stored] = []
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    with archive.open(member) as file:
                        stored.append(_described(member.filename[:-4], file, member.file_size))

            def load(name: str) -> NDArray[Any]:
                with archive.open(f"{name}.npy") as file:
                    return np.lib.format.read_array(file, allow_pickle=False)

            return _assembled(stored, load, path.name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ReadError(f"is damaged or not an npz file ({error}); save it again") from error


def read_npy(path: Path) -> Samples:
    """Samples of an npy file, memory-mapped and without labels."""
    with path.open("rb") as file:
        found = _described(path.stem, file, path.stat().st_size)
    if found.kind == "O":
        raise ReadError(f"{_OBJECTS}")
    _require_samples(found)
    mapped: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    x = mapped if mapped.dtype.isnative else to_array(mapped, "x")[0]
    return Samples(x, source=path.name, notes=(("memory_mapped", {}),))


def read_safetensors(path: Path) -> Samples:
    """Samples of a safetensors file; bfloat16 becomes float32, with a note."""
    from safetensors import SafetensorError, safe_open

    opened: Any = safe_open  # its types are not stated
    try:
        with opened(path, "np") as file:
            stored: list[Stored] = []
            for name in file.keys():  # noqa: SIM118
                part: Any = file.get_slice(name)
                code = str(part.get_dtype())
                dtype = re.sub("^(BF|F|U|I|C)(?=[0-9]+$)", lambda found: _TYPES[found[0]], code)
                stored.append(Stored(name, tuple(part.get_shape()), dtype.lower(), dtype[0]))

        def load(name: str) -> object:
            dtype = next(part.dtype for part in stored if part.name == name)
            with opened(path, "pt" if dtype.startswith(("bf", "f8")) else "np") as file:
                return file.get_tensor(name)

        return _assembled(stored, load, path.name)
    except SafetensorError as error:
        raise ReadError(f"is damaged or not a safetensors file ({error}); save it again") from error


def _described(name: str, file: IO[bytes], size: int) -> Stored:
    """Read an npy header, and check that the bytes it promises can be there."""
    try:
        version = np.lib.format.read_magic(file)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if reader is None:
            raise ValueError(f"npy format version {version}")
        shape, _, dtype = reader(file)
    except Exception as error:  # the header is parsed as Python, which fails in a dozen ways
        raise ReadError(
            f"array {name!r} is damaged ({_first_line(error)}); save it again"
        ) from error
    if not dtype.hasobject and prod(shape) * dtype.itemsize > size:
        raise ReadError(
            f"array {name!r} is cut short: shape {shape} of {dtype} needs "
            f"{prod(shape) * dtype.itemsize} bytes, the file has {size}; save it again"
        )
    return Stored(name, shape, str(dtype), "O" if dtype.hasobject else dtype.kind)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]


def _require_samples(found: Stored) -> None:
    if len(found.shape) < 2:
        raise ReadError(
            f"array {found.name!r} has shape {found.shape}; give samples of shape (n, features...)"
        )


def _assembled(stored: Sequence[Stored], load: Callable[[str], object], source: str) -> Samples:
    choice = _choose(stored)
    for part in (choice.x, choice.y):
        if part is not None and part.kind == "O":
            raise ReadError(f"array {part.name!r} {_OBJECTS}")
    x, converted = to_array(load(choice.x.name), choice.x.name)
    notes = (*choice.notes, *converted)
    if choice.y is None:
        return Samples(x, source=source, notes=notes)
    labels = load(choice.y.name)
    y, classes = to_labels(labels, choice.y.name)
    if choice.names is not None:
        names = np.asarray(load(choice.names.name)).astype(np.str_).tolist()
        indices = np.asarray([int(name) for name in classes], np.int64)
        if indices.min() >= 0 and indices.max() < len(names):
            return Samples(x, indices[y], tuple(names), source, notes)
        notes = (*notes, ("ignored_class_names", {"array": choice.names.name}))
    return Samples(x, y, classes, source, notes)


def _choose(stored: Sequence[Stored]) -> _Choice:
    """Which array is x, which y and which the class names; the test split before the others."""
    if not stored:
        raise ReadError("holds no arrays; save samples as x and class indices as y")
    split, xs = _by_split(stored)
    if not xs:
        raise ReadError(
            f"has no array of shape (n, features...) to take as x; it holds {_listed(stored)}"
        )
    x = _one(xs, "x", stored)
    names = _matching(stored, _CLASS_NAMES, None)
    named = [part for part in names if part.kind in "US" and part.shape != x.shape[:1]]
    ys = [part for part in _matching(stored, _Y_NAMES, split) if part not in (*named, x)]
    y = _one(ys, "y", stored) if ys else None
    class_names = named[0] if len(named) == 1 and y is not None and y.kind in "iu" else None
    used = [part for part in (x, y, class_names) if part is not None]
    notes: list[Note] = [("read_arrays", {"x": x.name, "y": y.name if y else ""})]
    if split is not None:
        notes.append(("read_split", {"split": split}))
    if len(used) < len(stored):
        left = ", ".join(part.name for part in stored if part not in used)
        notes.append(("ignored_arrays", {"names": left}))
    return _Choice(x, y, class_names, tuple(notes))


def _by_split(stored: Sequence[Stored]) -> tuple[str | None, list[Stored]]:
    many = [part for part in stored if len(part.shape) >= 2]
    for split in (None, *_SPLITS):
        found = _matching(many, _X_NAMES, split)
        if found:
            return split, found
    return None, many


def _matching(stored: Sequence[Stored], names: set[str], split: str | None) -> list[Stored]:
    wanted = (
        names
        if split is None
        else {f"{n}_{split}" for n in names} | {f"{split}_{n}" for n in names}
    )
    return [part for part in stored if re.sub(r"[-./ ]", "_", part.name.lower()) in wanted]


def _one(found: Sequence[Stored], role: str, stored: Sequence[Stored]) -> Stored:
    exact = [part for part in found if part.name == role]
    if len(found) > 1 and not exact:
        names = " or ".join(repr(part.name) for part in found)
        raise ReadError(
            f"{role} could be {names}: call the one to use {role!r}; it holds {_listed(stored)}"
        )
    return (exact or list(found))[0]


def _listed(stored: Sequence[Stored]) -> str:
    shown = [f"{part.name!r} {part.shape} {part.dtype}" for part in stored[:20]]
    more = [f"and {len(stored) - 20} more"] if len(stored) > 20 else []
    return ", ".join([*shown, *more])
