"""Can a manifold of one's own be written in forty lines?

Idea: optimisation on manifolds, Lie groups.

The n x n matrices of determinant 1 are the linear maps that keep volume, SL(n). They are not among
the manifolds of this package; the class below adds them, and needs nothing else: every method
is one formula. A tangent vector at x is x A with tr A = 0, and its length is |A|, so that turning
everything by a map of the group changes no length. There is no closed logarithm: it is a
`Manifold` and not a `GeodesicManifold`. `tests/laws` runs the package's own laws over it.

What is sought is the least of tr(X^T A X) with A positive definite. By the inequality of arithmetic
and geometric means it is n det(A)^(1/n).

The claim holds if errors along the retraction fall with the square of the step, and Riemannian Adam
and the trust region find the least value with determinant 1. The nulls: a gradient without the
metric, whose errors fall with the first power only; and Adam of torch, which leaves the manifold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import immersion as im

SEED, N, STEPS, BETAS = 0, 4, 400, (0.9, 0.99)


@dataclass(frozen=True)
class SpecialLinear(im.Manifold):
    """Matrices of determinant 1, with the metric <u, v>_x = tr((x^-1 u)^T x^-1 v)."""

    n: int

    @property
    def dim(self) -> int:
        """One less than n^2."""
        return self.n**2 - 1

    @property
    def point_shape(self) -> tuple[int, ...]:
        """An n x n matrix."""
        return (self.n, self.n)

    def violation(self, x: Tensor) -> Tensor:
        """Distance of the determinant from 1."""
        return (torch.linalg.det(x) - 1).abs()

    def proj(self, x: Tensor) -> Tensor:
        """Scaled to determinant 1, after a reflection where it is negative."""
        det = torch.linalg.det(x)[..., None, None]
        x = torch.cat([det.sign() * x[..., :1, :], x[..., 1:, :]], -2)
        return x / det.abs() ** (1 / self.n)

    def traceless(self, a: Tensor) -> Tensor:
        """Nearest matrix of trace 0: to where the group has its tangent vectors at 1."""
        mean = a.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        return a - mean * torch.eye(self.n, dtype=a.dtype, device=a.device)

    def to_tangent(self, x: Tensor, a: Tensor) -> Tensor:
        """Orthogonal in the metric."""
        return x @ self.traceless(torch.linalg.solve(x, a))

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """<x^-1 u, x^-1 v>."""
        return (torch.linalg.solve(x, u) * torch.linalg.solve(x, v)).sum((-2, -1))

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """x x^T g, with the metric inverted and the trace taken off."""
        return x @ self.traceless(x.mT @ g)

    def christoffel(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Koszul's formula for x A and x B: brackets with the transposed, less products."""
        a, b = torch.linalg.solve(x, u), torch.linalg.solve(x, v)
        return -x @ (a @ b + b @ a + a.mT @ b - b @ a.mT + b.mT @ a - a @ b.mT) / 2

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Along the one-parameter group: x e^A for u = x A. It is no geodesic; order 1."""
        return self.proj(x @ torch.linalg.matrix_exp(torch.linalg.solve(x, u)))

    def transport(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """The same x^-1 v at y. An isometry, and not parallel."""
        return y @ torch.linalg.solve(x, v)

    def carry(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Step and transport."""
        y = self.retract(x, u)
        return y, self.transport(x, y, v)

    def random_tangent(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Normal entries of A."""
        a = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return x @ self.traceless(a)

    def random(self, *batch: int, generator=None, dtype=None, device=None) -> Tensor:
        """A random step from 1, since the volume of the group is infinite."""
        one = torch.eye(self.n, dtype=dtype, device=device).expand(*batch, self.n, self.n)
        return self.retract(one, self.random_tangent(one, generator))


def slope(errors: list[float], times: list[float]) -> float:
    """Power of t with which the errors fall, from the two smallest steps."""
    return math.log(errors[-2] / errors[-1]) / math.log(times[-2] / times[-1])


class VolumeKeeping(nn.Module):
    """A linear map as a module, with the cost tr(X^T A X)."""

    def __init__(self, x: Tensor, a: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(x.clone())
        self.a = a

    def forward(self) -> Tensor:
        """The cost."""
        return cost(self.weight, self.a)


def cost(x: Tensor, a: Tensor) -> Tensor:
    return (x * (a @ x)).sum()


def descend(module: VolumeKeeping, optimizer: torch.optim.Optimizer) -> Tensor:
    """The weight after so many steps, with a rate that falls to zero."""
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        module().backward()
        optimizer.step()
        schedule.step()
    return module.weight.detach()


def main() -> None:
    torch.set_default_dtype(torch.float64)
    generator = torch.Generator().manual_seed(SEED)
    manifold = SpecialLinear(N)
    x = manifold.check(manifold.random(generator=generator))
    root = torch.randn(N, N, generator=generator)
    a = root @ root.mT + 0.1 * torch.eye(N)

    print("claim: forty lines make a manifold that every optimiser can use")
    u = manifold.random_tangent(x, generator)
    g = 2 * a @ x
    r = manifold.egrad2rgrad(x, g)
    times = [2.0**-k for k in range(8, 14)]
    steps = [manifold.retract(x, t * u) for t in times]
    slopes = {
        "retraction against x + u": [
            float((y - x - t * u).norm()) for y, t in zip(steps, times, strict=True)
        ]
    }
    for name, gradient in (("cost along the retraction", r), ("without the metric (null)", g)):
        first = float(manifold.inner(x, gradient, u))
        slopes[name] = [
            abs(float(cost(y, a) - cost(x, a)) - t * first)
            for y, t in zip(steps, times, strict=True)
        ]
    orders = {name: slope(errors, times) for name, errors in slopes.items()}
    for name, order in orders.items():
        print(f"{name:<30}error falls with the power {order:.2f}")

    least = N * float(torch.linalg.det(a)) ** (1 / N)
    kept = im.constrain_(VolumeKeeping(x, a), "weight", manifold)
    free = VolumeKeeping(x, a)
    found = {
        "RiemannianAdam": descend(kept, im.RiemannianAdam(kept, lr=0.3, betas=BETAS)),
        "minimize, trust region": im.minimize(lambda y: cost(y, a), x, manifold).x,
        "torch Adam (null)": descend(
            free, torch.optim.Adam(free.parameters(), lr=0.3, betas=BETAS)
        ),
    }
    print(f"least value by the inequality of means: {least:.10f}")
    print(f"{'method':<26}{'value':>16}{'above least':>14}{'|det - 1|':>12}")
    above, off = {}, {}
    for name, y in found.items():
        value = float(cost(y, a))
        above[name], off[name] = value - least, float(manifold.violation(y))
        print(f"{name:<26}{value:>16.10f}{above[name]:>14.1e}{off[name]:>12.1e}")

    falls = min(orders["retraction against x + u"], orders["cost along the retraction"]) > 1.9
    null_falls = orders["without the metric (null)"] > 1.5
    solved = all(abs(above[name]) < 1e-6 * least and off[name] < 1e-12 for name in list(found)[:2])
    left = off["torch Adam (null)"] > 0.01
    holds = falls and not null_falls and solved and left
    print(f"outcome: {'holds' if holds else 'does not hold'}")


if __name__ == "__main__":
    main()
