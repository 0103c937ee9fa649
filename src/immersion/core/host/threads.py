"""Threads of compiled kernels, started without changing those of torch."""

from __future__ import annotations

_started: list[int] = []


def numba_threads() -> int:
    """Number of threads of numba's kernels, which are started at the first call.

    numba's OpenMP layer sets the number of threads for the whole process as it starts, so a torch
    that was told to use one would use all from then on; its number is put back here.
    """
    import numba

    if not _started:
        import torch

        before = torch.get_num_threads()
        _started.append(numba.get_num_threads())
        torch.set_num_threads(before)
    return numba.get_num_threads()
