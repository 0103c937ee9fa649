"""Do convolutions use that neighbouring pixels belong together?

Idea: convolutional networks.

First, the correlation of pixels at distance 1 against the same after one fixed permutation of the
pixels. Then a small ConvNet and a dense network are trained for seconds on digits, with their
pixels in place and permuted. A permutation loses nothing: the dense network, which knows no places,
is the null and should not mind.

The claim holds if the permutation costs the ConvNet accuracy, and more than the dense network.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

import immersion as im
from immersion.core.measurement import with_error

SEED, EPOCHS, TRAIN, BATCH = 0, 4, 3500, 50


def neighbour_correlation(images: torch.Tensor) -> tuple[float, float]:
    """Mean correlation of a pixel with the next; the error takes pairs as independent."""
    left, right = images[..., :-1].flatten(1), images[..., 1:].flatten(1)
    varies = (left.std(0) > 0.05) & (right.std(0) > 0.05)
    left, right = left[:, varies], right[:, varies]
    centred = (left - left.mean(0)) * (right - right.mean(0))
    correlation = centred.mean(0) / (left.std(0) * right.std(0))
    return float(correlation.mean()), float(correlation.std()) / math.sqrt(len(correlation))


def build(kind: str) -> nn.Module:
    if kind == "ConvNet":
        return im.models.ConvNet(channels=(8, 16), hidden=64, dropout=0.0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


def right_answers(kind: str, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Train on the first rows; whether each of the others is classified right."""
    torch.manual_seed(SEED)
    network = build(kind)
    steps = EPOCHS * TRAIN // BATCH
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAIN).split(BATCH):
            loss = nn.functional.cross_entropy(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return (network(x[TRAIN:]).argmax(1) == y[TRAIN:]).numpy().astype(float)


def main() -> None:
    digits = im.datasets.digits()
    x, y = torch.from_numpy(digits.x).float() / 255, torch.from_numpy(digits.y)
    order = torch.randperm(784, generator=torch.Generator().manual_seed(0))
    scrambled = x.flatten(1)[:, order].reshape(x.shape)
    print("claim: a ConvNet relies on neighbouring pixels, a dense network does not")
    for name, images in (("in place", x), ("permuted (null)", scrambled)):
        shown = with_error(*neighbour_correlation(images))
        print(f"correlation with the pixel at the right, {name}: {shown} (n = {len(x)})")
    print(f"{'network':<9}{'in place':<18}{'permuted':<18}{'cost':<18}{'n':>5}")
    costs = {}
    for kind in ("ConvNet", "dense"):
        in_place, permuted = (right_answers(kind, images, y) for images in (x, scrambled))
        numbers = []
        for right in (in_place, permuted, in_place - permuted):
            numbers.append((right.mean(), right.std(ddof=1) / math.sqrt(len(right))))
        costs[kind] = numbers[-1]
        shown = "".join(f"{with_error(*number):<18}" for number in numbers)
        print(f"{kind:<9}{shown}{len(in_place):>5}")
    own = costs["ConvNet"][0] / costs["ConvNet"][1]
    more = (costs["ConvNet"][0] - costs["dense"][0]) / math.hypot(
        costs["ConvNet"][1], costs["dense"][1]
    )
    print(f"cost to the ConvNet: {own:.1f} standard errors from 0, {more:.1f} from the null")
    if min(own, more) > 3:
        print("outcome: holds")
    elif min(own, more) < -3:
        print("outcome: does not hold")
    else:
        print("outcome: not decidable")


if __name__ == "__main__":
    main()
