"""Write files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from immersion.core.errors import OutputError


def require_writable(folder: Path) -> None:
    """Fail now rather than after the work, where `folder` could not be written.

    Raises:
        OutputError: says which path and why.
    """
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise OutputError(f"cannot write to {folder}: {there} is a file; choose another folder")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error


def write_folder(folder: Path, files: Mapping[str, str]) -> Path:
    """Write all files beside their places first and move them there at the end.

    A reader never sees half a file, and an error or an interrupt before the end leaves the folder
    as it was.

    Raises:
        OutputError: disk full, no permission, a file in the way.
    """
    require_writable(folder)
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    written: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            handle, path = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
            written.append((Path(path), folder / name))
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(content)
            # mkstemp makes files private; a report is as readable as any file of its user.
            umask = os.umask(0)
            os.umask(umask)
            Path(path).chmod(0o666 & ~umask)
        for temporary, final in written:
            temporary.replace(final)
    except BaseException as error:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
        for empty in made:
            _remove_if_empty(empty)
        if isinstance(error, OSError):
            raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
        raise
    return folder


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
