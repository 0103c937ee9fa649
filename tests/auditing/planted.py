"""A small network on the bundled digits, once sound and once with three faults planted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from immersion.datasets import Samples, digits

DEAD_UNITS = 16
BOTTLENECK = 4
WRONG_SHARE = 0.05


class Network(nn.Module):
    """A dense classifier; GELU does not let units die by themselves."""

    def __init__(self, narrow: int) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(784, 128)
        self.act1 = nn.GELU()
        self.narrow = nn.Linear(128, narrow)
        self.widen = nn.Linear(narrow, 64)
        self.act2 = nn.GELU()
        self.fc3 = nn.Linear(64, 32)
        self.act3 = nn.GELU()
        self.logits = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act1(self.fc1(self.flatten(x)))
        x = self.act2(self.widen(self.narrow(x)))
        return self.logits(self.act3(self.fc3(x)))


@dataclass(frozen=True)
class Planted:
    """A trained network, its data, and where the faults are."""

    model: Network
    data: Samples
    wrong: np.ndarray


def trained(*, faulty: bool, seed: int = 0, epochs: int = 6) -> Planted:
    """Train on the digits; faults are there from the start, so training works round them."""
    data = digits()
    assert data.y is not None
    rng = np.random.default_rng(seed)
    y = data.y.copy()
    wrong = np.zeros(len(y), bool)
    torch.manual_seed(seed)
    model = Network(BOTTLENECK if faulty else 64)
    if faulty:
        rows = rng.choice(len(y), int(WRONG_SHARE * len(y)), replace=False)
        wrong[rows] = True
        y[rows] = (y[rows] + rng.integers(1, 10, len(rows))) % 10
        with torch.no_grad():
            # At -100 a GELU is flat, so training cannot revive the unit.
            model.fc1.weight[:DEAD_UNITS] = 0
            model.fc1.bias[:DEAD_UNITS] = -100
    x, target = torch.from_numpy(data.x).float() / 255, torch.from_numpy(y)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), target[rows]).backward()
            optimiser.step()
    return Planted(model, Samples(data.x, y, data.classes, "digits"), wrong)
