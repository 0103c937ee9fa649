"""Manifolds and optimisers give the same answers on a CUDA device. Run by `make gpu-test`."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from immersion.known.constraints import constrain_, constraints
from immersion.known.orthonormal.stiefel import Stiefel
from immersion.known.sphere import Sphere
from immersion.optim.adam import RiemannianAdam
from immersion.optim.minimize import minimize
from immersion.optim.sgd import RiemannianSGD
from laws.case import Case
from laws.every import every
from laws.methods import arguments, methods


@pytest.fixture(autouse=True, scope="module")
def cuda() -> None:
    assert torch.cuda.is_available(), "these tests need a CUDA device"


@every
def test_methods_are_those_of_the_cpu(case: Case) -> None:
    given = arguments(case, 4)
    for name, (method, takes) in methods(case.manifold).items():
        here = method(*(given[kind] for kind in takes))
        there = method(*(given[kind].cuda() for kind in takes))
        assert there.is_cuda, name
        atol = 10 * case.tolerance(torch.float64) * (1 + float(here.abs().max()))
        torch.testing.assert_close(there.cpu(), here, rtol=0, atol=atol)
    x = case.manifold.random(3, device="cuda", dtype=torch.float64)
    assert x.is_cuda and case.manifold.check(x) is x


@pytest.mark.parametrize("kind", [RiemannianSGD, RiemannianAdam])
def test_training_is_that_of_the_cpu(kind: type[RiemannianSGD | RiemannianAdam]) -> None:
    torch.manual_seed(0)
    here = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 4)).double()
    constrain_(here, "0.weight", Stiefel)
    constrain_(here, "1.weight", Sphere)
    there = copy.deepcopy(here).cuda()
    x = torch.randn(32, 16, dtype=torch.float64)
    for model, inputs in ((here, x), (there, x.cuda())):
        optimizer = kind(model, lr=torch.tensor(1e-2, device=inputs.device))
        for _ in range(20):
            optimizer.zero_grad()
            (model(inputs) - 1).square().mean().backward()
            optimizer.step()
    for name, manifold in constraints(there).items():
        assert manifold.violation(there.get_parameter(name)).max() < 1e-12
    for p, q in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(q.cpu(), p, rtol=0, atol=1e-9)


def test_minimize_on_the_device() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(50, 50, generator=generator, dtype=torch.float64)
    a = (a + a.T).cuda()
    sphere = Sphere(49)
    x0 = sphere.random(generator=generator, dtype=torch.float64).cuda()
    found = minimize(lambda x: x @ a @ x, x0, sphere)
    assert found.converged and found.x.is_cuda
    torch.testing.assert_close(found.value, float(torch.linalg.eigvalsh(a)[0]), rtol=1e-9, atol=0)
