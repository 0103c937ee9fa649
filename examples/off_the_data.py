"""Is a network more sensitive off the data than along them?

Idea: robustness.

Tangent spaces of the digits come from their neighbours. At 256 digits that the bundled network
gets right, it is asked how many predictions change within half the distance to the nearest digit,
stepping along the steepest direction off the data, the steepest one along them, and a random one.

Claim 1: the steepest step off the data changes more predictions than one of the same length along
them, and than a random one. Claim 2, which is stronger: this is more than the number of directions
explains, that is, the ratio of the largest singular values off and along the data exceeds that of
a random subspace of the same dimension in place of the tangent space.
"""

from __future__ import annotations

import numpy as np
import torch

import immersion as im
from immersion.core.measurement import with_error

SEED, PROBED = 0, 256


def judge(zs: list[float]) -> str:
    if min(zs) > 3:
        return "holds"
    return "does not hold" if min(zs) < -3 else "not decidable"


def main() -> None:
    digits = im.datasets.digits()
    network = im.models.digits_convnet()
    images = torch.from_numpy(digits.x).float() / 255
    with torch.no_grad():
        predicted = network(images).argmax(1).numpy()
    graph = im.neighbor_graph(images.flatten(1), 40)
    right = np.flatnonzero((predicted == digits.y) & (graph.distances[:, 0] > 0))
    rows = np.sort(np.random.default_rng(SEED).permutation(right)[:PROBED])
    dimension = im.two_nn(graph)
    dim = round(dimension.value)
    found = im.off_manifold_sensitivity(network, graph, (1, 28, 28), rows, dim, seed=SEED)

    print(f"tangent spaces: {dim} of 784 dimensions, TwoNN {dimension}")
    fit = found.tangent_fit
    print(f"a held-out neighbour step lies in them by {with_error(fit.value, fit.stderr)}", end="")
    print(f" (null: {fit.null.value:.3f})")
    print(f"{'step':<26}{'predictions changed':<22}{'n':>4}")
    for name, share in (
        ("steepest, off the data", found.flipped_off),
        ("steepest, along the data", found.flipped_on),
        ("random (null)", found.flipped_random),
    ):
        print(f"{name:<26}{with_error(share.value, share.stderr):<22}{share.n:>4}")
    ratio, null = found.ratio, found.ratio.null
    print(f"ratio of largest singular values, off / along: {ratio}")
    print(f"the same with a random subspace (null): {null}")
    energy = found.tangent_energy
    print(f"share of the squared Jacobian along the data: {energy} (null: {energy.null.value:.3f})")

    off = found.flipped_off
    zs = [
        (off.value - other.value) / np.hypot(off.stderr, other.stderr)
        for other in (found.flipped_on, found.flipped_random)
    ]
    print("claim 1: off the data more predictions change than along them or at random")
    print(f"outcome: {judge(zs)}")
    print("claim 2: the network is steeper off the data than the number of directions explains")
    print(f"outcome: {judge([ratio.z_from_null])}")


if __name__ == "__main__":
    main()
