"""How far from the origin do distances in hyperbolic space hold? Evidence against 90 digits.

Points at radius r in ten dimensions with points at distance 1, along the ray and at the same radius
(askew), and with independent points at that radius (apart), stored by each model in float32 and
float64. Two errors are given, relative to the distance: of the formula, for the points as they are
stored; and of the storing, against the points that were meant (null: infinite or not a number).
Writes `accuracy/hyperbolic_distance.json` and prints the table.

    python accuracy/hyperbolic_distance.py [--pairs 20]
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

from immersion.known.hyperbolic.conversion import convert
from immersion.known.hyperbolic.log_hyperbolic import LogHyperbolic
from immersion.known.hyperbolic.lorentz import Lorentz
from immersion.known.hyperbolic.poincare import PoincareBall

DIMENSION, SEED = 10, 0
RADII = [0.1, 1.0, 5.0, 10.0, 15.0, 20.0, 40.0]
BALL, SHEET, LOG = PoincareBall(DIMENSION), Lorentz(DIMENSION), LogHyperbolic(DIMENSION)
Model = PoincareBall | Lorentz | LogHyperbolic


def minkowski(x: Tensor, y: Tensor) -> Tensor:
    return (x[..., 1:] * y[..., 1:]).sum(-1) - x[..., 0] * y[..., 0]


def lorentz_cosine(x: Tensor, y: Tensor) -> Tensor:
    return torch.acosh((-minkowski(x, y)).clamp_min(1))


def lorentz_difference(x: Tensor, y: Tensor) -> Tensor:
    return 2 * torch.asinh(minkowski(x - y, x - y).clamp_min(0).sqrt() / 2)


def polar(v: Tensor, w: Tensor) -> Tensor:
    """The polar form with unit vectors, in the dtype given."""
    r, s = v.norm(dim=-1), w.norm(dim=-1)
    chord = (v / r[..., None] - w / s[..., None]).norm(dim=-1) / 2
    across = (torch.sinh(r) * torch.sinh(s)).sqrt() * chord
    return 2 * torch.asinh(torch.hypot(torch.sinh((r - s) / 2), across))


def polar_in_float64(v: Tensor, w: Tensor) -> Tensor:
    return polar(v.double(), w.double()).to(v.dtype)


FORMULAS: dict[str, tuple[Model, Callable[[Tensor, Tensor], Tensor]]] = {
    "ball: asinh (PoincareBall.dist)": (BALL, BALL.dist),
    "hyperboloid: acosh": (SHEET, lorentz_cosine),
    "hyperboloid: |x-y|, asinh": (SHEET, lorentz_difference),
    "hyperboloid: polar (Lorentz.dist)": (SHEET, SHEET.dist),
    "log: polar": (LOG, polar),
    "log: polar, in float64": (LOG, polar_in_float64),
    "log: polar, rejection (LogHyperbolic.dist)": (LOG, LOG.dist),
}


def pairs(radius: float, kind: str, count: int) -> tuple[Tensor, Tensor]:
    """Log coordinates in float64."""
    generator = torch.Generator().manual_seed(SEED)
    a, b = torch.randn(2, count, DIMENSION, generator=generator, dtype=torch.float64)
    v = a / a.norm(dim=-1, keepdim=True) * radius
    if kind == "apart":
        return v, b / b.norm(dim=-1, keepdim=True) * radius
    if kind == "ray":
        return v, v * (1 + 1 / radius)
    across = b - (b * v).sum(-1, keepdim=True) / radius**2 * v
    angle = 2 * math.asin(min(1.0, math.sinh(0.5) / math.sinh(radius)))
    across = across / across.norm(dim=-1, keepdim=True) * radius
    return v, math.cos(angle) * v + math.sin(angle) * across


def exact(x: Tensor, y: Tensor, model: Model) -> mpmath.mpf:
    sheet = []
    for u in (x, y):
        v = mpmath.matrix([mpmath.mpf(c) for c in u.tolist()])
        square = mpmath.fdot(v, v)
        if model is BALL:
            sheet.append(((1 + square) / (1 - square), 2 * v / (1 - square)))
        elif model is LOG:
            r = mpmath.sqrt(square)
            sheet.append((mpmath.cosh(r), mpmath.sinh(r) / r * v))
        else:
            s = mpmath.matrix([mpmath.mpf(c) for c in u.tolist()[1:]])
            sheet.append((mpmath.sqrt(1 + mpmath.fdot(s, s)), s))
    (s, p), (t, q) = sheet
    return mpmath.re(mpmath.acosh(s * t - mpmath.fdot(p, q)))


def worst(values: list[float], truth: list[mpmath.mpf]) -> float | None:
    errors = []
    for v, t in zip(values, truth, strict=True):
        if t < 1e-30:  # stored as the same point
            errors.append(0.0 if v == 0 else math.inf)
        else:
            errors.append(float(abs(v - t) / t) if math.isfinite(v) else math.inf)
    return max(errors) if math.isfinite(max(errors)) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    count = parser.parse_args().pairs
    rows = []
    for dtype in (torch.float32, torch.float64):
        for radius in RADII:
            for kind in ("ray", "askew", "apart"):
                if kind == "askew" and radius > 15:
                    continue  # float64 log coordinates do not tell such points apart for certain
                v, w = pairs(radius, kind, count)
                with mpmath.workdps(90):
                    meant = [exact(a, b, LOG) for a, b in zip(v, w, strict=True)]
                for name, (model, formula) in FORMULAS.items():
                    x, y = (convert(a.to(dtype), LOG, model) for a in (v, w))
                    with mpmath.workdps(90):
                        stored = [exact(a, b, model) for a, b in zip(x, y, strict=True)]
                        row = {
                            "dtype": str(dtype).removeprefix("torch."),
                            "radius": radius,
                            "pair": kind,
                            "formula": name,
                            "worst_of_formula": worst(formula(x, y).tolist(), stored),
                            "worst_of_storage": worst([float(s) for s in stored], meant),
                        }
                    rows.append(row)
                    shown = [
                        "inf" if row[k] is None else f"{row[k]:.1e}"
                        for k in ("worst_of_formula", "worst_of_storage")
                    ]
                    print(f"{row['dtype']:<9}{radius:<6g}{kind:<7}{name:<46}"
                          f"formula {shown[0]:<9} storage {shown[1]}")  # fmt: skip
    result = {
        "what": "relative error of the distance: of the formula for the points as stored, and of "
        "the distance of the stored points against that of the points meant",
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
