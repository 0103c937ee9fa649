"""Activations beyond the budget: equal values, files that vanish, disks that are full."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from immersion.core.errors import OutputError
from immersion.learned.capture import capture
from immersion.learned.store import RowStore

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 8).double())


def run(memory: int, n: int = 100):
    mixed = model()
    mixed[2].register_forward_pre_hook(lambda m, args: (args[0].double(),))
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    return capture(mixed, [x[i : i + 7] for i in range(0, n, 7)], memory=memory)


def test_a_length_that_was_announced_wrong_loses_nothing() -> None:
    class Loader(list[torch.Tensor]):
        """Batches whose data set states another length than they have."""

        dataset: range

    x = torch.randn(30, 4)
    for announced in (10, 30, 100):
        loader = Loader(x.split(7))
        loader.dataset = range(announced)
        with capture(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), loader) as layers:
            assert layers.n == 30
            assert {layer.activations.shape for layer in layers.values()} == {(30, 4)}


def test_values_on_disk_are_those_in_memory(temporary: Path) -> None:
    kept = run(10**9)
    assert not list(temporary.iterdir())
    for memory in (1, 5000, 40_000):
        with run(memory) as spilled:
            assert len(list(temporary.iterdir())) == 1
            for name, layer in kept.items():
                assert isinstance(spilled[name].activations, np.memmap)
                assert spilled[name].activations.dtype == layer.activations.dtype
                np.testing.assert_array_equal(spilled[name].activations, layer.activations)
                np.testing.assert_array_equal(spilled[name].unit_low, layer.unit_low)
                with pytest.raises(ValueError, match="read-only"):
                    spilled[name].activations[0] = 0
            np.testing.assert_array_equal(spilled.output, kept.output)
            assert kept["2"].activations.dtype == np.float64
        assert not list(temporary.iterdir())
        spilled.close()


def test_files_go_with_a_forgotten_capture(temporary: Path) -> None:
    found = run(1)
    assert list(temporary.iterdir())
    del found
    gc.collect()
    assert not list(temporary.iterdir())


def test_files_go_with_the_interpreter(temporary: Path) -> None:
    program = (
        f"import tempfile, numpy as np; tempfile.tempdir = {str(temporary)!r}\n"
        "from immersion.learned.store import RowStore\n"
        "store = RowStore(1); store.append('a', np.ones((2, 3)))\n"
        "print(*__import__('pathlib').Path(tempfile.tempdir).iterdir())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert "immersion-" in done.stdout and not done.stderr
    assert not list(temporary.iterdir())


def test_a_full_disk_is_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 100 * (72 * 4 + 72 * 8)))
    network = model()
    passes = []
    network.register_forward_hook(lambda m, args, out: passes.append(len(args[0])))
    network[2].float()
    x = torch.randn(1000, 4)
    with pytest.raises(OutputError, match=r"need .* GB and .* has .* GB free"):
        capture(network, x, memory=1000)
    assert passes == [2, 3]
    assert network.training and not any(m._forward_pre_hooks for m in network.modules())
    assert capture(network, x, memory=10**9).n == 1000
    assert capture(network, x[:100], memory=1000).n == 100


def test_prediction_counts_bytes_of_every_array(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(RowStore, "require_room", lambda self, total: asked.append(total))
    with capture(nn.Linear(3, 5).double(), torch.ones(10, 3)) as found:
        arrays = [found["(model)"].activations, found.output]
    assert asked == [sum(array.nbytes for array in arrays)]


def test_a_disk_that_fills_on_the_way(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match="No space left on device"):
        run(1)
    assert not list(temporary.iterdir())


def test_memory_stays_within_budget_and_one_batch() -> None:
    """tracemalloc sees numpy's arrays, and the store holds nothing else."""
    budget, width, batch = 2_000_000, 1000, 100
    store = RowStore(budget)
    tracemalloc.start()
    for k in range(50):
        store.append("a", np.full((batch, width), k, np.float32))
    whole = store.finish("a", width)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert whole.nbytes == 20_000_000
    assert peak < budget + 2 * batch * width * 4 + 100_000
    store.close()


def test_dropped_rows_free_their_memory(temporary: Path) -> None:
    store = RowStore(100)
    store.append("a", np.zeros((2, 5)))
    store.drop("a")
    store.append("b", np.zeros((2, 5)))
    assert not list(temporary.iterdir())
    store.append("c", np.zeros((2, 5)))
    assert len(list(temporary.glob("*/*.rows"))) == 2
    store.drop("b")
    store.drop("unknown")
    assert len(list(temporary.glob("*/*.rows"))) == 1
    np.testing.assert_array_equal(store.finish("c", 5), np.zeros((2, 5)))
    store.close()
