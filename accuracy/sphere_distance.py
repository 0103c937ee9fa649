"""Which formula for the angle between unit vectors? Evidence against 50 digits.

For each formula, dtype and angle: the largest error in units of the last place, relative to the
vectors as they are stored, and the largest error of its derivative (true value: 1 in absolute
value, except at zero; null: infinite). Writes `accuracy/sphere_distance.json` and prints the table.

    python accuracy/sphere_distance.py [--pairs 50]
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Callable
from pathlib import Path

import mpmath
import torch
from torch import Tensor

from immersion.known.sphere import Sphere

DIMENSION, SEED = 63, 0
ANGLES = [0.0, 1e-6, 1e-4, 1e-2, 1.0, math.pi - 1e-2, math.pi - 1e-4, math.pi - 1e-6]


def arc_cosine(x: Tensor, y: Tensor) -> Tensor:
    return torch.arccos(torch.clamp((x * y).sum(-1), -1, 1))


def two_lengths(x: Tensor, y: Tensor) -> Tensor:
    """Kahan's formula, which takes vectors to be of one length."""
    return 2 * torch.atan2((x - y).norm(dim=-1), (x + y).norm(dim=-1))


FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "arccos<x, y>, clamped": arc_cosine,
    "2 atan2(|x-y|, |x+y|)": two_lengths,
    "atan2(|across|, along) (Sphere.dist)": Sphere(DIMENSION).dist,
}


def pairs(angle: float, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    a, b = torch.randn(2, count, DIMENSION + 1, generator=generator, dtype=torch.float64)
    x = a / a.norm(dim=-1, keepdim=True)
    across = b - (b * x).sum(-1, keepdim=True) * x
    e = across / across.norm(dim=-1, keepdim=True)
    return x.to(dtype), (math.cos(angle) * x + math.sin(angle) * e).to(dtype)


def exact(x: Tensor, y: Tensor) -> mpmath.mpf:
    p, q = (mpmath.matrix([mpmath.mpf(c) for c in v.tolist()]) for v in (x, y))
    p, q = p / mpmath.norm(p), q / mpmath.norm(q)
    return 2 * mpmath.atan2(mpmath.norm(p - q), mpmath.norm(p + q))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=50)
    count = parser.parse_args().pairs
    rows = []
    for dtype in (torch.float32, torch.float64):
        eps = torch.finfo(dtype).eps
        for angle in ANGLES:
            x, y = pairs(angle, count, dtype)
            with mpmath.workdps(50):
                truth = [exact(p, q) for p, q in zip(x, y, strict=True)]
            for name, formula in FORMULAS.items():
                leaf = y.clone().requires_grad_()
                value = formula(x, leaf)
                (slope,) = torch.autograd.grad(value.sum(), leaf)
                slopes = Sphere(DIMENSION).to_tangent(y, slope).norm(dim=-1)
                with mpmath.workdps(50):
                    ulps = [
                        float(abs(v - t) / (eps * t)) if t else (0.0 if v == 0 else math.inf)
                        for v, t in zip(value.tolist(), truth, strict=True)
                    ]
                row = {
                    "dtype": str(dtype).removeprefix("torch."),
                    "angle": angle,
                    "formula": name,
                    "worst_ulp": max(ulps) if math.isfinite(max(ulps)) else None,
                    "finite_gradient": bool(torch.isfinite(slope).all()),
                    "worst_slope_error": float((slopes - 1).abs().max()) if angle else None,
                }
                rows.append(row)
                print(f"{row['dtype']:<9}{angle:<22.10g}{name:<40}{max(ulps):>10.3g} ulp  "
                      f"gradient finite: {row['finite_gradient']}")  # fmt: skip
    result = {
        "what": "error of the angle in ulp of the true value, for the vectors as stored",
        "pairs": count,
        "dimension": DIMENSION,
        "seed": SEED,
        "versions": {
            "torch": torch.__version__,
            "mpmath": mpmath.__version__,
            "python": platform.python_version(),
        },
        "rows": rows,
    }
    path = Path(__file__).with_suffix(".json")
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(result, indent=1) + "\n")
    draft.replace(path)


if __name__ == "__main__":
    main()
