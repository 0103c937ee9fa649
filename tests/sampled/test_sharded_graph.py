"""Processes on gloo give the graph of one process, to the last bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from immersion.core.errors import InputError
from immersion.sampled.graph import NeighborGraph, neighbor_graph
from immersion.sampled.sharded import sharded_neighbor_graph
from sampled import graph_worker

WORLDS = [2, 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sharded")
    x = np.random.default_rng(0).normal(size=(900, 6))
    x = np.concatenate([x, x[:30]])  # ties and duplicates across the shares
    np.save(made / "points.npy", x / np.linalg.norm(x, axis=1, keepdims=True))
    for world in WORLDS:
        command = [sys.executable, str(Path(graph_worker.__file__))]
        workers = [
            subprocess.Popen(
                [*command, str(rank), str(world), str(made)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(world)
        ]
        try:
            for worker in workers:
                output = worker.communicate(timeout=200)[0]
                assert worker.returncode == 0, output
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    return made


def same(one: NeighborGraph, other: NeighborGraph) -> None:
    np.testing.assert_array_equal(one.indices, other.indices)
    assert one.distances.tobytes() == other.distances.tobytes()
    assert one.points.tobytes() == other.points.tobytes()
    for name in ("metric", "search", "recall", "recall_stderr", "recall_n"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", [*graph_worker.CASES, "few"])
def test_every_process_has_the_graph_of_one(folder: Path, case: str, world: int) -> None:
    x = np.load(folder / "points.npy")
    if case == "few":  # fewer points than a share: the last process has none
        alone = neighbor_graph(x[:5], 2)
    else:
        metric, search = graph_worker.CASES[case]
        alone = neighbor_graph(x, 7, metric=metric, search=search)  # pyright: ignore[reportArgumentType]
    for rank in range(world):
        same(NeighborGraph.load(folder / f"{case}-{world}-{rank}.safetensors"), alone)


@pytest.mark.parametrize("world", WORLDS)
def test_every_process_raises_where_one_has_bad_points(folder: Path, world: int) -> None:
    for rank in range(world):
        assert "differ" in (folder / f"differ-{world}-{rank}.txt").read_text()
        assert "lost its way" in (folder / f"stopped-{world}-{rank}.txt").read_text()
        assert "missing.npy" in (folder / f"missing-{world}-{rank}.txt").read_text()
        said = (folder / f"bad-{world}-{rank}.txt").read_text()
        assert "points[0] has NaN" in said
        assert said.startswith("process 1") is (rank != 1)


def test_without_a_process_group_the_error_says_what_to_do() -> None:
    with pytest.raises(InputError, match="torchrun"):
        sharded_neighbor_graph(np.eye(4), 2)
