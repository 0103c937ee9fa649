"""Which formula for the affine-invariant distance? Evidence against 50 digits.

For each formula, condition number and distance: the largest relative error, divided by eps and by
the worst condition number of x, y and x^-1 y, for the matrices as they are stored; and whether the
gradient is finite. A last group has x = I, y = 2 I, where all eigenvalues repeat. Then how far log
and exp undo each other, relative to the length of the vector, and the time of each formula.
Writes `accuracy/spd_distance.json` and prints the tables.

    OMP_NUM_THREADS=1 python accuracy/spd_distance.py [--pairs 20]
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path

import mpmath
import torch
from torch import Tensor

from immersion.known.definite.spd import SPD

N, SEED = 5, 0
CONDITIONS = [1.0, 1e2, 1e4, 1e6, 1e8]
DISTANCES = [1e-8, 1e-4, 0.1, 3.0]
TIMED_SIZE, TIMED_COUNT = 10, 1000


def of_solve(x: Tensor, y: Tensor) -> Tensor:
    """Eigenvalues of x^-1 y, which is not symmetric."""
    return torch.linalg.eigvals(torch.linalg.solve(x, y)).real.log().norm(dim=-1)


def of_roots(x: Tensor, y: Tensor) -> Tensor:
    """log(x^(-1/2) y x^(-1/2)) by two eigendecompositions."""
    values, vectors = torch.linalg.eigh(x)
    root = (vectors / values.sqrt().unsqueeze(-2)) @ vectors.mT
    values, vectors = torch.linalg.eigh(root @ y @ root)
    return ((vectors * values.log().unsqueeze(-2)) @ vectors.mT).norm(dim=(-2, -1))


def of_cholesky(x: Tensor, y: Tensor) -> Tensor:
    """Eigenvalues of L^-1 y L^-T."""
    L = torch.linalg.cholesky(x)
    half = torch.linalg.solve_triangular(L, y, upper=False)
    whitened = torch.linalg.solve_triangular(L, half.mT, upper=False)
    return torch.linalg.eigvalsh(whitened).log().norm(dim=-1)


def of_factors(x: Tensor, y: Tensor) -> Tensor:
    """Squares of the singular values of L^-1 N, y = N N^T."""
    L, N = torch.linalg.cholesky(x), torch.linalg.cholesky(y)
    values = torch.linalg.svdvals(torch.linalg.solve_triangular(L, N, upper=False))
    return 2 * values.log().norm(dim=-1)


FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "eigenvalues of x^-1 y": of_solve,
    "x^(-1/2) y x^(-1/2)": of_roots,
    "L^-1 y L^-T": of_cholesky,
    "singular values of L^-1 N": of_factors,
    "I + L^-1 (y - x) L^-T (SPD.dist)": lambda x, y: SPD(x.shape[-1]).dist(x, y),
}


def pairs(
    condition: float, distance: float, count: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Stored matrices of about that condition number, and others about that far from them."""
    generator = torch.Generator().manual_seed(SEED)
    axes = torch.linalg.qr(torch.randn(count, N, N, generator=generator, dtype=torch.float64))[0]
    x = (axes * torch.logspace(0, -1, N, base=condition, dtype=torch.float64)) @ axes.mT
    x = ((x + x.mT) / 2).to(dtype).double()
    u = SPD(N).random_tangent(x, generator)
    y = SPD(N).exp(x, (distance / SPD(N).norm(x, u))[:, None, None] * u)
    return x.to(dtype), y.to(dtype)


def exact(x: Tensor, y: Tensor) -> tuple[mpmath.mpf, float]:
    """Distance by the eigenvalues of x^-1 y, and the worst condition number."""
    p, q = (mpmath.matrix([[mpmath.mpf(e) for e in row] for row in a.tolist()]) for a in (x, y))
    values = [mpmath.re(value) for value in mpmath.eig(p**-1 * q)[0]]
    worst = max(float(max(values) / min(values)), *(float(torch.linalg.cond(a)) for a in (x, y)))
    return mpmath.sqrt(mpmath.fsum(mpmath.log(value) ** 2 for value in values)), worst


def accuracy(count: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for dtype in (torch.float32, torch.float64):
        eps = torch.finfo(dtype).eps
        for condition in CONDITIONS:
            for distance in DISTANCES:
                if condition * eps > 1e-3 or distance < 100 * condition * eps:
                    continue  # below what the dtype can store
                x, y = pairs(condition, distance, count, dtype)
                with mpmath.workdps(50):
                    truth = [exact(p, q) for p, q in zip(x, y, strict=True)]
                for name, formula in FORMULAS.items():
                    leaf = y.clone().requires_grad_()
                    value = formula(x, leaf)
                    (gradient,) = torch.autograd.grad(value.sum(), leaf)
                    with mpmath.workdps(50):
                        errors = [
                            float(abs(v - t) / (eps * t)) / c if math.isfinite(v) else math.inf
                            for v, (t, c) in zip(value.tolist(), truth, strict=True)
                        ]
                    worst = max(errors)
                    row: dict[str, object] = {
                        "dtype": str(dtype).removeprefix("torch."),
                        "condition": condition,
                        "distance": distance,
                        "formula": name,
                        "worst_error": worst if math.isfinite(worst) else None,
                        "finite_gradient": bool(torch.isfinite(gradient).all()),
                    }
                    rows.append(row)
                    print(f"{row['dtype']:<9}{condition:<8.0e}{distance:<8.0e}{name:<34}"
                          f"{worst:>10.2g}  gradient finite: {row['finite_gradient']}")  # fmt: skip
    return rows


def repeated() -> list[dict[str, object]]:
    """Derivatives of dist^2 / 2 at x = I, y = 2 I along one entry of y.

    That of log(y_11)^2 / 2: log(2) / 2, and (1 - log 2) / 4.
    """
    rows: list[dict[str, object]] = []
    eye = torch.eye(N, dtype=torch.float64)
    for name, formula in FORMULAS.items():
        t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        move = torch.diag(torch.tensor([1.0, *[0.0] * (N - 1)]).double())
        (first,) = torch.autograd.grad(
            formula(eye, 2 * eye + t * move).square() / 2, t, create_graph=True
        )
        try:
            (second,) = torch.autograd.grad(first, t)
        except RuntimeError:  # torch refuses it for eigvals
            second = torch.tensor(math.nan)
        error = abs(second.item() - (1 - math.log(2)) / 4)
        rows.append(
            {
                "formula": name,
                "first_derivative_error": abs(first.item() - math.log(2) / 2),
                "second_derivative_error": error if math.isfinite(error) else None,
            }
        )
        print(f"repeated eigenvalues  {name:<34} second derivative off by {error:.2g}")
    return rows


def round_trips(count: int) -> list[dict[str, object]]:
    """Largest |log(x, exp(x, u)) - u| / |u| in the norm at x."""
    rows: list[dict[str, object]] = []
    for condition in CONDITIONS:
        for distance in (0.1, 1.0, 3.0):
            x, _ = pairs(condition, distance, count, torch.float64)
            u = SPD(N).random_tangent(x, torch.Generator().manual_seed(SEED + 1))
            u = (distance / SPD(N).norm(x, u))[:, None, None] * u
            back = SPD(N).log(x, SPD(N).exp(x, u))
            worst = float((SPD(N).norm(x, back - u) / distance).max())
            rows.append({"condition": condition, "length": distance, "worst_relative": worst})
            print(f"round trip  condition {condition:<8.0e} length {distance:<5} {worst:.2g}")
    return rows


def times() -> list[dict[str, object]]:
    """Least time of one thread of this process, of 30 repetitions, a matrix."""
    rows: list[dict[str, object]] = []
    generator = torch.Generator().manual_seed(SEED)
    x, y = (
        SPD(TIMED_SIZE).random(TIMED_COUNT, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    for name, formula in FORMULAS.items():
        formula(x, y)
        best = math.inf
        for _ in range(30):
            start = time.thread_time()
            formula(x, y)
            best = min(best, time.thread_time() - start)
        rows.append({"formula": name, "microseconds": 1e6 * best / TIMED_COUNT})
        print(f"time  {name:<34} {1e6 * best / TIMED_COUNT:.2f} us a matrix")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    count = parser.parse_args().pairs
    torch.set_num_threads(1)
    result = {
        "what": "relative error of the distance over eps times the worst condition number of x, y "
        "and x^-1 y, for the matrices as stored",
        "pairs": count,
        "size": N,
        "seed": SEED,
        "versions": {
            "torch": torch.__version__,
            "mpmath": mpmath.__version__,
            "python": platform.python_version(),
        },
        "rows": accuracy(count),
        "repeated_eigenvalues": repeated(),
        "round_trips": round_trips(count),
        "timed": {"size": TIMED_SIZE, "batch": TIMED_COUNT, "rows": times()},
    }
    path = Path(__file__).with_suffix(".json")
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(result, indent=1) + "\n")
    draft.replace(path)


if __name__ == "__main__":
    main()
