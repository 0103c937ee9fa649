"""Does each digit lie near a surface of few dimensions?

Idea: the manifold hypothesis.

The intrinsic dimension of every class of handwritten digits is estimated by TwoNN from the 500
bundled images of that class and compared with two controls:

- a Gaussian with the same mean and covariance, which keeps what is linear in the images;
- every pixel shuffled over the images on its own, which keeps the pixels' distributions only.

The claim holds if every class has fewer dimensions than both of its controls.
"""

from __future__ import annotations

import numpy as np

import immersion as im
from immersion.core.measurement import with_error

SEED = 0


def gaussian_like(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many normal points with the mean and the covariance of `points`."""
    mean = points.mean(axis=0)
    weights = rng.normal(size=(len(points), len(points))) / np.sqrt(len(points) - 1)
    return mean + weights @ (points - mean)


def main() -> None:
    digits = im.datasets.digits()
    rng = np.random.default_rng(SEED)
    print("claim: each digit has fewer dimensions than its controls")
    print(f"{'digit':<6} {'n':>4}  {'TwoNN':<12} {'same covariance':<16} {'pixels shuffled':<15}")
    distances = []
    for index, name in enumerate(digits.classes):
        points = digits.x[digits.y == index].reshape(-1, 784) / 255.0
        measured = im.two_nn(points)
        controls = im.two_nn(gaussian_like(points, rng)), im.two_nn(rng.permuted(points, axis=0))
        shown = [with_error(d.value, d.stderr) for d in (measured, *controls)]
        print(f"{name:<6} {measured.n:>4}  {shown[0]:<12} {shown[1]:<16} {shown[2]:<15}")
        distances += [
            (control.value - measured.value) / np.hypot(control.stderr, measured.stderr)
            for control in controls
        ]
    print(f"smallest distance to a control: {min(distances):.1f} standard errors")
    print("values above 2 log10(500) = 5.4 are lower bounds at this number of images")
    if min(distances) > 3:
        print("outcome: holds")
    elif min(distances) < -3:
        print("outcome: does not hold")
    else:
        print("outcome: not decidable")


if __name__ == "__main__":
    main()
