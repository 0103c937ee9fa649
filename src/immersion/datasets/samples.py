"""The samples that are audited: values as stored, class indices, class names, and where from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError
from immersion.datasets.arrays import Note, to_labels
from immersion.datasets.batches import collect

_CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True, eq=False)
class Samples:
    """n samples of one shape, with or without classes.

    Attributes:
        x: Values as stored, (n, *shape), bool, integer or float; may be memory-mapped.
        y: Class indices 0..C-1, (n,) int64, or `None` without labels.
        classes: Names of the C classes; `()` without labels.
        source: Where the samples are from: a name for people.
        notes: What the reader decided, as message ids with their parameters.

    Raises:
        InputError: No samples, an x that is not (n, features...), a y of another length or type,
            or an index outside the classes.

    Example:
        >>> import numpy as np
        >>> from immersion.datasets import Samples
        >>> data = Samples(np.eye(3), np.array([0, 1, 0]), ("cat", "dog"), "three points")
        >>> data.n, data.shape
        (3, (3,))
        >>> data.subset([0, 2]).y
        array([0, 0])
    """

    x: NDArray[Any]
    y: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    source: str = "array"
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no audit could use."""
        if not isinstance(cast(object, self.x), np.ndarray) or self.x.dtype.kind not in "biuf":
            met = f"{type(self.x).__name__} of dtype {getattr(self.x, 'dtype', None)}"
            raise InputError(f"x is a {met}; give an array of floats, integers or bools")
        _require_x_shape(self.x.shape)
        if self.y is None:
            if self.classes:
                raise InputError(f"{len(self.classes)} class names were given without labels y")
            return
        if not isinstance(cast(object, self.y), np.ndarray) or self.y.dtype != np.int64:
            met = f"{type(self.y).__name__} of dtype {getattr(self.y, 'dtype', None)}"
            raise InputError(f"y is a {met}; give int64 class indices, or use as_samples((x, y))")
        if self.y.shape != (self.n,):
            raise InputError(
                f"y has shape {self.y.shape} but x has shape {self.x.shape}: "
                f"give one label for each of the {self.n} samples"
            )
        low, high = int(self.y.min()), int(self.y.max())
        if low < 0 or high >= len(self.classes):
            raise InputError(
                f"y runs from {low} to {high} but there are {len(self.classes)} class names; "
                "class indices must lie in 0..C-1"
            )

    @property
    def n(self) -> int:
        """How many samples there are."""
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.x.shape[1:]

    def subset(self, rows: Sequence[int] | NDArray[Any]) -> Samples:
        """A copy of some samples, in the order of `rows`.

        Args:
            rows: Rows in 0..n-1, repeats allowed, or a bool mask of length n; at least one.

        Returns:
            Samples with the same classes, source and notes.

        Raises:
            InputError: A row outside 0..n-1, a mask of another length, or no row.
        """
        chosen = np.asarray(rows)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "biu"):
            raise InputError(
                f"rows has shape {chosen.shape} and dtype {chosen.dtype}; "
                "give a list of row numbers or a bool mask"
            )
        if chosen.dtype.kind == "b":
            if len(chosen) != self.n:
                raise InputError(f"the mask has length {len(chosen)} for {self.n} samples")
            chosen = np.flatnonzero(chosen)
        if not chosen.size:
            raise InputError(f"no row is chosen; give at least one of the {self.n} samples")
        if int(chosen.min()) < 0 or int(chosen.max()) >= self.n:
            raise InputError(
                f"rows run from {chosen.min()} to {chosen.max()}; they must lie in 0..{self.n - 1}"
            )
        y = None if self.y is None else self.y[chosen]
        return Samples(np.asarray(self.x[chosen]), y, self.classes, self.source, self.notes)

    def sha256(self) -> str:
        """A hash of the types, shapes and values of x and y, in hexadecimal.

        It does not depend on memory order, on byte order or on whether x is memory-mapped, nor on
        `classes`, `source` and `notes`. Reads x once, about 16 MB at a time.
        """
        digest = hashlib.sha256()
        for name, array in (("x", self.x), ("y", self.y)):
            if array is None:
                digest.update(f"{name} none\n".encode())
                continue
            stored = array.dtype.newbyteorder("<")
            digest.update(f"{name} {stored.str} {array.shape}\n".encode())
            for start, stop in _chunks(array, None):
                digest.update(np.ascontiguousarray(array[start:stop], stored).data)
        return digest.hexdigest()


def _require_x_shape(shape: tuple[int, ...]) -> None:
    if len(shape) < 2:
        raise InputError(
            f"x has shape {shape}; give (n, features...), such as x[:, None] for one number each"
        )
    if 0 in shape:
        raise InputError(f"x has shape {shape}: there is nothing in it; give at least one sample")


def _chunks(array: NDArray[Any], chunk: int | None) -> Iterator[tuple[int, int]]:
    """Bounds of consecutive rows that together hold about 16 MB, or `chunk` rows."""
    if chunk is None:
        chunk = max(1, _CHUNK_BYTES * len(array) // max(1, array.nbytes))
    return ((start, min(start + chunk, len(array))) for start in range(0, len(array), chunk))


def as_samples(data: object, *, source: str | None = None) -> Samples:
    """Samples from what people hold data in; `Samples` themselves are given back unchanged.

    Labels may be integers, bools, whole floats or strings. The classes are those that occur;
    integers keep their value as the class's name, so {3, 7} gives the classes ("3", "7").

    Args:
        data: An array or tensor x; a pair (x, y); a torch `Dataset` of x or (x, y); or an iterable
            of batches x or (x, y), such as a `DataLoader`, which is read to its end into memory
            (turn its shuffling off to keep the rows of your data).
        source: A name for people; by default the type of `data`.

    Raises:
        InputError: `data` cannot be used; the message shows the shape or type met and the remedy.

    Example:
        >>> import numpy as np
        >>> from immersion.datasets import as_samples
        >>> data = as_samples((np.zeros((3, 2)), [7, 3, 7]))
        >>> data.classes, data.y
        (('3', '7'), array([1, 0, 1]))
    """
    if isinstance(data, Samples):
        return data
    x, labels, notes = collect(data)
    _require_x_shape(x.shape)
    y, classes = (None, ()) if labels is None else to_labels(labels)
    return Samples(x, y, classes, source or type(data).__name__, notes)


def first_nonfinite(x: NDArray[Any], chunk: int | None = None) -> tuple[int, int] | None:
    """How many samples have a NaN or an infinity, and the first that does; `None` if none has.

    Args:
        x: Values, (n, *shape).
        chunk: Rows looked at together; by default about 16 MB of them.

    Raises:
        InputError: `chunk` is less than 1.

    Example:
        >>> import numpy as np
        >>> from immersion.datasets import first_nonfinite
        >>> first_nonfinite(np.array([[1.0], [np.nan], [np.inf]]))
        (2, 1)
    """
    if chunk is not None and chunk < 1:
        raise InputError(f"chunk is {chunk}; give at least one row")
    if x.dtype.kind != "f":
        return None
    count, first = 0, -1
    for start, stop in _chunks(x, chunk):
        finite = np.isfinite(x[start:stop]).reshape(stop - start, -1).all(axis=1)
        if not finite.all():
            first = start + int(np.argmin(finite)) if first < 0 else first
            count += int((~finite).sum())
    return (count, first) if count else None


def require_finite(samples: Samples) -> None:
    """Raise if any value is NaN or infinite.

    Raises:
        InputError: Says how many samples are affected and where the first value is.

    Example:
        >>> import numpy as np
        >>> from immersion.datasets import as_samples, require_finite
        >>> require_finite(as_samples(np.array([[0.0], [np.nan]])))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        immersion.core.errors.InputError: x[1, 0] is nan; 1 of 2 rows has non-finite values; ...
    """
    met = first_nonfinite(samples.x)
    if met is None:
        return
    count, row = met
    position = tuple(int(i) for i in np.argwhere(~np.isfinite(samples.x[row]))[0])
    where = ", ".join(str(i) for i in (row, *position))
    verb = "has" if count == 1 else "have"
    raise InputError(
        f"x[{where}] is {samples.x[(row, *position)]}; {count} of {samples.n} rows {verb} "
        f"non-finite values; remove or impute them"
    )
