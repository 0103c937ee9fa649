"""Prints a digest of several graphs; `test_threads.py` runs it with different threads."""

from __future__ import annotations

import hashlib
import threading

import numba
import numpy as np

from immersion.known.sphere import Sphere
from immersion.sampled.graph import HNSW, IVF, Exact, NeighborGraph, neighbor_graph


def digest(graph: NeighborGraph) -> str:
    held = graph.indices.tobytes() + graph.distances.tobytes()
    return hashlib.sha256(held + repr((graph.search, graph.recall)).encode()).hexdigest()[:16]


def main() -> None:
    rng = np.random.default_rng(0)
    z = np.tanh(rng.normal(size=(6000, 6)) @ rng.normal(size=(6, 40)))
    x = (z @ rng.normal(size=(40, 24))).astype(np.float32)
    codes = rng.integers(0, 2, (3000, 20))
    round_ones = z[:400] / np.linalg.norm(z[:400], axis=1, keepdims=True)
    found = {
        "faiss": neighbor_graph(x, 12),
        "torch": neighbor_graph(x, 12, search=Exact("torch")),
        "ivf": neighbor_graph(x, 12, search=IVF()),
        "cosine ivf": neighbor_graph(x, 12, metric="cosine", search=IVF()),
        "hnsw": neighbor_graph(x[:2500], 12, search=HNSW()),
        "codes": neighbor_graph(codes, 12),
        "codes ivf": neighbor_graph(codes, 12, search=IVF()),
        "line": neighbor_graph(np.arange(3000.0)[:, None], 4),
        "sphere": neighbor_graph(round_ones, 6, metric=Sphere(39)),
    }
    for name, graph in found.items():
        print(name, digest(graph))
    # Two callers at once, each with all threads.
    both: list[str] = []
    callers = [
        threading.Thread(target=lambda: both.append(digest(neighbor_graph(x, 12)))) for _ in "ab"
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    print("at once", *both)
    print("threads of numba", numba.get_num_threads())


if __name__ == "__main__":
    main()
