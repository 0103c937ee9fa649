"""Two processes on gloo: equal to the last bit, and to one process on the joined batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.sphere import Sphere
from optim import ddp_worker

KINDS = ["adam", "sgd", "sparse"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ddp")
    command = [sys.executable, str(Path(ddp_worker.__file__))]
    workers = [
        subprocess.Popen(
            [*command, str(rank), str(folder), *KINDS],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for worker in workers:
            output = worker.communicate(timeout=200)[0]
            assert worker.returncode == 0, output
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_agree_and_equal_one_process_on_the_joined_batch(trained: Path, kind: str) -> None:
    first, second = (torch.load(trained / f"{kind}-{rank}.pt") for rank in range(2))
    model = ddp_worker.built(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ddp_worker.train(model, ddp_worker.optimizer_of(kind, model), slice(None))
    for name, value in model.state_dict().items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-5)
        assert not torch.equal(value, before[name])
    assert float(PoincareBall(4).violation(first["table.weight"]).max()) == 0
    assert float(Sphere(3).violation(first["first.weight"]).max()) < 1e-6
