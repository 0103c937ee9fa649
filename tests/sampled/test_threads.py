"""One, two and four threads of every library give the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def test_the_threads_of_torch_are_left_as_they_were() -> None:
    lines = (
        "import numpy as np, torch, immersion as im",
        "torch.set_num_threads(1)",
        "graph = im.neighbor_graph(np.random.default_rng(0).normal(size=(500, 4)), 5)",
        "im.shortest_paths(graph, [0]), im.edge_curvature(graph), im.laplacian(graph).spectrum(3)",
        "print(torch.get_num_threads())",
    )
    done = subprocess.run(
        [sys.executable, "-c", "; ".join(lines)],
        env={**os.environ, **dict.fromkeys(NAMES, "2")},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.stdout.split() == ["1"], done.stderr


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
