"""POGO: the step against an independent formula, feasibility, and the manners of an optimiser."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LinearLR, StepLR

from immersion.core.errors import InputError
from immersion.known.combined.viewed import Viewed
from immersion.known.constraints import constrain_, constraints
from immersion.known.orthonormal.rotations import Rotations
from immersion.known.orthonormal.stiefel import Stiefel
from immersion.known.sphere import Sphere
from immersion.optim.pogo import POGO, orthogonal_step

DOUBLE = {"dtype": torch.float64}

BASES: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    "Adam": partial(torch.optim.Adam, lr=0.02, amsgrad=True),
    "AdamW": partial(torch.optim.AdamW, lr=0.02),
    "NAdam": partial(torch.optim.NAdam, lr=0.02),
    "RAdam": partial(torch.optim.RAdam, lr=0.02),
    "Adamax": partial(torch.optim.Adamax, lr=0.02),
    "Adagrad": partial(torch.optim.Adagrad, lr=0.1),
    "Adadelta": partial(torch.optim.Adadelta, lr=1.0),
    "Adafactor": partial(torch.optim.Adafactor, lr=0.05),
    "ASGD": partial(torch.optim.ASGD, lr=0.05),
    "RMSprop": partial(torch.optim.RMSprop, lr=0.01),
    "Rprop": partial(torch.optim.Rprop, lr=0.01),
}


def network(seed: int = 0) -> nn.Sequential:
    """A tall, a wide and a square orthogonal weight, and free parameters."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(5, 8, **DOUBLE), nn.Tanh(), nn.Linear(8, 4, **DOUBLE), nn.Linear(4, 4, **DOUBLE)
    )
    for name in ("0.weight", "2.weight", "3.weight"):
        constrain_(model, name, Stiefel)
    return model


def loss(model: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(32, 5, generator=generator, **DOUBLE)
    return (model(x) - torch.sin(x[:, :4])).square().mean()


def value(model: nn.Module) -> float:
    return loss(model).item()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()


def worst(model: nn.Module) -> float:
    named = dict(model.named_parameters())
    return max(
        float(manifold.violation(named[name].detach()).max())
        for name, manifold in constraints(model).items()
    )


def adam(params: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=0.02)


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(("n", "p"), [(6, 3), (4, 4), (5, 1), (2, 2)])
def test_the_step_is_the_nearest_orthonormal_matrix_to_the_tangent_step(n: int, p: int) -> None:
    stiefel = Stiefel(n, p)
    x = stiefel.random(7, **DOUBLE)
    d = 0.005 * torch.randn(7, n, p, **DOUBLE)
    relative = d @ x.mT
    left, _, right = torch.linalg.svd(x + (relative - relative.mT) / 2 @ x, full_matrices=False)
    torch.testing.assert_close(orthogonal_step(x, d), left @ right, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [0.06, 0.1, 0.2])
def test_the_violation_left_falls_with_the_tenth_power_of_the_step(size: float) -> None:
    x = Stiefel(12, 2).random(20, **DOUBLE)
    d = torch.randn(20, 12, 2, **DOUBLE)
    norm = torch.linalg.matrix_norm((d - x @ d.mT @ x) / 2, 2)[:, None, None]
    whole = Stiefel(12, 2).violation(orthogonal_step(x, size * d / norm))
    half = Stiefel(12, 2).violation(orthogonal_step(x, size / 2 * d / norm))
    assert float(whole.max()) < size**10
    assert size < 0.1 or float((whole / half).median()) > 2**9.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.3, 1.0, 1e3, 1e12, 1e25])
def test_a_step_of_any_length_stays_orthogonal_and_keeps_its_direction(
    size: float, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    stiefel = Stiefel(9, 4)
    x = stiefel.random(10, dtype=torch.float64).to(dtype)
    d = stiefel.random_tangent(x)
    y = orthogonal_step(x, size * d)
    assert float(stiefel.violation(y).max()) < 1e-6
    if size < 1e15:
        turned = torch.linalg.matrix_norm(y - x, 2)
        assert float(turned.min()) > 0.15 and float(turned.max()) < 0.251
        tangent = (d - x @ d.mT @ x) / 2
        cosine = ((y - x) * tangent).sum((-2, -1)) / (y - x).norm(dim=(-2, -1))
        assert float((cosine / tangent.norm(dim=(-2, -1))).min()) > 0.98


def test_a_matrix_off_the_manifold_is_mended() -> None:
    x = Stiefel(9, 4).random(10, **DOUBLE) + 0.01 * torch.randn(10, 9, 4, **DOUBLE)
    for _ in range(2):
        x = orthogonal_step(x, torch.zeros_like(x))
    assert float(Stiefel(9, 4).violation(x).max()) < 1e-12


@pytest.mark.parametrize("name", BASES)
def test_any_base_trains_and_stays_orthogonal(name: str) -> None:
    model = network()
    optimizer = POGO(model, BASES[name])
    before = value(model)
    train(model, optimizer, 60)
    assert value(model) < 0.8 * before
    assert worst(model) < 1e-6


def test_muon_of_torch_serves_as_a_base() -> None:
    layer = constrain_(nn.Linear(6, 4, bias=False, **DOUBLE), "weight", Stiefel)
    optimizer = POGO(layer, partial(torch.optim.Muon, lr=0.1, weight_decay=0.0))
    before = layer(torch.ones(1, 6, **DOUBLE)).sum().item()
    for _ in range(20):
        optimizer.zero_grad()
        layer(torch.ones(1, 6, **DOUBLE)).sum().backward()
        optimizer.step()
    assert layer(torch.ones(1, 6, **DOUBLE)).sum().item() < before - 1
    assert worst(layer) < 1e-6


@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop", "Adagrad"])
def test_scaling_each_entry_does_not_move_the_optimum(name: str) -> None:
    torch.manual_seed(0)
    layer = constrain_(nn.Linear(12, 3, bias=False, **DOUBLE), "weight", Stiefel)
    spread = torch.diag(torch.arange(12.0, **DOUBLE))
    optimizer = POGO(layer, BASES[name])
    schedule = LinearLR(optimizer, 1.0, 0.0, total_iters=400)
    for _ in range(400):
        optimizer.zero_grad()
        (-(layer.weight @ spread @ layer.weight.mT).trace()).backward()
        given = layer.weight.grad
        optimizer.step()
        assert layer.weight.grad is given
        schedule.step()
    assert 30 - (layer.weight @ spread @ layer.weight.mT).trace().item() < 1e-6


def test_nan_in_a_gradient_reaches_its_own_matrix_only() -> None:
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(4, 6, bias=False, **DOUBLE) for _ in range(3))
    for layer in layers:
        constrain_(layer, "weight", Stiefel)
        layer.weight.grad = torch.randn(6, 4, **DOUBLE)
    layers[1].weight.grad[2, 3] = torch.nan
    POGO(layers, adam).step()
    assert bool(layers[1].weight.isnan().any())
    for kept in (layers[0], layers[2]):
        assert float(Stiefel(6, 4).violation(kept.weight.detach())) < 1e-6


def test_feasible_after_ten_thousand_float32_steps() -> None:
    torch.manual_seed(0)
    layer = constrain_(nn.Linear(8, 4, bias=False), "weight", Stiefel)
    optimizer = POGO(layer, partial(torch.optim.Adam, lr=0.01))
    generator = torch.Generator().manual_seed(1)
    seen = 0.0
    for step in range(10_000):
        layer.weight.grad = torch.randn(4, 8, generator=generator)
        optimizer.step()
        if step % 50 == 0 or step >= 9_900:
            seen = max(seen, worst(layer))
    assert seen < 1e-6


def test_free_parameters_are_stepped_as_by_the_base_alone() -> None:
    model, plain = network(), network()
    optimizer, base = POGO(model, adam), adam(plain.parameters())
    for _ in range(3):  # the same gradients for both
        for one, other in zip(model.parameters(), plain.parameters(), strict=True):
            one.grad = torch.ones_like(one)
            other.grad = torch.ones_like(other)
        optimizer.step()
        base.step()
    held = constraints(model)
    for (name, one), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other) == (name not in held)


def test_stacked_is_one_at_a_time() -> None:
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(4, 6, bias=False, **DOUBLE) for _ in range(3))
    for layer in layers:
        constrain_(layer, "weight", Stiefel)
    alone = copy.deepcopy(layers)
    together = POGO(layers, adam)
    separate = [POGO(layer, adam) for layer in alone]
    for _ in range(5):
        for one, other in zip(layers.parameters(), alone.parameters(), strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        together.step()
        for optimizer in separate:
            optimizer.step()
    for one, other in zip(layers.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


def test_filters_stacks_and_rotations_are_matrices_too() -> None:
    torch.manual_seed(0)
    model = nn.Module()
    model.filters = nn.Parameter(torch.randn(4, 3, 2, 2))
    model.stack = nn.Parameter(torch.randn(2, 5, 3, 2))
    model.turn = nn.Parameter(torch.randn(3, 3))
    constrain_(model, "filters", Viewed(Stiefel(12, 4), (4, 3, 2, 2), transposed=True))
    constrain_(model, "stack", Stiefel(3, 2))
    constrain_(model, "turn", Rotations(3))
    optimizer = POGO(model, partial(torch.optim.SGD, lr=0.1))
    before = copy.deepcopy(model)
    for _ in range(10):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    assert worst(model) < 1e-6
    assert not any(map(torch.equal, model.parameters(), before.parameters()))


def test_state_dict_round_trip_is_exact() -> None:
    model = network()
    optimizer = POGO(model, adam)
    train(model, optimizer, 5)
    stored = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, stored)
    stored.seek(0)
    loaded = torch.load(stored, weights_only=True)
    again = network(seed=1)
    again.load_state_dict(loaded["model"])
    resumed = POGO(again, adam)
    resumed.load_state_dict(loaded["optimizer"])
    assert resumed.param_groups is resumed.base.param_groups
    assert resumed.state is resumed.base.state
    train(model, optimizer, 5)
    train(again, resumed, 5)
    assert same(model, again)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_a_copy_goes_on_by_itself(copied: Callable[[Any], Any]) -> None:
    model = network()
    optimizer = POGO(model, adam)
    train(model, optimizer, 3)
    other, other_optimizer = copied((model, optimizer))
    constrain_(nn.Linear(2, 2), "weight", Stiefel)  # of another module, which changes nothing here
    assert same(model, other)
    train(other, other_optimizer, 3)
    assert not same(model, other)
    train(model, optimizer, 3)
    assert same(model, other)


def test_schedulers_reach_the_base() -> None:
    model = network()
    optimizer = POGO(model, adam)
    schedule = StepLR(optimizer, step_size=2, gamma=0.1)
    for _ in range(4):
        train(model, optimizer, 1)
        schedule.step()
    rates = [group["lr"] for group in optimizer.base.param_groups]
    assert rates == pytest.approx([0.0002, 0.0002])
    optimizer.param_groups[0]["lr"] = 0.0
    frozen = model[0].weight.detach().clone()
    train(model, optimizer, 1)
    torch.testing.assert_close(model[0].weight.detach(), frozen, rtol=0, atol=1e-15)


def test_without_gradient_nothing_moves() -> None:
    model = network()
    optimizer = POGO(model, adam)
    model[2].weight.requires_grad_(False)
    before = model[2].weight.detach().clone()
    train(model, optimizer, 2)
    assert torch.equal(model[2].weight, before)
    assert model[2].weight not in optimizer.state
    optimizer.zero_grad()
    unchanged = copy.deepcopy(model)
    optimizer.step()
    assert same(model, unchanged)


def test_closure_gives_the_loss_and_is_called_once() -> None:
    model = network()
    optimizer = POGO(model, adam)
    calls: list[float] = []

    def closure() -> float:
        optimizer.zero_grad()
        found = loss(model)
        found.backward()
        calls.append(found.item())
        return found.item()

    assert optimizer.step(closure) == calls[0]
    assert len(calls) == 1
    assert value(model) < calls[0]


def test_decoupled_decay_leaves_orthogonal_weights_alone() -> None:
    model, decayed = network(), network()
    train(model, POGO(model, partial(torch.optim.AdamW, lr=0.02, weight_decay=0.0)), 1)
    train(decayed, POGO(decayed, partial(torch.optim.AdamW, lr=0.02, weight_decay=0.5)), 1)
    torch.testing.assert_close(model[0].weight, decayed[0].weight, rtol=0, atol=1e-12)
    assert not torch.allclose(model[0].bias, decayed[0].bias, rtol=0, atol=1e-4)


def test_more_parameters_join_the_base() -> None:
    model = network()
    optimizer = POGO(model, adam)
    more = nn.Parameter(torch.zeros(3, **DOUBLE))
    optimizer.add_param_group({"params": [more], "lr": 0.5})
    more.grad = torch.ones(3, **DOUBLE)
    optimizer.step()
    torch.testing.assert_close(more.detach(), torch.full((3,), -0.5, **DOUBLE))


def test_a_module_without_free_parameters_has_one_group() -> None:
    layer = constrain_(nn.Linear(3, 3, bias=False), "weight", Stiefel)
    assert len(POGO(layer, adam).param_groups) == 1


def test_errors_say_what_to_do() -> None:
    with pytest.raises(InputError, match=r"no parameter on a manifold.*constrain_"):
        POGO(nn.Linear(3, 3), adam)
    on_sphere = constrain_(nn.Linear(3, 3), "weight", Sphere)
    with pytest.raises(InputError, match=r"weight is on Sphere.*RiemannianAdam"):
        POGO(on_sphere, adam)
    model = network()
    no_optimizer: Any = list
    with pytest.raises(InputError, match="LBFGS"):
        POGO(model, lambda params: torch.optim.LBFGS([p for g in params for p in g["params"]]))
    with pytest.raises(InputError, match="the base made a list"):
        POGO(model, no_optimizer)
    optimizer = POGO(model, adam)
    constrain_(model, "0.bias", Sphere)
    train_once = partial(train, model, optimizer, 1)
    with pytest.raises(InputError, match=r"0\.bias was put on Sphere.*after the optimiser"):
        train_once()


def test_a_sparse_gradient_is_refused() -> None:
    table = constrain_(nn.Embedding(6, 3, sparse=True), "weight", Stiefel)
    optimizer = POGO(table, partial(torch.optim.SGD, lr=0.1))
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(InputError, match="sparse=False"):
        optimizer.step()
