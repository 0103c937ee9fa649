"""Which formula for distances in the Poincare ball? Evidence against 50 digits.

For each formula, dtype and norm of the points, next to each other and far apart: the largest error
in units of the last place, relative to the points as they are stored, and whether the gradient is
finite (null: the error is infinite or not a number). The exact value is found on the hyperboloid.
Writes `accuracy/poincare_distance.json` and prints the table.

    python accuracy/poincare_distance.py [--pairs 30]
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

from immersion.known.hyperbolic.poincare import PoincareBall

DIMENSION, SEED = 5, 0
GAPS = [0.9, 0.5, 1e-2, 1e-4, 1e-5, 1e-6]
APART = [0.0, 1e-6, 1e-2, 1.0, 20.0]


def lengths(x: Tensor) -> Tensor:
    return x.square().sum(-1).sqrt()


def area_cosine(x: Tensor, y: Tensor) -> Tensor:
    """Nickel and Kiela's."""
    gaps = (1 - x.square().sum(-1)) * (1 - y.square().sum(-1))
    return torch.acosh(1 + 2 * (x - y).square().sum(-1) / gaps)


def moebius(x: Tensor, y: Tensor) -> Tensor:
    """2 artanh |(-x) (+) y|, by the textbook Moebius sum."""
    xx, yy = x.square().sum(-1, keepdim=True), y.square().sum(-1, keepdim=True)
    xy = (x * y).sum(-1, keepdim=True)
    moved = (-(1 - 2 * xy + yy) * x + (1 - xx) * y) / (1 - 2 * xy + xx * yy)
    return 2 * torch.atanh(lengths(moved))


def area_sine(x: Tensor, y: Tensor) -> Tensor:
    gaps = (1 - x.square().sum(-1)) * (1 - y.square().sum(-1))
    return 2 * torch.asinh(lengths(x - y) / gaps.sqrt())


def area_sine_of_factors(x: Tensor, y: Tensor) -> Tensor:
    """1 - |x|^2 as (1 - |x|)(1 + |x|)."""
    a, b = lengths(x), lengths(y)
    return 2 * torch.asinh(lengths(x - y) / ((1 - a) * (1 + a) * (1 - b) * (1 + b)).sqrt())


def area_sine_in_float64(x: Tensor, y: Tensor) -> Tensor:
    return area_sine(x.double(), y.double()).to(x.dtype)


FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "acosh": area_cosine,
    "2 artanh |(-x)(+)y|": moebius,
    "2 asinh": area_sine,
    "2 asinh, (1-|x|)(1+|x|)": area_sine_of_factors,
    "2 asinh, all in float64": area_sine_in_float64,
    "2 asinh, gap to rounding (PoincareBall.dist)": PoincareBall(DIMENSION).dist,
}


def pairs(gap: float, apart: float, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Points at norm 1 - gap, and points of about the same norm at about that distance."""
    generator = torch.Generator().manual_seed(SEED)
    a, b = torch.randn(2, count, DIMENSION, generator=generator, dtype=torch.float64)
    x = a / a.norm(dim=-1, keepdim=True) * (1 - gap)
    if apart > 10:
        return x.to(dtype), (b / b.norm(dim=-1, keepdim=True) * (1 - gap)).to(dtype)
    return x.to(dtype), (x + apart * gap / 3 * b / b.norm(dim=-1, keepdim=True)).to(dtype)


def exact(x: Tensor, y: Tensor) -> mpmath.mpf:
    sheet = []
    for v in (x, y):
        p = mpmath.matrix([mpmath.mpf(c) for c in v.tolist()])
        square = mpmath.fdot(p, p)
        sheet.append(((1 + square) / (1 - square), 2 * p / (1 - square)))
    (s, p), (t, q) = sheet
    return mpmath.acosh(s * t - mpmath.fdot(p, q))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30)
    count = parser.parse_args().pairs
    rows = []
    for dtype in (torch.float32, torch.float64):
        eps = torch.finfo(dtype).eps
        for gap in GAPS:
            for apart in APART:
                x, y = pairs(gap, apart, count, dtype)
                with mpmath.workdps(60):
                    truth = [
                        mpmath.mpf(0) if torch.equal(p, q) else exact(p, q)
                        for p, q in zip(x, y, strict=True)
                    ]
                for name, formula in FORMULAS.items():
                    leaf = y.clone().requires_grad_()
                    value = formula(x, leaf)
                    (slope,) = torch.autograd.grad(value.sum(), leaf)
                    ulps = []
                    for v, t in zip(value.tolist(), truth, strict=True):
                        right = v == 0 if t == 0 else False
                        lost = t == 0 or not math.isfinite(v)
                        error = math.inf if lost else float(abs(v - t) / (eps * t))
                        ulps.append(0.0 if right else error)
                    worst = max(ulps)
                    row = {
                        "dtype": str(dtype).removeprefix("torch."),
                        "norm": 1 - gap,
                        "apart": apart,
                        "formula": name,
                        "worst_ulp": worst if math.isfinite(worst) else None,
                        "finite_gradient": bool(torch.isfinite(slope).all()),
                    }
                    rows.append(row)
                    print(f"{row['dtype']:<9}1-{gap:<8g}{apart:<8g}{name:<46}{worst:>10.3g} ulp  "
                          f"gradient finite: {row['finite_gradient']}")  # fmt: skip
    result = {
        "what": "error of the distance in ulp of the true value, for the points as stored; apart: "
        "distance in units of the gap over 3, 20 for independent points of that norm",
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
