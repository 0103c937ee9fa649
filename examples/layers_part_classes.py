"""Do the layers of a network part the classes?

Idea: feature learning, dimension reduction.

In every layer of the bundled ConvNet, on 2,000 digits it has not seen: the intrinsic dimension,
the share of the 15 nearest neighbours that carry another label, and the same share in the
layer's picture of two principal components. The nulls are the same network with random weights,
and permuted labels.

The claim holds if the share falls from the input to the last hidden layer of the trained network,
by more than it does in the random one.
"""

from __future__ import annotations

import numpy as np
import torch

import immersion as im
from immersion.core.measurement import with_error

LAYERS = ["pool1", "pool2", "relu3", "fc2"]
LAST_HIDDEN = "relu3"
SEED, N, K = 0, 2000, 15


def against(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, im.Measurement]:
    """Share of each point's neighbours with another label, and its mean with the null."""
    agreement = im.label_agreement(im.neighbor_graph(points, K), labels, 10, k=K)
    return 1 - agreement.votes[np.arange(len(labels)), labels], agreement.disagreement


def survey(title: str, network: torch.nn.Module, x: torch.Tensor, y: np.ndarray) -> np.ndarray:
    """Print a row a layer; how much each point's share falls from the input to the last hidden."""
    with im.capture(network, x, LAYERS) as recorded:
        layers = {"(input)": x.flatten(1).numpy()}
        layers |= {name: layer.activations for name, layer in recorded.items()}
        per_point = {}
        for name, points in layers.items():
            per_point[name], share = against(points, y)
            _, in_map = against(im.pca(points).coordinates, y)
            dimension = im.two_nn(points)
            numbers = [with_error(m.value, m.stderr) for m in (dimension, share, in_map)]
            print(f"{title:<9}{name:<9}{numbers[0]:<15}{numbers[1]:<18}{numbers[2]:<18}")
    return per_point["(input)"] - per_point[LAST_HIDDEN]


def main() -> None:
    digits = im.datasets.digits().subset(range(N))
    x, y = torch.from_numpy(digits.x).float() / 255, digits.y
    torch.manual_seed(SEED)
    untrained = im.models.ConvNet().eval()
    print("claim: training makes the layers part the classes")
    print(f"{'weights':<9}{'layer':<9}{'TwoNN':<15}{'other label':<18}{'in the 2-D map':<18}")
    trained_fall = survey("trained", im.models.digits_convnet(), x, y)
    random_fall = survey("random", untrained, x, y)
    _, permuted = against(x.flatten(1).numpy(), np.random.default_rng(SEED).permutation(y))
    print(f"input with permuted labels: {with_error(permuted.value, permuted.stderr)}")
    zs = []
    for name, fall in (
        ("fall, trained", trained_fall),
        ("fall, random weights (null)", random_fall),
        ("difference", trained_fall - random_fall),
    ):
        stderr = fall.std(ddof=1) / np.sqrt(len(fall))
        zs.append(fall.mean() / stderr)
        print(f"{name}: {with_error(fall.mean(), stderr)} (n = {len(fall)})")
    if zs[0] > 3 and zs[2] > 3:
        print("outcome: holds")
    elif zs[0] < -3 or zs[2] < -3:
        print("outcome: does not hold")
    else:
        print("outcome: not decidable")


if __name__ == "__main__":
    main()
