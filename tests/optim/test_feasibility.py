"""Ten thousand steps in float32 leave the points on their manifolds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from immersion.core.metric import Manifold
from immersion.known.constraints import constraints
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.orthonormal.rotations import Rotations
from immersion.known.orthonormal.stiefel import Stiefel
from immersion.known.sphere import Sphere
from immersion.optim.adam import RiemannianAdam
from immersion.optim.sgd import RiemannianSGD
from optim.models import Points


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda model: RiemannianAdam(model, lr=1e-2), 10_000),
        (lambda model: RiemannianSGD(model, lr=1e-2, momentum=0.9), 1_000),
    ],
    ids=["adam", "momentum"],
)
def test_violation_after_many_steps(make: Callable[..., Any], steps: int) -> None:
    kinds: list[tuple[Manifold, tuple[int, ...]]] = [
        (Sphere(15), (4,)),
        (Stiefel(8, 3), (2,)),
        (Rotations(4), (2,)),
        (PoincareBall(4), (4,)),
    ]
    model = Points(kinds, dtype=torch.float32)
    optimizer = make(model)
    generator = torch.Generator().manual_seed(1)
    noise = [torch.randn(64, *p.shape, generator=generator) for p in model.parameters()]
    for step in range(steps):
        for parameter, gradients in zip(model.parameters(), noise, strict=True):
            # A pull along one direction under noise: the points travel, and gather somewhere.
            parameter.grad = gradients[step % 64] + gradients[step // 1000]
        optimizer.step()
    for name, manifold in constraints(model).items():
        x = model.get_parameter(name).detach()
        assert float(manifold.violation(x).max()) <= 1e-6, (name, manifold)
        state = optimizer.state[model.get_parameter(name)]
        momentum = state.get("exp_avg", state.get("momentum_buffer"))
        off = momentum - manifold.to_tangent(x, momentum)
        assert float(off.abs().max()) <= 1e-5 * max(1.0, float(momentum.abs().max()))
