"""Points as a user gives them, brought to one kind of array or refused in one sentence."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError, ReadError

Points = ArrayLike | torch.Tensor | str | os.PathLike[str]

_FLOAT32_WHOLE, _FLOAT64_WHOLE = 2**24, 2**53
"""Whole numbers up to these are numbers of float32 and float64."""


def as_points(points: Points) -> NDArray[np.floating]:
    """A finite C-contiguous (n, D) float32 or float64 array, without a copy where it is one.

    An array mapped from a file, and the file of a path, are read once in pieces to see that all
    values are finite, and stay mapped. Integers and booleans become float32, or float64 where
    float32 would round them.

    Raises:
        InputError: says the shape, type or row that is wrong.
        ReadError: the file cannot be read.
    """
    x = _array(points)
    if x.dtype.kind not in "fiub":
        raise InputError(f"points must be numbers, not {x.dtype}")
    if x.ndim < 2 or x.shape[0] == 0 or x[0].size == 0:
        raise InputError(f"points must have shape (n, D) with n, D >= 1; met {x.shape}")
    # A long double beyond float64 becomes infinite, which is refused below.
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x.reshape(len(x), -1), dtype=_kept_in(x))
    bad, first = 0, -1
    for rows in row_chunks(len(x), 2 * x.itemsize * x.shape[1], 1 << 25):
        finite = np.isfinite(x[rows]).all(axis=1)
        if not finite.all():
            bad += int(np.count_nonzero(~finite))
            first = first if first >= 0 else rows.start + int(np.argmin(finite))
    if bad:
        raise InputError(f"points[{first}] has NaN or infinite values ({bad} rows do)")
    return x


def points_of(points: Points | None, n: int) -> NDArray[np.floating]:
    """The n points that were given beside a graph, or (n, 0).

    Raises:
        InputError: they are no points, or not n.
    """
    if points is None:
        return np.empty((n, 0), np.float32)
    x = as_points(points)
    if len(x) != n:
        raise InputError(f"{len(x)} points for a graph of {n}")
    return x


def _array(points: Points) -> NDArray[Any]:
    if isinstance(points, (str, os.PathLike)):
        return _mapped(os.fspath(points))
    if isinstance(points, torch.Tensor):
        return _of_tensor(points)
    if hasattr(points, "tocsr"):
        raise InputError("points are a sparse matrix; pass a dense array, points.toarray()")
    if isinstance(points, np.ma.MaskedArray):
        raise InputError("points are a masked array; leave out the masked rows, or fill them")
    try:
        return np.asarray(points)
    except (ValueError, TypeError) as error:
        raise InputError(f"points are no rectangular array ({error})") from error


def _of_tensor(points: torch.Tensor) -> NDArray[Any]:
    """A tensor's values; types that numpy lacks (bfloat16, float8) as float32."""
    if points.layout != torch.strided:
        raise InputError("points are a sparse tensor; pass a dense one, points.to_dense()")
    try:
        held = points.detach().cpu()
        known = (torch.float16, torch.float32, torch.float64)
        if held.dtype.is_floating_point and held.dtype not in known:
            held = held.float()
        return held.resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"points are a tensor of {points.dtype} on {points.device} that cannot be read "
            f"({error})"
        ) from error


def _kept_in(x: NDArray[Any]) -> type[np.float32] | type[np.float64]:
    """The floating type that holds these numbers.

    Raises:
        InputError: whole numbers that no floating type holds.
    """
    if x.dtype.kind == "f":
        return np.float64 if x.dtype.itemsize > 4 else np.float32
    if x.dtype.itemsize <= 2:
        return np.float32
    largest = max(int(x.max()), -int(x.min()))
    if largest > _FLOAT64_WHOLE:
        raise InputError(
            f"points hold the whole number {largest}, beyond 2^53, where float64 rounds; subtract "
            "an offset first"
        )
    return np.float32 if largest <= _FLOAT32_WHOLE else np.float64


def _mapped(path: str) -> NDArray[Any]:
    if not path.endswith(".npy"):
        raise InputError(f"{path}: a path must name a .npy file; read others with im.read(path).x")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ReadError(f"{path} cannot be read as an array: {error}") from error
