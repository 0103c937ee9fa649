"""Train the bundled digit classifier again: same seed and thread count, same weights.

    python tools/train_digits_convnet.py --mnist mnist.npz

MNIST's 60,000 training images, shifted at random by up to two pixels; AdamW with a one-cycle
learning rate; accuracy on the 10,000 test images, which no choice was made on. Writes the weights
(safetensors, with their card as metadata) and the card as JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from immersion.models.convnet import ConvNet

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURE: dict[str, Any] = {
    "channels": [24, 48],
    "hidden": 128,
    "classes": 10,
    "image": [1, 28, 28],
    "dropout": 0.3,
}
BATCH = 128
PEAK_RATE = 4e-3
WEIGHT_DECAY = 0.05
SHIFT = 2


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image (n, 1, h, w) by its own whole number of pixels, at most `SHIFT` each way."""
    n, _, height, width = x.shape
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, n, 1, 1), generator=generator)
    padded = functional.pad(x, (SHIFT, SHIFT, SHIFT, SHIFT))[:, 0]
    rows = torch.arange(height).view(1, -1, 1) + down
    columns = torch.arange(width).view(1, 1, -1) + right
    return padded[torch.arange(n).view(-1, 1, 1), rows, columns].unsqueeze(1)


def accuracy(network: ConvNet, x: Tensor, y: Tensor) -> float:
    """The fraction of images that the network, in eval mode, puts in their class."""
    network.eval()
    with torch.no_grad():
        right = sum(
            int((network(images).argmax(1) == labels).sum())
            for images, labels in zip(x.split(1000), y.split(1000), strict=True)
        )
    return right / len(y)


def train(x: Tensor, y: Tensor, *, epochs: int, seed: int) -> ConvNet:
    """Train a new network on images (n, 1, 28, 28) in [0, 1] and their classes (n,)."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = ConvNet(**ARCHITECTURE)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    steps = math.ceil(len(y) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=epochs * steps, pct_start=0.2
    )
    for epoch in range(epochs):
        network.train()
        begun, total = time.perf_counter(), 0.0
        for rows in torch.randperm(len(y), generator=generator).split(BATCH):
            loss = functional.cross_entropy(network(shifted(x[rows], generator)), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        seconds = time.perf_counter() - begun
        line = f"epoch {epoch + 1}/{epochs}: loss {total / len(y):.4f}, {seconds:.1f} s"
        print(line, file=sys.stderr, flush=True)
    return network


def weights_sha256(network: ConvNet) -> str:
    """A hash of names, types, shapes and bytes of the weights, whatever file they lie in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def cpu_model() -> str:
    """The processor's name, or the architecture where the system does not say."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Read the arguments, train, evaluate and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--mnist", type=Path, required=True, help="npz: train_ and test_ images, labels"
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=2, help="part of the recipe: sums depend on it"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "src/immersion/models/digits_convnet.safetensors"
    )
    parser.add_argument("--card", type=Path, default=ROOT / "accuracy/digits_convnet.json")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    with np.load(options.mnist, allow_pickle=False) as stored:
        x, y, x_test, y_test = (
            torch.from_numpy(stored[f"{split}_{kind}"])
            for split in ("train", "test")
            for kind in ("images", "labels")
        )
    x, x_test = (images.unsqueeze(1).float() / 255 for images in (x, x_test))
    network = train(x, y.long(), epochs=options.epochs, seed=options.seed)
    score = accuracy(network, x_test, y_test.long())
    card: dict[str, Any] = {
        "architecture": ARCHITECTURE,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "trained_on": f"MNIST training set, {len(y)} images, shifted by up to {SHIFT} pixels",
        "tested_on": "MNIST test set",
        "test_accuracy": score,
        "test_accuracy_stderr": math.sqrt(score * (1 - score) / len(y_test)),
        "test_n": len(y_test),
        "epochs": options.epochs,
        "batch_size": BATCH,
        "seed": options.seed,
        "threads": options.threads,
        "weights_sha256": weights_sha256(network),
        "torch": torch.__version__,
    }
    # One key: safetensors writes several in an order that changes from run to run.
    save_file(network.state_dict(), options.out, {"card": json.dumps(card, sort_keys=True)})
    options.out.chmod(0o644)  # safetensors makes files that only their owner may read
    card |= {
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cpu_seconds": round(time.process_time(), 1),
        "machine": f"{os.cpu_count()} cores, {cpu_model()}",
    }
    options.card.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(f"test accuracy {score:.4f}, weights {card['weights_sha256'][:12]}", file=sys.stderr)


if __name__ == "__main__":
    main()
