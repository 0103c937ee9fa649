"""Does an audit find labels that are wrong?

Idea: from a model of one's own to its findings.

Trains a small dense network on 3,500 digits, saves it as safetensors, loads it into a new module
and audits it twice on the other 1,500 digits: once with 5% of the labels made wrong, once with the
labels as they are, which is the null.

The claim holds if the audit finds wrong labels where they were planted and none in the null, and if
its suspects are wrong more often than labels drawn at random.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import immersion as im
from immersion.core.measurement import with_error

SEED, TRAIN, EPOCHS, WRONG = 0, 3500, 5, 0.05


def build() -> nn.Module:
    """What `immersion audit --model package.module:build` would call."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
    )


def train(x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    torch.manual_seed(SEED)
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(y)).split(50):
            loss = nn.functional.cross_entropy(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


def main() -> None:
    digits = im.datasets.digits()
    x, y = torch.from_numpy(digits.x).float() / 255, torch.from_numpy(digits.y)
    trained = train(x[:TRAIN], y[:TRAIN])
    network = build()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights.safetensors")
        save_file(trained.state_dict(), weights)
        network.load_state_dict(load_file(weights))

    held_out, labels = x[TRAIN:], y[TRAIN:].numpy()
    rng = np.random.default_rng(SEED)
    planted = rng.choice(len(labels), round(WRONG * len(labels)), replace=False)
    changed = labels.copy()
    changed[planted] = (labels[planted] + rng.integers(1, 10, len(planted))) % 10

    found = {}
    for name, given in (("5% wrong", changed), ("as they are (null)", labels)):
        result = im.audit(network, (held_out, given), seed=SEED)
        found[name] = {finding.id: finding for finding in result.findings}
        print(f"labels {name}: accuracy {result.accuracy}")
        for finding in result.findings:
            print(f"  {finding.severity:<7}{finding.title.en}")
        for check in result.checks:
            print(f"  {check.verdict:<13}{check.id}")

    print("claim: the audit finds wrong labels where there are any")
    finding = found["5% wrong"].get("wrong_labels")
    false_alarm = "wrong_labels" in found["as they are (null)"]
    if finding is None:
        print("outcome: does not hold")
        return
    suspects = np.array(finding.samples)
    right = float(np.isin(suspects, planted).mean())
    centre = (right * len(suspects) + 2) / (len(suspects) + 4)
    stderr = math.sqrt(centre * (1 - centre) / (len(suspects) + 4))
    recall = float(np.isin(planted, suspects).mean())
    recall_stderr = math.sqrt(recall * (1 - recall) / len(planted))
    print(f"{'of the suspects, wrong':<26}{with_error(right, stderr):<14}n = {len(suspects)}")
    print(f"{'at random (null)':<26}{WRONG:<14}n = {len(labels)}")
    print(f"{'of the wrong, suspect':<26}{with_error(recall, recall_stderr):<14}n = {len(planted)}")
    above_chance = (right - WRONG) / stderr
    if false_alarm or above_chance < -3:
        print("outcome: does not hold")
    else:
        print(f"outcome: {'holds' if above_chance > 3 else 'not decidable'}")


if __name__ == "__main__":
    main()
