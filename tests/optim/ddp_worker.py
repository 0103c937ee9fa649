"""One process of a distributed training; `test_ddp.py` runs two of these and compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from immersion.known.constraints import constrain_
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.sphere import Sphere
from immersion.optim.adam import RiemannianAdam
from immersion.optim.sgd import RiemannianSGD

STEPS, BATCH = 10, 8


class Net(nn.Module):
    """A hyperbolic table, two layers with unit rows, and plain weights."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 4, sparse=sparse)
        self.first = nn.Linear(4, 5)
        self.second = nn.Linear(5, 5)
        self.last = nn.Linear(5, 1)
        constrain_(self, "table.weight", PoincareBall)
        constrain_(self, "first.weight", Sphere)
        constrain_(self, "second.weight", Sphere)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.second(torch.tanh(self.first(self.table(x))))))


def optimizer_of(kind: str, model: nn.Module) -> Any:
    if kind == "sgd":
        return RiemannianSGD(model, lr=0.1, momentum=0.9, nesterov=True)
    return RiemannianAdam(model, lr=0.02, weight_decay=0.01)


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    indices = torch.randint(20, (BATCH,), generator=generator)
    return indices, torch.randn(BATCH, 1, generator=generator)


def train(model: nn.Module, optimizer: Any, part: slice) -> None:
    for step in range(STEPS):
        x, y = batch(step)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[part]), y[part]).backward()
        optimizer.step()


def built(kind: str) -> Net:
    torch.manual_seed(0)
    return Net(sparse=kind == "sparse")


def main(rank: int, folder: Path, kind: str) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/{kind}.store", rank=rank, world_size=2
    )
    model = built(kind)
    if rank == 1:  # DDP sends the parameters of the first process to the other
        nn.init.zeros_(model.last.weight)
    wrapped = DistributedDataParallel(model)
    half = BATCH // 2
    train(wrapped, optimizer_of(kind, wrapped), slice(rank * half, (rank + 1) * half))
    torch.save(model.state_dict(), folder / f"{kind}-{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[3:]:
        main(int(sys.argv[1]), Path(sys.argv[2]), name)
