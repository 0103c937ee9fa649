"""RiemannianSGD against the algorithm written out point by point, and against torch's SGD."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from immersion.core.errors import InputError
from immersion.core.metric import Manifold
from immersion.known.constraints import constrain_, constraints
from immersion.known.sphere import Sphere
from immersion.optim.sgd import RiemannianSGD
from optim.models import Points, apart, give_gradients, mixed, twins, values


class Reference:
    """Descent of one point, with the momentum of torch carried along."""

    def __init__(self, manifold: Manifold, x: Tensor, **options: Any) -> None:
        self.manifold, self.x, self.options = manifold, x, options
        self.m: Tensor | None = None

    def step(self, g: Tensor) -> None:
        lr, momentum = self.options["lr"], self.options["momentum"]
        r = self.manifold.egrad2rgrad(self.x, -g if self.options["maximize"] else g)
        if momentum == 0:
            self.x = self.manifold.retract(self.x, -lr * r)
            return
        self.m = r if self.m is None else momentum * self.m + (1 - self.options["dampening"]) * r
        ahead = r + momentum * self.m if self.options["nesterov"] else self.m
        self.x, self.m = self.manifold.carry(self.x, -lr * ahead, self.m)


OPTIONS = {"lr": 0.1, "momentum": 0.0, "dampening": 0.0, "nesterov": False, "maximize": False}


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"maximize": True},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.5, "dampening": 0.3},
        {"lr": 0.02, "momentum": 0.5, "dampening": 1.0, "maximize": True},
    ],
)
def test_equals_the_algorithm_point_by_point(changed: dict[str, Any], foreach: bool | None) -> None:
    options = OPTIONS | changed
    model = mixed()
    manifolds = constraints(model)
    expected = {
        name: [
            Reference(manifolds[name], x, **options)
            for x in parameter.detach().clone().reshape(-1, *manifolds[name].point_shape)
        ]
        for name, parameter in model.named_parameters()
        if name in manifolds
    }
    optimizer = RiemannianSGD(model, foreach=foreach, **options)
    for seed in range(6):
        give_gradients(model, seed=seed)
        optimizer.step()
        for name, parameter in model.named_parameters():
            if name in expected:
                assert parameter.grad is not None
                gradients = parameter.grad.reshape(-1, *manifolds[name].point_shape)
                for one, g in zip(expected[name], gradients, strict=True):
                    one.step(g)
                x = torch.stack([one.x for one in expected[name]]).view_as(parameter)
                torch.testing.assert_close(parameter.detach(), x, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True, "foreach": True},
        {"maximize": True, "foreach": False, "lr": torch.tensor(0.1)},
    ],
)
def test_euclidean_parameters_are_those_of_torch(options: dict[str, Any]) -> None:
    model, other = twins(mixed(torch.float32))
    ours = RiemannianSGD(model, **{"lr": 0.05, **options})
    theirs = torch.optim.SGD(other.plain.parameters(), **{"lr": 0.05, **options})
    for seed in range(5):
        give_gradients(model, other, seed=seed)
        ours.step()
        theirs.step()
        assert apart(model.plain, other.plain) == 0
    for mine, its in zip(model.plain, other.plain, strict=True):
        assert ours.state[mine].keys() == theirs.state[its].keys()
        for name, value in theirs.state[its].items():
            assert torch.equal(ours.state[mine][name], value)


def test_the_momentum_starts_from_the_projected_gradient() -> None:
    model = Points([(Sphere(4), (3,))])
    before = values(model)[0]
    give_gradients(model, seed=0)
    optimizer = RiemannianSGD(model, lr=0.0, momentum=0.9)
    optimizer.step()
    x = model.points[0]
    assert x.grad is not None
    expected = Sphere(4).egrad2rgrad(before, x.grad)
    torch.testing.assert_close(optimizer.state[x]["momentum_buffer"], expected)
    torch.testing.assert_close(x.detach(), before)


def test_weight_decay_leaves_points_alone() -> None:
    model, other = twins(mixed())
    for one, decay in ((model, 0.5), (other, 0.0)):
        give_gradients(one, seed=0)
        RiemannianSGD(one, lr=0.05, weight_decay=decay).step()
    assert apart(model.points, other.points) == 0 and apart(model.plain, other.plain) > 0.01


def test_without_momentum_there_is_no_state() -> None:
    model = mixed()
    give_gradients(model, seed=0)
    optimizer = RiemannianSGD(model)
    optimizer.step()
    plain = torch.optim.SGD(model.parameters())
    plain.step()
    assert optimizer.state_dict()["state"] == {}
    assert plain.state_dict()["state"].keys() <= set(range(len(list(model.parameters()))))


def test_descends_to_the_mean_direction() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = Sphere(4).random(50, generator=generator, dtype=torch.float64)
    targets = Sphere(4).proj(targets + torch.tensor([2.0, 0, 0, 0, 0], dtype=torch.float64))
    model = Points([(Sphere(4), ())])
    optimizer = RiemannianSGD(model, lr=0.3, momentum=0.5, nesterov=True)
    for _ in range(60):
        optimizer.zero_grad()
        (1 - targets @ model.points[0]).mean().backward()
        optimizer.step()
    expected = targets.mean(0) / targets.mean(0).norm()
    torch.testing.assert_close(model.points[0].detach(), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -0.1}, "lr is a number >= 0, or a tensor of one, not -0.1"),
        ({"momentum": -0.9}, "momentum is a number >= 0, not -0.9"),
        ({"weight_decay": -1.0}, "weight_decay is a number >= 0"),
        ({"nesterov": True}, "nesterov needs a momentum above 0 and no dampening.*momentum 0"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov.*dampening 0.1"),
    ],
)
def test_rates_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"RiemannianSGD: {message}"):
        RiemannianSGD(constrain_(nn.Linear(3, 2), "weight", Sphere), **options)
