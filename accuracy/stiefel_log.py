"""How many steps does the logarithm of the Stiefel manifold take? Evidence for `shooting`.

Canonical metric: three rules that turn the lower right block C of the logarithm to zero, each with
the matrix logarithm of the package inside. "G" is Zimmermann (2017, arXiv 1604.05054), F(G) = G;
"Sylvester" is Zimmermann and Hueper (2022, arXiv 2103.12046), which keeps one term more; "summed"
is `canonical_exponent` of the package. The published rules start both from the completion that the
package takes ("turn") and from the one of their papers ("Procrustes": V' turned so that its lower
block is symmetric and positive). A pair is solved after the first step that leaves
|C| <= 1e-14 |log|. Of random pairs: fewest, median and most steps, the part not solved in 200, the
largest round trip |log(exp u) - u| / |u|, and the time of a matrix, all matrices together; their
number of steps is that of the slowest. `canonical_exponent` stops by a bound of its own, 2e-15.

Euclidean metric: random pairs at 0.97 to 0.99 of the injectivity radius, solved by
`euclidean_exponent` with its own longest step and with others, and also with up to 30 applications
for the linear system of a step instead of the 200 that the package allows: the part whose gap falls
to 1e-12 within so many steps, the part whose logarithm is the vector given, and the time.
Writes `accuracy/stiefel_log.json` and prints the tables.

    OMP_NUM_THREADS=1 python accuracy/stiefel_log.py [--matrices 50] [--pairs 4000]
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from immersion.known.orthonormal.canonical_stiefel import CanonicalStiefel
from immersion.known.orthonormal.logarithms import shooting
from immersion.known.orthonormal.logarithms.exponent import Exponent
from immersion.known.orthonormal.stiefel import Stiefel

SEEDS = [0, 1, 2]
SIZES = [(4, 2), (6, 3), (8, 5), (12, 10), (40, 20), (200, 10)]
FRACTIONS = [0.1, 0.3, 0.5, 0.7, 0.9]
SOLVED, LIMIT, REPETITIONS = 1e-14, 200, 3
EUCLIDEAN_SIZES = [(4, 2), (6, 3), (5, 4), (8, 6), (30, 4), (9, 8), (12, 10), (20, 10)]
EUCLIDEAN_SOLVED, WITHIN = 1e-12, [8, 10, 12, 16, 20, 40]
# Longest step, and most applications for the linear system of a step: None is the package's number.
VARIANTS = [(0.1, None), (0.3, None), (1.0, None), (math.inf, None), (1.0, 30)]


def drawn(
    M: Stiefel | CanonicalStiefel, lengths: Tensor, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Uniform points x, random tangent u of the lengths given, and exp(x, u)."""
    generator = torch.Generator().manual_seed(seed)
    x = M.random(len(lengths), generator=generator, dtype=torch.float64)
    u = M.random_tangent(x, generator)
    u = (lengths / M.norm(x, u))[:, None, None] * u
    return x, u, M.exp(x, u)


def seen_from(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """[x q], q orthonormal across x, and what separates [x q]^T y from [I; 0]."""
    p = x.shape[-1]
    top = x.mT @ (y - x)
    q, r = torch.linalg.qr(torch.cat([x, y - x - x @ top], -1))
    return torch.cat([x, q[..., p:]], -1), torch.cat([top, r[..., p:, p:]], -2)


def size(a: Tensor) -> Tensor:
    return a.flatten(-2).norm(dim=-1)


def turned(less: Tensor) -> Tensor:
    """The completion of the package, less the identity."""
    return shooting._completion(less)


def procrustes(less: Tensor) -> Tensor:
    """[V V'] - I with the lower block of V' symmetric and positive semi-definite."""
    p = less.shape[-1]
    eye = torch.eye(less.shape[-2], dtype=less.dtype)
    right = torch.linalg.qr(less + eye[:, :p], mode="complete")[0][..., p:]
    left, values, other = torch.linalg.svd(right[..., p:, :])
    right = right @ (other.mT @ left.mT)
    right[..., p:, :] = (left * values.unsqueeze(-2)) @ left.mT
    # The determinant must be 1; the direction that costs least is reflected.
    whole = torch.cat([less + eye[:, :p], right], -1)
    flipped = torch.det(whole) < 0
    away = right @ left[..., -1:] @ left[..., -1:].mT
    right = torch.where(flipped[:, None, None], right - 2 * away, right)
    return torch.cat([less, right - eye[:, p:]], -1)


def plain(B: Tensor, C: Tensor) -> Tensor:
    """F(G) = G."""
    return C


def sylvester(B: Tensor, C: Tensor) -> Tensor:
    """G with S G + G S = C, S = I / 2 - B B^T / 12, in the eigenvectors of S."""
    values, R = torch.linalg.eigh(torch.eye(B.shape[-2], dtype=B.dtype) / 2 - B @ B.mT / 12)
    sums = values.unsqueeze(-1) + values.unsqueeze(-2)
    return R @ ((R.mT @ C @ R) / sums) @ R.mT


def published(
    less: Tensor, rule: Callable[[Tensor, Tensor], Tensor], start: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The exponent that one of the published rules finds, and |C| / |log| before each step."""
    p = less.shape[-1]
    rotation, history = start(less), []
    for step in range(LIMIT + 1):
        log = shooting._log(rotation)
        B, C = log[..., p:, :p], log[..., p:, p:]
        history.append(size(C) / size(log))
        if step == LIMIT or bool((history[-1] <= SOLVED).all()):
            break
        turn = torch.matrix_exp(-rule(B, C))
        right = rotation[..., p:] + torch.eye(less.shape[-2], dtype=less.dtype)[:, p:]
        right = right @ turn - torch.eye(less.shape[-2], dtype=less.dtype)[:, p:]
        rotation = torch.cat([less, right], -1)
    return log[..., :p], torch.stack(history)


def summed(less: Tensor) -> tuple[Tensor, Tensor]:
    """The exponent that the package finds; the logarithms it takes are watched."""
    p, log, history = less.shape[-1], shooting._log, []

    def watched(rotation: Tensor) -> Tensor:
        found = log(rotation)
        history.append(size(found[..., p:, p:]) / size(found))
        return found

    with patch.object(shooting, "_log", watched):
        c = shooting.canonical_exponent(less)
    return c, torch.stack(history)


RULES: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "G, from turn": lambda less: published(less, plain, turned),
    "G, from Procrustes": lambda less: published(less, plain, procrustes),
    "Sylvester, from turn": lambda less: published(less, sylvester, turned),
    "Sylvester, from Procrustes": lambda less: published(less, sylvester, procrustes),
    "summed (package)": summed,
}


def first_below(history: Tensor, bound: float) -> Tensor:
    """Step after which each column of the history is first below the bound; -1 for never."""
    below = history <= bound
    return torch.where(below.any(0), below.int().argmax(0), -1)


def least_time(run: Callable[[], object]) -> float:
    """Seconds of this thread, the least of a few repetitions."""
    best = math.inf
    for _ in range(REPETITIONS):
        start = time.thread_time()
        run()
        best = min(best, time.thread_time() - start)
    return best


def canonical(count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for n, p in SIZES:
        M = CanonicalStiefel(n, p)
        for fraction in FRACTIONS:
            lengths = fraction * M.injectivity_radius(torch.zeros(count, n, p, dtype=torch.float64))
            parts = [drawn(M, lengths, seed) for seed in SEEDS]
            x, u, y = (torch.cat(each) for each in zip(*parts, strict=True))
            frame, less = seen_from(x, y)
            for name, rule in RULES.items():
                c, history = rule(less)
                taken = first_below(history, SOLVED)
                solved = taken[taken >= 0]
                row: dict[str, Any] = {
                    "n": n,
                    "p": p,
                    "fraction_of_radius": fraction,
                    "rule": name,
                    "fewest": int(solved.min()),
                    "median": int(solved.median()),
                    "most": int(solved.max()),
                    "part_unsolved": 1 - len(solved) / len(taken),
                    "worst_round_trip": float((M.norm(x, frame @ c - u) / M.norm(x, u)).max()),
                    "microseconds": 1e6 * least_time(lambda r=rule, d=less: r(d)) / len(x),
                }
                rows.append(row)
                print(f"{n:>4} x {p:<3}{fraction:<5}{name:<28}"
                      f"{row['fewest']!s:>4}{row['median']!s:>4}{row['most']!s:>4}  "
                      f"unsolved {row['part_unsolved']:<7.2g}"
                      f"round trip {row['worst_round_trip']:<9.2g}"
                      f"{row['microseconds']:.0f} us")  # fmt: skip
    return rows


@contextmanager
def variant(longest: float, applications: int | None) -> Iterator[list[Tensor]]:
    """Newton's method in that variant; yields the gaps before each of its steps."""
    solve, gaps = shooting.minimal_residual, []

    def watched(
        operator: Callable[[Tensor], Tensor], gap: Tensor, tolerance: Tensor, limit: int
    ) -> Tensor:
        gaps.append(size(gap))
        return solve(operator, gap, tolerance, applications or limit)

    # A bound that no step reaches: infinity would be divided by itself.
    bound = min(longest, 1e6)
    with (
        patch.object(shooting, "LONGEST_STEP", bound),
        patch.object(shooting, "minimal_residual", watched),
    ):
        yield gaps


def named(longest: float, applications: int | None) -> str:
    step = f"longest step {longest}" if math.isfinite(longest) else "no longest step"
    return step if applications is None else f"{step}, {applications} applications"


def euclidean(count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    each = -(-count // len(EUCLIDEAN_SIZES))
    for n, p in EUCLIDEAN_SIZES:
        M = Stiefel(n, p)
        radius = float(M.injectivity_radius(torch.zeros(n, p)))
        lengths = radius * torch.linspace(0.97, 0.99, each, dtype=torch.float64)
        x, u, y = drawn(M, lengths, SEEDS[0])
        frame, less = seen_from(x, y)
        for longest, applications in VARIANTS:
            with variant(longest, applications) as gaps:
                start = time.thread_time()
                c = shooting.euclidean_exponent(less)
                seconds = time.thread_time() - start
            history = torch.stack([*gaps, size(Exponent.of(c, 1.0).gap(less))])
            steps = first_below(history, EUCLIDEAN_SOLVED)
            error = M.norm(x, frame @ c - u) / lengths
            shares = {str(k): ((steps >= 0) & (steps <= k)).double().mean().item() for k in WITHIN}
            row: dict[str, Any] = {
                "n": n,
                "p": p,
                "pairs": each,
                "variant": named(longest, applications),
                "part_solved_within": shares,
                "part_solved": (steps >= 0).double().mean().item(),
                "most": int(steps.max()),
                "part_found": (error < 1e-10).double().mean().item(),
                "worst_round_trip": float(error.max()),
                "microseconds": 1e6 * seconds / each,
            }
            rows.append(row)
            print(f"{n:>4} x {p:<3}{row['variant']:<38}"
                  f"solved {row['part_solved']:<9.5g}within 12: {shares['12']:<9.5g}"
                  f"most {row['most']:<4}found {row['part_found']:<9.5g}"
                  f"round trip {row['worst_round_trip']:<9.2g}"
                  f"{row['microseconds']:.0f} us")  # fmt: skip
    return rows


def together(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts over all sizes, which have equally many pairs."""
    totals: list[dict[str, Any]] = []
    for name in dict.fromkeys(row["variant"] for row in rows):
        chosen = [row for row in rows if row["variant"] == name]
        total: dict[str, Any] = {"variant": name}
        for key in ("part_solved", "part_found"):
            total[key] = math.fsum(row[key] for row in chosen) / len(chosen)
        shares = [row["part_solved_within"] for row in chosen]
        total["part_solved_within"] = {
            str(k): math.fsum(share[str(k)] for share in shares) / len(shares) for k in WITHIN
        }
        totals.append(total)
        print("all sizes:", total)
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--matrices", type=int, default=50, help="for each seed")
    parser.add_argument("--pairs", type=int, default=4000, help="of the Euclidean metric")
    given = parser.parse_args()
    torch.set_num_threads(1)
    newton = euclidean(given.pairs)
    result = {
        "what": "steps of the logarithm of the Stiefel manifold, its round trips and times",
        "matrices": given.matrices * len(SEEDS),
        "seeds": SEEDS,
        "solved": {"canonical": SOLVED, "euclidean": EUCLIDEAN_SOLVED},
        "limits": {
            "published": LIMIT,
            "canonical": shooting.CANONICAL_LIMIT,
            "euclidean": shooting.NEWTON_LIMIT,
        },
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "canonical": canonical(given.matrices),
        "euclidean": newton,
        "euclidean_together": together(newton),
    }
    path = Path(__file__).with_suffix(".json")
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(result, indent=1) + "\n")
    draft.replace(path)


if __name__ == "__main__":
    main()
