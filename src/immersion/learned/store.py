"""Rows that arrive batch by batch, kept in memory up to a budget and in files beyond it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import OutputError

Rows = NDArray[np.floating]


class RowStore:
    """Appends rows to named arrays; above the budget all of them move to memory-mapped files.

    The files live in a folder of their own. It is removed by `close`, and without it when the store
    is collected or the interpreter ends.

    Args:
        budget: bytes that may stay in memory.
        expected: rows that each array will have, where that is known: each is then allocated once
            and filled in place, which halves the peak of memory.
        folder: where the files go; the system's temporary folder by default.
    """

    def __init__(
        self, budget: int, expected: int | None = None, folder: Path | None = None
    ) -> None:
        self._budget = budget
        self._expected = expected
        self._parent = folder
        self._held = 0
        self._columns: dict[str, _Column] = {}
        self._dtypes: dict[str, np.dtype[np.floating]] = {}
        self._disk: Path | None = None
        self._removal: weakref.finalize[..., RowStore] | None = None

    def require_room(self, total: int) -> None:
        """Refuse work whose `total` bytes fit neither the budget nor the disk, before it starts.

        Raises:
            OutputError: says the bytes needed, those free and where.
        """
        if total <= self._budget:
            return
        where = self._parent or Path(tempfile.gettempdir())
        free = shutil.disk_usage(where).free
        if total > free:
            raise OutputError(
                f"the activations need {total / 1e9:.1f} GB and {where} has {free / 1e9:.1f} GB "
                "free; choose fewer layers or samples, or a higher memory budget"
            )

    def append(self, name: str, rows: Rows) -> None:
        """Add the rows of one batch to the array `name`; all of them have one dtype.

        Raises:
            OutputError: the file cannot be written.
        """
        self._dtypes.setdefault(name, rows.dtype)
        on_disk = self._disk is not None
        self._columns.setdefault(name, _Column()).append(rows, None if on_disk else self._expected)
        self._held += rows.nbytes
        if on_disk or self._held > self._budget:
            self._spill()

    def drop(self, name: str) -> None:
        """Forget an array."""
        column = self._columns.pop(name, _Column())
        self._held -= sum(rows.nbytes for rows in column.parts())
        if self._disk is not None and name in self._dtypes:
            self._path(name).unlink(missing_ok=True)

    def finish(self, name: str, columns: int) -> Rows:
        """The whole array (n, columns), read-only when it lies on disk."""
        parts = self._columns.pop(name).parts()
        if self._disk is None:
            return np.concatenate(parts) if len(parts) > 1 else parts[0]
        whole = np.memmap(self._path(name), dtype=self._dtypes[name], mode="r")
        return whole.reshape(-1, columns)

    def close(self) -> None:
        """Remove the files; arrays that lie in them must not be used any more."""
        if self._removal is not None:
            self._removal()

    def _spill(self) -> None:
        """Move what is held in memory to the files."""
        name = ""
        try:
            if self._disk is None:
                self._disk = Path(tempfile.mkdtemp(prefix="immersion-", dir=self._parent))
                self._removal = weakref.finalize(self, shutil.rmtree, self._disk, True)
            for name, column in self._columns.items():
                if parts := column.parts():
                    with self._path(name).open("ab") as file:
                        file.writelines(np.ascontiguousarray(rows).data for rows in parts)
                    column.clear()
        except OSError as error:
            raise OutputError(f"cannot store activations of {name!r}: {error}") from error
        self._held = 0

    def _path(self, name: str) -> Path:
        assert self._disk is not None
        # Files are numbered: a layer's name may hold any character or be too long for a file.
        return self._disk / f"{list(self._dtypes).index(name)}.rows"


class _Column:
    """The rows of one array that are in memory: one array being filled, or a list of batches."""

    def __init__(self) -> None:
        self._filled: Rows | None = None
        self._count = 0
        self._batches: list[Rows] = []

    def append(self, rows: Rows, expected: int | None) -> None:
        if self._filled is None and not self._batches and expected is not None:
            self._filled = np.empty((expected, rows.shape[1]), rows.dtype)
        end = self._count + len(rows)
        # More rows than were announced: a wrong length of a data set. They are kept all the same.
        if self._filled is None or self._batches or end > len(self._filled):
            self._batches.append(rows)
        else:
            self._filled[self._count : end] = rows
            self._count = end

    def parts(self) -> list[Rows]:
        """What is there, in order."""
        first = [] if self._filled is None else [self._filled[: self._count]]
        return [*first, *self._batches]

    def clear(self) -> None:
        self._filled, self._count, self._batches = None, 0, []
