"""One, two and four threads of every library give the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def test_processes_with_other_threads_find_the_same_graphs() -> None:
    said: dict[int, list[str]] = {}
    for count in (1, 2, 4):
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("threads_worker.py"))],
            env={**os.environ, **dict.fromkeys(NAMES, str(count))},
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr
        *said[count], threads = done.stdout.splitlines()
        assert threads == f"threads of numba {count}"
    assert len(said[1]) == 10 and said[1] == said[2] == said[4]
    one, another = said[1][-1].split()[-2:]
    assert one == another and said[1][0] == f"faiss {one}"
