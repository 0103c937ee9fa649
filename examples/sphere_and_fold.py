"""What does a map do to its domain?

Idea: manifolds, singular points.

Two charts with known answers. The polar chart of the unit sphere: its volume factor, integrated
over the chart's rectangle by Monte Carlo, is the area of the sphere, 4 pi; the null is the flat
map of the same rectangle, whose area is 2 pi^2. A fold: (u, v) -> (u, v^2, v^3) has a smallest
singular value |v| sqrt(4 + 9 v^2), which vanishes on the line v = 0; the null is the parabolic
sheet (u, v^2, v), which has none below 1.

The claim holds if the measured area is that of the sphere and not that of the flat map, and if the
smallest singular value finds the fold and nothing in its null.
"""

from __future__ import annotations

import math

import torch

import immersion as im
from immersion.core.measurement import with_error

SEED, N = 0, 20_000


def sphere(z: torch.Tensor) -> torch.Tensor:
    theta, phi = z.unbind(-1)
    return torch.stack(
        [theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()],
        -1,
    )


def flat(z: torch.Tensor) -> torch.Tensor:
    return torch.cat([z, torch.zeros_like(z[..., :1])], -1)


def fold(z: torch.Tensor) -> torch.Tensor:
    u, v = z.unbind(-1)
    return torch.stack([u, v**2, v**3], -1)


def sheet(z: torch.Tensor) -> torch.Tensor:
    u, v = z.unbind(-1)
    return torch.stack([u, v**2, v], -1)


def main() -> None:
    generator = torch.Generator().manual_seed(SEED)
    size = torch.tensor([math.pi, 2 * math.pi], dtype=torch.float64)
    z = size * torch.rand(N, 2, generator=generator, dtype=torch.float64)
    areas = {}
    print("claim: volumes and singular values of a map show its area and its folds")
    print(f"{'map':<14}{'quantity':<24}{'measured':<18}{'exact':<10}{'n':>6}")
    for name, f, exact in (
        ("sphere", sphere, 4 * math.pi),
        ("flat (null)", flat, 2 * math.pi**2),
    ):
        samples = size.prod() * im.Immersion(f, (2,)).volume(z)
        # The flat map's volume is 1 everywhere: what spread there is, is rounding.
        areas[name] = float(samples.mean()), round(float(samples.std()) / math.sqrt(N), 9)
        print(f"{name:<14}{'area':<24}{with_error(*areas[name]):<18}{exact:<10.4g}{N:>6}")

    square = 2 * torch.rand(N, 2, generator=generator, dtype=torch.float64) - 1
    v = square[:, 1].abs()
    one = torch.ones_like(v)
    least = {}
    for name, f, exact in (
        ("fold", fold, torch.minimum(v * (4 + 9 * v**2).sqrt(), one)),
        ("sheet (null)", sheet, one),
    ):
        least[name] = im.Immersion(f, (2,)).singular_values(square)[:, -1]
        error = float((least[name] - exact).abs().max())
        shown = f"{float(least[name].min()):.2g}", f"{float(exact.min()):.2g}"
        print(f"{name:<14}{'least singular value':<24}{shown[0]:<18}{shown[1]:<10}{N:>6}")
        print(f"{name:<14}{'largest error of it':<24}{error:<18.1e}{0:<10}{N:>6}")
    place = float(square[least["fold"].argmin(), 1])
    print(f"the fold is found at v = {place:.1e}; singular values have no sampling error")

    area, stderr = areas["sphere"]
    right_area = abs(area - 4 * math.pi) < 3 * stderr
    not_flat = abs(area - 2 * math.pi**2) > 3 * stderr
    found_fold = abs(place) < 1e-3 and float(least["fold"].min()) < 1e-3
    clean_null = float(least["sheet (null)"].min()) > 0.999
    holds = right_area and not_flat and found_fold and clean_null
    print(f"outcome: {'holds' if holds else 'does not hold'}")


if __name__ == "__main__":
    main()
