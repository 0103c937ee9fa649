"""Samples from a path: a file of arrays, a table or a folder of images."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from immersion.core.errors import InputError, ReadError
from immersion.datasets.archives import read_npy, read_npz, read_safetensors
from immersion.datasets.images import read_images
from immersion.datasets.samples import Samples
from immersion.datasets.tables import read_parquet

_READERS: dict[str, Callable[[Path], Samples]] = {
    ".npz": read_npz,
    ".npy": read_npy,
    ".parquet": read_parquet,
    ".safetensors": read_safetensors,
}
_PICKLE = "is not read because unpickling runs code; save the arrays as .npz or .safetensors"
_IMAGE = "is one image; give the folder that holds the images"
_UNPACK = "is packed; unpack it and give what is inside"
_HINTS = {
    **dict.fromkeys((".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".bin"), _PICKLE),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm"), _IMAGE),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z"), _UNPACK),
    **dict.fromkeys(
        (".csv", ".tsv", ".txt"),
        "is text; convert it: "
        "np.save('x.npy', np.loadtxt(path, delimiter=',')) or pandas' to_parquet",
    ),
    **dict.fromkeys((".json", ".jsonl"), "is text; save its arrays as .npz or .parquet"),
    **dict.fromkeys(
        (".h5", ".hdf5"), "is HDF5; with h5py, np.savez('data.npz', x=file['x'][:], y=file['y'][:])"
    ),
    ".mat": "is MATLAB's; np.savez('data.npz', x=scipy.io.loadmat(path)['x'])",
    **dict.fromkeys(
        (".arrow", ".feather"), "is an Arrow file; convert it: pyarrow.parquet.write_table"
    ),
}


def read(path: str | os.PathLike[str]) -> Samples:
    """Samples of a file or folder, by its suffix; nothing is unpickled and no value is changed.

    - `.npz`, `.safetensors`: x is the array called x, data, images, features, embeddings or inputs
      (or the only one with two axes or more), y the one called y, labels, targets or classes. Of
      split arrays (`x_test`, `train_images`) the test split is read.
    - `.npy`: x, memory-mapped, without labels.
    - `.parquet` (needs `immersion[parquet]`): numeric columns or a column of vectors, with labels
      in a column called label, y, target or class.
    - a folder of PNG, JPEG, BMP, WebP, GIF, PPM or PGM images of one size: one sub-folder a class,
      or flat and without labels; (n, 1, h, w) or (n, 3, h, w) uint8.

    What was decided on the way is in `Samples.notes`: `read_arrays`, `read_columns`, `read_split`,
    `ignored_arrays`, `ignored_columns`, `ignored_class_names`, `converted_dtype`, `memory_mapped`,
    `skipped_files`, `grey_as_colour`, `dropped_transparency`, `first_frame_only`.

    Raises:
        ReadError: The path is missing, of another kind, unreadable, damaged, ambiguous or holds
            Python objects; the message says what was met and what to do.

    Example:
        >>> import tempfile, pathlib, numpy as np
        >>> from immersion.datasets import read
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "points.npz")
        ...     np.savez(path, x=np.eye(3), y=[4, 4, 9])
        ...     data = read(path)
        >>> data.shape, data.classes, data.source
        ((3,), ('4', '9'), 'points.npz')
    """
    given = Path(path)
    shown = repr(given.as_posix())
    try:
        found = given.expanduser()
        if not found.exists():
            raise ReadError(_missing(found))
        return _reader(found)(found)
    except (InputError, ReadError) as error:
        raise ReadError(f"{shown}: {_one_line(error)}") from error
    except MemoryError as error:
        raise ReadError(f"{shown}: does not fit in memory; give fewer samples") from error
    except PermissionError as error:
        raise ReadError(f"{shown}: may not be read by this user ({error.strerror})") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ReadError(f"{shown}: cannot be read ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    """An error's message with control characters escaped: part of it comes from the file."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error))


def _missing(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f"does not exist, nor does the folder {parent.as_posix()!r}"
    close = difflib.get_close_matches(path.name, [entry.name for entry in parent.iterdir()], n=3)
    guess = f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
    return f"does not exist{guess or '; check the path'}"


def _reader(path: Path) -> Callable[[Path], Samples]:
    if path.is_dir():
        return read_images
    if not path.is_file():
        raise ReadError("is neither a file nor a folder")
    suffix = path.suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None:
        hint = _HINTS.get(suffix, f"has the suffix {suffix!r}, which is not known")
        raise ReadError(f"{hint} (read: {', '.join(_READERS)} or a folder of images)")
    with path.open("rb") as file:
        if not file.read(1):
            raise ReadError("is an empty file")
    return reader
