"""RiemannianAdam against the algorithm written out point by point, and against torch's AdamW."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from immersion.core.errors import InputError
from immersion.core.metric import Manifold
from immersion.known.constraints import constrain_, constraints
from immersion.known.sphere import Sphere
from immersion.optim.adam import RiemannianAdam
from optim.models import Points, apart, give_gradients, mixed, twins, values


class Reference:
    """The algorithm of Becigneul and Ganea with bias correction, one point at a time."""

    def __init__(self, manifold: Manifold, x: Tensor, **options: Any) -> None:
        self.manifold, self.x, self.options = manifold, x, options
        self.m, self.v, self.largest, self.t = torch.zeros_like(x), 0.0, 0.0, 0

    def step(self, g: Tensor) -> None:
        lr, (b1, b2) = self.options["lr"], self.options["betas"]
        r = self.manifold.egrad2rgrad(self.x, -g if self.options["maximize"] else g)
        self.t += 1
        self.m = b1 * self.m + (1 - b1) * r
        self.v = b2 * self.v + (1 - b2) * float(self.manifold.inner(self.x, r, r))
        self.largest = max(self.largest, self.v)
        v = self.largest if self.options["amsgrad"] else self.v
        size = math.sqrt(v / (1 - b2**self.t)) + self.options["eps"]
        u = -lr / (1 - b1**self.t) / size * self.m
        self.x, self.m = self.manifold.carry(self.x, u, self.m)


def references(model: Points, options: dict[str, Any]) -> dict[str, list[Reference]]:
    found: dict[str, list[Reference]] = {}
    parameters = dict(model.named_parameters())
    for name, manifold in constraints(model).items():
        points = parameters[name].detach().clone().reshape(-1, *manifold.point_shape)
        found[name] = [Reference(manifold, x, **options) for x in points]
    return found


OPTIONS = {"lr": 0.05, "betas": (0.9, 0.99), "eps": 1e-8, "amsgrad": False, "maximize": False}


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize(
    "changed",
    [{}, {"amsgrad": True}, {"maximize": True}, {"betas": (0.0, 0.0)}, {"lr": 0.7, "eps": 0.1}],
)
def test_equals_the_algorithm_point_by_point(changed: dict[str, Any], foreach: bool | None) -> None:
    options = OPTIONS | changed
    model = mixed()
    expected = references(model, options)
    optimizer = RiemannianAdam(model, foreach=foreach, **options)
    for seed in range(6):
        give_gradients(model, seed=seed)
        optimizer.step()
        for name, parameter in model.named_parameters():
            if name in expected:
                manifold = expected[name][0].manifold
                assert parameter.grad is not None
                gradients = parameter.grad.reshape(-1, *manifold.point_shape)
                for one, g in zip(expected[name], gradients, strict=True):
                    one.step(g)
                x = torch.stack([one.x for one in expected[name]]).view_as(parameter)
                torch.testing.assert_close(parameter.detach(), x, rtol=1e-11, atol=1e-12)
                m = torch.stack([one.m for one in expected[name]]).view_as(parameter)
                state = optimizer.state[parameter]
                torch.testing.assert_close(state["exp_avg"], m, rtol=1e-11, atol=1e-12)
                v = torch.tensor([one.v for one in expected[name]], dtype=torch.float64)
                torch.testing.assert_close(state["exp_avg_sq"].flatten(), v, rtol=1e-12, atol=0)
                assert float(state["step"]) == seed + 1


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.1},
        {"amsgrad": True, "maximize": True},
        {"betas": (0.5, 0.9), "eps": 1e-3, "foreach": True},
        {"lr": torch.tensor(0.03), "foreach": False},
    ],
)
def test_euclidean_parameters_are_those_of_torch(options: dict[str, Any]) -> None:
    model, other = twins(mixed(torch.float32))
    ours = RiemannianAdam(model, **{"lr": 0.05, **options})
    theirs = torch.optim.AdamW(
        other.plain.parameters(), **{"lr": 0.05, "weight_decay": 0, **options}
    )
    for seed in range(5):
        give_gradients(model, other, seed=seed)
        ours.step()
        theirs.step()
        assert apart(model.plain, other.plain) == 0
    for mine, its in zip(model.plain, other.plain, strict=True):
        assert ours.state[mine].keys() == theirs.state[its].keys()
        for name, value in theirs.state[its].items():
            assert torch.equal(ours.state[mine][name], value)


def test_weight_decay_leaves_points_alone() -> None:
    model, other = twins(mixed())
    decayed = RiemannianAdam(model, lr=0.05, weight_decay=0.5)
    plain = RiemannianAdam(other, lr=0.05)
    for seed in range(3):
        give_gradients(model, other, seed=seed)
        decayed.step()
        plain.step()
    assert apart(model.points, other.points) == 0 and apart(model.plain, other.plain) > 0.01


def test_finds_the_leading_eigenvector() -> None:
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    a = a @ a.T
    eigenvalues, vectors = torch.linalg.eigh(a)
    model = Points([(Sphere(29), ())])
    x = model.points[0]
    optimizer = RiemannianAdam(model, lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    for _ in range(300):
        optimizer.zero_grad()
        (-x @ a @ x).backward()
        optimizer.step()
        schedule.step()
    found = x.detach()
    assert float(found @ a @ found) == pytest.approx(float(eigenvalues[-1]), rel=1e-6)
    assert abs(float(found @ vectors[:, -1])) == pytest.approx(1, abs=1e-5)


def test_a_first_step_has_the_length_of_the_rate() -> None:
    model = Points([(Sphere(9), (4,))])
    before = values(model)[0]
    give_gradients(model, seed=1, scale=1e-3)
    RiemannianAdam(model, lr=0.01).step()
    angle = Sphere(9).dist(before, model.points[0].detach())
    torch.testing.assert_close(angle, torch.full_like(angle, 0.01), rtol=1e-4, atol=0)


def test_a_zero_gradient_leaves_the_point() -> None:
    model = mixed(torch.float32)
    before = values(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    RiemannianAdam(model, lr=0.1).step()
    for parameter, value in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-6, atol=1e-6)


def test_state_of_torch_for_a_constrained_parameter_is_refused() -> None:
    model = Points([(Sphere(4), (3,))], dtype=torch.float32)
    other = torch.optim.AdamW(model.parameters())
    give_gradients(model, seed=0)
    other.step()
    optimizer = RiemannianAdam(model)
    optimizer.load_state_dict(other.state_dict())
    with pytest.raises(InputError, match=r"points.0: exp_avg_sq has shape \(3, 5\).* keeps \(3,\)"):
        optimizer.step()


def test_a_capture_that_would_freeze_the_step_count_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = mixed()
    give_gradients(model, seed=0)
    optimizer, points = RiemannianAdam(model), RiemannianAdam(model.points)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    points.step()
    with pytest.raises(InputError, match=r"2 Euclidean parameters.*capturable=True"):
        optimizer.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr is a number >= 0, or a tensor of one, not -1"),
        ({"lr": math.nan}, "lr is a number >= 0"),
        ({"lr": torch.ones(2)}, "lr is a number >= 0, or a tensor of one"),
        ({"betas": (0.9, 1.0)}, r"betas are two numbers in \[0, 1\), not \(0.9, 1.0\)"),
        ({"betas": (0.9,)}, "betas are two numbers"),
        ({"eps": -1e-8}, "eps is a number >= 0"),
        ({"weight_decay": -0.1}, "weight_decay is a number >= 0, not -0.1"),
    ],
)
def test_rates_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"RiemannianAdam: {message}"):
        RiemannianAdam(constrain_(nn.Linear(3, 2), "weight", Sphere), **options)
