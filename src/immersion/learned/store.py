"""Rows that arrive batch by batch, kept in memory up to a budget and in files beyond it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import OutputError


class RowStore:
    """Appends rows to named arrays; above the budget all of them move to memory-mapped files.

    The files live in a folder of their own. It is removed by `close`, and without it when the store
    is collected or the interpreter ends.

    Args:
        budget: bytes that may stay in memory.
        folder: where the files go; the system's temporary folder by default.
    """

    def __init__(self, budget: int, folder: Path | None = None) -> None:
        self._budget = budget
        self._parent = folder
        self._held = 0
        self._chunks: dict[str, list[NDArray[np.floating]]] = {}
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

    def append(self, name: str, rows: NDArray[np.floating]) -> None:
        """Add the rows of one batch to the array `name`; all of them have one dtype.

        Raises:
            OutputError: the file cannot be written.
        """
        self._dtypes.setdefault(name, rows.dtype)
        self._chunks.setdefault(name, []).append(rows)
        self._held += rows.nbytes
        if self._disk is not None or self._held > self._budget:
            self._spill()

    def drop(self, name: str) -> None:
        """Forget an array."""
        self._held -= sum(rows.nbytes for rows in self._chunks.pop(name, []))
        if self._disk is not None and name in self._dtypes:
            self._path(name).unlink(missing_ok=True)

    def finish(self, name: str, columns: int) -> NDArray[np.floating]:
        """The whole array (n, columns), read-only when it lies on disk."""
        chunks = self._chunks.pop(name)
        if self._disk is None:
            return np.concatenate(chunks) if len(chunks) > 1 else chunks[0]
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
            for name, chunks in self._chunks.items():
                if chunks:
                    with self._path(name).open("ab") as file:
                        file.writelines(np.ascontiguousarray(rows).data for rows in chunks)
                    chunks.clear()
        except OSError as error:
            raise OutputError(f"cannot store activations of {name!r}: {error}") from error
        self._held = 0

    def _path(self, name: str) -> Path:
        assert self._disk is not None
        # Files are numbered: a layer's name may hold any character or be too long for a file.
        return self._disk / f"{list(self._dtypes).index(name)}.rows"
