"""One process of a sharded search; `test_sharded_graph.py` runs several of these and compares."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import distributed

from immersion.core.errors import InputError
from immersion.core.metric import GeodesicManifold
from immersion.known.sphere import Sphere
from immersion.sampled.graph import HNSW, IVF, Search
from immersion.sampled.search.task import Task
from immersion.sampled.sharded import sharded_neighbor_graph

CASES: dict[str, tuple[str | GeodesicManifold, Search | None]] = {
    "exact": ("euclidean", None),
    "cosine": ("cosine", None),
    "sphere": (Sphere(5), None),
    "ivf": ("euclidean", IVF()),
    "hnsw": ("euclidean", HNSW()),
}


def main(rank: int, world: int, folder: Path) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store-{world}", rank=rank, world_size=world
    )
    path = folder / "points.npy"
    for name, (metric, search) in CASES.items():
        graph = sharded_neighbor_graph(path, 7, metric=metric, search=search)  # pyright: ignore[reportArgumentType]
        graph.save(folder / f"{name}-{world}-{rank}.safetensors")
    few = np.load(path)[:5]
    sharded_neighbor_graph(few, 2).save(folder / f"few-{world}-{rank}.safetensors")

    def stopped() -> None:
        """Process 1 meets an error in its share of the search, the others do not."""
        with (
            mock.patch.object(Task, "run", side_effect=InputError("lost its way"))
            if rank == 1
            else contextlib.nullcontext()
        ):
            sharded_neighbor_graph(few, 2)

    refused = {
        "stopped": stopped,
        "differ": lambda: sharded_neighbor_graph(few + rank, 2),
        "missing": lambda: sharded_neighbor_graph(path if rank == 0 else folder / "missing.npy", 2),
        "bad": lambda: sharded_neighbor_graph(few * (np.nan if rank == 1 else 1), 2),
    }
    for name, call in refused.items():
        try:
            call()
        except InputError as error:
            (folder / f"{name}-{world}-{rank}.txt").write_text(str(error))
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
