"""Rows that arrive batch by batch, kept in memory up to a budget and in files beyond it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import OutputError


class RowStore:
    """Appends rows to named arrays; above the budget all of them move to memory-mapped files.

    The files live in a folder of their own that `close` (or the garbage collector) removes.

    Args:
        budget: bytes that may stay in memory.
        folder: where the files go; the system's temporary folder by default.
    """

    def __init__(self, budget: int, folder: Path | None = None) -> None:
        self._budget = budget
        self._parent = folder
        self._held = 0
        self._chunks: dict[str, list[NDArray[np.floating]]] = {}
        self._numbers: dict[str, int] = {}
        self._disk: tempfile.TemporaryDirectory[str] | None = None

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

    def append(self, name: str, rows: NDArray[np.floating]) -> None:
        """Add the rows of one batch to the array `name`."""
        self._chunks.setdefault(name, [])
        # Files are numbered: a layer's name may hold any character or be too long for a file.
        self._numbers.setdefault(name, len(self._numbers))
        if self._disk is not None:
            self._write(name, [rows])
            return
        self._chunks[name].append(rows)
        self._held += rows.nbytes
        if self._held > self._budget:
            self._spill()

    def drop(self, name: str) -> None:
        """Forget an array."""
        self._chunks.pop(name, None)

    def finish(self, name: str, columns: int, dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
        """The whole array (n, columns), read-only when it lies on disk."""
        chunks = self._chunks.pop(name)
        if self._disk is None:
            return np.concatenate(chunks) if len(chunks) != 1 else chunks[0]
        return np.memmap(self._path(name), dtype=dtype, mode="r").reshape(-1, columns)

    def close(self) -> None:
        """Remove the files; arrays that lie in them must not be used any more."""
        if self._disk is not None:
            self._disk.cleanup()

    def _spill(self) -> None:
        self._disk = tempfile.TemporaryDirectory(prefix="immersion-", dir=self._parent)
        for name, chunks in self._chunks.items():
            self._write(name, chunks)
            chunks.clear()

    def _write(self, name: str, chunks: list[NDArray[np.floating]]) -> None:
        try:
            with self._path(name).open("ab") as file:
                for rows in chunks:
                    file.write(np.ascontiguousarray(rows).data)
        except OSError as error:
            raise OutputError(f"cannot store activations of {name!r}: {error}") from error

    def _path(self, name: str) -> Path:
        assert self._disk is not None
        return Path(self._disk.name) / f"{self._numbers[name]}.rows"
