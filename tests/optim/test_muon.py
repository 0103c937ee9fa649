"""Manifold Muon: the direction against convex references, and the manners of an optimiser."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LinearLR

from immersion.core.errors import InputError
from immersion.known.constraints import constrain_, constraints
from immersion.known.orthonormal.stiefel import Stiefel
from immersion.known.sphere import Sphere
from immersion.optim.muon import ManifoldMuon, spectral_direction
from immersion.optim.orthogonal.matrix_sign import matrix_sign, sign_polynomials

DOUBLE = {"dtype": torch.float64}
SIZES = [(6, 3), (5, 4), (4, 4), (5, 5), (9, 2), (3, 1), (2, 2), (40, 20), (64, 16)]


def nuclear(a: Tensor) -> Tensor:
    return torch.linalg.svdvals(a).sum(-1)


def symmetric(a: Tensor) -> Tensor:
    return (a + a.mT) / 2


def dual_bound(x: Tensor, g: Tensor) -> float:
    """A lower bound of <g, A> over admissible A, by weak duality alone.

    For any symmetric L and tangent A, <x L, A> = 0; so <g, A> = <g + x L, A>, which for |A| <= 1 is
    at least minus the nuclear norm. Here that norm is brought down by reweighted least squares.
    """
    inside = x.mT @ g
    skew = (inside - inside.mT) / 2
    m = g - x @ symmetric(inside)
    best = nuclear(m)
    for _ in range(3000):
        values, vectors = torch.linalg.eigh(m.mT @ m)
        q = (values.clamp_min(0) + 1e-18 * values[-1]).rsqrt()
        change = -(vectors.mT @ skew @ vectors) * (q - q[:, None]) / (q + q[:, None])
        m = g + x @ (vectors @ change @ vectors.mT - symmetric(inside))
        best = torch.minimum(best, nuclear(m))
    return -float(best)


def problem(n: int, p: int, kind: str = "normal", seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed + 100 * n + p)
    x = torch.linalg.qr(torch.randn(n, p, generator=generator, **DOUBLE))[0]
    g = torch.randn(n, p, generator=generator, **DOUBLE)
    if kind == "low rank":
        left = torch.randn(n, 2, generator=generator, **DOUBLE)
        g = left @ torch.randn(2, p, generator=generator, **DOUBLE) + 1e-3 * g
    if kind == "graded":
        g = g * torch.logspace(0, -4, p, **DOUBLE)
    return x, g


@pytest.mark.parametrize(("n", "p"), SIZES[:6])
def test_the_direction_reaches_a_bound_from_duality(n: int, p: int) -> None:
    x, g = problem(n, p)
    a = spectral_direction(x, g, 25)
    assert float(torch.linalg.matrix_norm(a, 2)) < 1 + 1e-9
    assert float(symmetric(x.mT @ a).abs().max()) < 1e-12
    reached = float((g * a).sum())
    bound = dual_bound(x, g)
    assert bound - 1e-9 <= reached <= bound + 2e-5 * abs(bound)


def test_no_admissible_step_is_better() -> None:
    x, g = problem(5, 3)
    stiefel = Stiefel(5, 3)
    best = float((g * spectral_direction(x, g, 25)).sum())
    step = stiefel.random_tangent(x.expand(50, 5, 3), torch.Generator().manual_seed(0))
    for round_ in range(400):  # projected gradient: downhill, then into both convex sets in turn
        step = step - 0.3 / (1 + round_ / 20) * g
        for _ in range(5):
            left, values, right = torch.linalg.svd(step, full_matrices=False)
            step = stiefel.to_tangent(x, (left * values.clamp_max(1)[:, None]) @ right)
    step = step / torch.linalg.matrix_norm(step, 2)[:, None, None].clamp_min(1)
    reached = (g * step).sum((-2, -1))
    assert float(reached.min()) > best - 1e-9
    assert float(reached.max()) < 0.98 * best


@pytest.mark.parametrize("kind", ["normal", "low rank", "graded"])
@pytest.mark.parametrize(("n", "p"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_five_polynomials_come_within_a_percent(
    n: int, p: int, kind: str, dtype: torch.dtype
) -> None:
    x, g = problem(n, p, kind)
    skew = (g @ x.mT - x @ g.mT) / 2
    a = spectral_direction(x.to(dtype), g.to(dtype)).double()
    assert float(torch.linalg.matrix_norm(a, 2)) < 1 + 3e-5
    assert float(symmetric(x.mT @ a).abs().max()) < (1e-5 if dtype == torch.float32 else 1e-12)
    assert float((g * a).sum()) < -0.99 * float(nuclear(skew))


def test_the_direction_of_a_square_matrix_is_the_sign_of_the_skew_part() -> None:
    x, g = problem(6, 6)
    inside = x.mT @ g
    left, _, right = torch.linalg.svd((inside - inside.mT) / 2)
    torch.testing.assert_close(spectral_direction(x, g, 25), -x @ left @ right, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("n", "p"), SIZES)
def test_nothing_to_gain_is_no_step(n: int, p: int) -> None:
    x, _ = problem(n, p)
    assert torch.equal(spectral_direction(x, torch.zeros_like(x)), torch.zeros_like(x))
    one = spectral_direction(torch.eye(1), torch.ones(1, 1))
    assert torch.equal(one, torch.zeros(1, 1))


def test_batches_are_loops_and_scale_does_not_matter() -> None:
    pairs = [problem(7, 3, seed=seed) for seed in range(4)]
    x, g = torch.stack([x for x, _ in pairs]), torch.stack([g for _, g in pairs])
    together = spectral_direction(x, g)
    for row, (one, gradient) in zip(together, pairs, strict=True):
        torch.testing.assert_close(row, spectral_direction(one, gradient), rtol=0, atol=1e-13)
    for scale in (1e-30, 1e30):
        scaled = spectral_direction(x.float(), (g * scale).float())
        torch.testing.assert_close(scaled.double(), together, rtol=0, atol=1e-4)
    assert spectral_direction(x[:0], g[:0]).shape == (0, 7, 3)


def test_the_polynomials_are_the_best_on_their_intervals() -> None:
    low, high = 0.01, 1.0
    for count in range(1, 4):
        a, b, c = sign_polynomials(count)[-1]
        t = np.linspace(low, high, 200_001)
        error = 1 - (a * t + b * t**3 + c * t**5)
        largest = float(abs(error).max())
        turns = np.flatnonzero(abs(error) > largest * (1 - 1e-9))
        signs = np.sign(error[turns])
        assert (np.diff(signs) != 0).sum() == 3  # four extrema of one size, alternating
        low, high = 1 - largest, 1 + largest


@pytest.mark.parametrize(("iterations", "error"), [(3, 0.29), (4, 0.02), (5, 2.3e-5), (9, 1e-12)])
def test_matrix_sign_brings_singular_values_to_one(iterations: int, error: float) -> None:
    left, _ = problem(30, 12)
    right = torch.linalg.qr(torch.randn(12, 12, **DOUBLE))[0]
    a = left @ torch.diag(torch.logspace(-1.7, 0, 12, **DOUBLE)) @ right
    for matrix, polar in ((a, left @ right), (a.mT, (left @ right).mT)):
        found = matrix_sign(matrix, iterations)
        assert float(torch.linalg.matrix_norm(found - polar, 2)) < error


def test_matrix_sign_is_safe_in_bfloat16() -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        a = torch.randn(40, 24, dtype=torch.bfloat16)
        values = torch.linalg.svdvals(matrix_sign(a, 8).float())
        assert float(values.max()) < 1.03 and float(values.min()) > 0.9


def test_polynomials_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1 iteration"):
        sign_polynomials(0)
    with pytest.raises(InputError, match="lowest"):
        sign_polynomials(3, 1.5)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(5, 8, **DOUBLE), nn.Tanh(), nn.Linear(8, 4, **DOUBLE), nn.Linear(4, 4, **DOUBLE)
    )
    for name in ("0.weight", "2.weight"):
        constrain_(model, name, Stiefel)
    return model


def loss(model: nn.Module) -> Tensor:
    x = torch.randn(32, 5, generator=torch.Generator().manual_seed(7), **DOUBLE)
    return (model(x) - torch.sin(x[:, :4])).square().mean()


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


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


muon = partial(ManifoldMuon, lr=0.05, adamw_lr=0.02)


def test_trains_and_stays_orthogonal() -> None:
    model = network()
    optimizer = muon(model)
    schedule = LinearLR(optimizer, 1.0, 0.0, total_iters=100)
    before = loss(model).item()
    for _ in range(100):
        train(model, optimizer, 1)
        schedule.step()
    assert loss(model).item() < 0.5 * before
    assert worst(model) < 1e-12
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0]


def test_finds_the_principal_subspace() -> None:
    torch.manual_seed(0)
    layer = constrain_(nn.Linear(12, 3, bias=False, **DOUBLE), "weight", Stiefel)
    spread = torch.diag(torch.arange(12.0, **DOUBLE))
    optimizer = ManifoldMuon(layer, lr=0.1)
    schedule = LinearLR(optimizer, 1.0, 0.0, total_iters=300)
    for _ in range(300):
        optimizer.zero_grad()
        (-(layer.weight @ spread @ layer.weight.mT).trace()).backward()
        optimizer.step()
        schedule.step()
    found = (layer.weight @ spread @ layer.weight.mT).trace().item()
    assert 30 - found < 1e-4


def test_a_step_turns_by_at_most_its_rate() -> None:
    model = network()
    before = copy.deepcopy(model)
    train(model, muon(model), 1)
    for name in ("0.weight", "2.weight"):
        moved = model.get_parameter(name) - before.get_parameter(name)
        assert 0.04 < float(torch.linalg.matrix_norm(moved.detach(), 2)) < 0.0501


def test_free_parameters_are_stepped_by_adamw() -> None:
    model, plain = network(), network()
    optimizer = muon(model, weight_decay=0.1)
    held = constraints(model)
    free = [p for name, p in plain.named_parameters() if name not in held]
    adamw = torch.optim.AdamW(free, lr=0.02, weight_decay=0.1)
    for _ in range(3):
        for one, other in zip(model.parameters(), plain.parameters(), strict=True):
            one.grad = torch.ones_like(one)
            other.grad = torch.ones_like(other)
        optimizer.step()
        adamw.step()
    for (name, one), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other) == (name not in held)


def test_momentum_is_that_of_muon() -> None:
    layer = constrain_(nn.Linear(4, 6, bias=False, **DOUBLE), "weight", Stiefel)
    gradients = [torch.randn(6, 4, **DOUBLE) for _ in range(3)]
    for nesterov in (True, False):
        one = copy.deepcopy(layer)
        optimizer = ManifoldMuon(one, 0.05, momentum=0.8, nesterov=nesterov)
        x, average = one.weight.detach().clone(), torch.zeros(6, 4, **DOUBLE)
        for g in gradients:
            one.weight.grad = g
            optimizer.step()
            tangent = g - x @ symmetric(x.mT @ g)
            average = 0.8 * average + 0.2 * tangent
            ahead = 0.2 * tangent + 0.8 * average if nesterov else average
            left, _, right = torch.linalg.svd(
                x + 0.05 * spectral_direction(x, ahead), full_matrices=False
            )
            x = left @ right
        torch.testing.assert_close(one.weight.detach(), x, rtol=0, atol=1e-10)


def test_stacked_is_one_at_a_time() -> None:
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(4, 6, bias=False, **DOUBLE) for _ in range(3))
    for layer in layers:
        constrain_(layer, "weight", Stiefel)
    alone = copy.deepcopy(layers)
    together = ManifoldMuon(layers)
    separate = [ManifoldMuon(layer) for layer in alone]
    for _ in range(5):
        for one, other in zip(layers.parameters(), alone.parameters(), strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        together.step()
        for optimizer in separate:
            optimizer.step()
    for one, other in zip(layers.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_nan_in_a_gradient_reaches_its_own_matrix_only() -> None:
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(4, 6, bias=False, **DOUBLE) for _ in range(3))
    for layer in layers:
        constrain_(layer, "weight", Stiefel)
        layer.weight.grad = torch.randn(6, 4, **DOUBLE)
    layers[1].weight.grad[2, 3] = torch.nan
    ManifoldMuon(layers).step()
    assert bool(layers[1].weight.isnan().any())
    for kept in (layers[0], layers[2]):
        assert float(Stiefel(6, 4).violation(kept.weight.detach())) < 1e-6


def test_feasible_after_ten_thousand_float32_steps() -> None:
    torch.manual_seed(0)
    layer = constrain_(nn.Linear(8, 4, bias=False), "weight", Stiefel)
    optimizer = ManifoldMuon(layer)
    generator = torch.Generator().manual_seed(1)
    seen = 0.0
    for step in range(10_000):
        layer.weight.grad = torch.randn(4, 8, generator=generator)
        optimizer.step()
        if step % 50 == 0 or step >= 9_900:
            seen = max(seen, worst(layer))
    assert seen < 1e-6


def test_state_dict_round_trip_is_exact() -> None:
    model = network()
    optimizer = muon(model)
    train(model, optimizer, 5)
    stored = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, stored)
    stored.seek(0)
    loaded = torch.load(stored, weights_only=True)
    again = network(seed=1)
    again.load_state_dict(loaded["model"])
    resumed = ManifoldMuon(again)
    resumed.load_state_dict(loaded["optimizer"])
    train(model, optimizer, 5)
    train(again, resumed, 5)
    assert same(model, again)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_a_copy_goes_on_by_itself(copied: Callable[[Any], Any]) -> None:
    model = network()
    optimizer = muon(model)
    train(model, optimizer, 3)
    other, other_optimizer = copied((model, optimizer))
    constrain_(nn.Linear(2, 2), "weight", Stiefel)  # of another module, which changes nothing here
    train(other, other_optimizer, 3)
    assert not same(model, other)
    train(model, optimizer, 3)
    assert same(model, other)


def test_without_gradient_nothing_moves() -> None:
    model = network()
    optimizer = muon(model)
    model[2].weight.requires_grad_(False)
    before = model[2].weight.detach().clone()
    train(model, optimizer, 2)
    assert torch.equal(model[2].weight, before)
    assert model[2].weight not in optimizer.state
    optimizer.zero_grad()
    unchanged = copy.deepcopy(model)
    optimizer.step()
    assert same(model, unchanged)


def test_closure_and_a_rate_in_a_tensor() -> None:
    model = network()
    optimizer = ManifoldMuon(model, torch.tensor(0.05), adamw_lr=0.02)
    reference = network()

    def closure() -> float:
        optimizer.zero_grad()
        found = loss(model)
        found.backward()
        return found.item()

    assert optimizer.step(closure) == loss(reference).item()
    train(reference, muon(reference), 1)
    torch.testing.assert_close(model[0].weight, reference[0].weight, rtol=0, atol=1e-8)


def test_more_parameters_join_adamw() -> None:
    model = network()
    optimizer = muon(model)
    more = nn.Parameter(torch.zeros(3, **DOUBLE))
    optimizer.add_param_group({"params": [more], "lr": 0.5, "weight_decay": 0.0})
    more.grad = torch.ones(3, **DOUBLE)
    optimizer.step()
    torch.testing.assert_close(more.detach(), torch.full((3,), -0.5, **DOUBLE))


def test_a_module_without_free_parameters_is_stepped() -> None:
    layer = constrain_(nn.Linear(3, 3, bias=False), "weight", Stiefel)
    optimizer = ManifoldMuon(layer)
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 3)).square().sum().backward()
    (layer.weight.sum() - 2 * layer.weight[0, 1]).backward()
    optimizer.step()
    assert not torch.equal(layer.weight, before)


def test_errors_say_what_to_do() -> None:
    with pytest.raises(InputError, match=r"no parameter on a manifold.*constrain_"):
        ManifoldMuon(nn.Linear(3, 3))
    with pytest.raises(InputError, match=r"weight is on Sphere.*RiemannianAdam"):
        ManifoldMuon(constrain_(nn.Linear(3, 3), "weight", Sphere))
    model = network()
    with pytest.raises(InputError, match="lr is -1"):
        ManifoldMuon(model, lr=-1.0)
    with pytest.raises(InputError, match="momentum is 1"):
        ManifoldMuon(model, momentum=1.0)
    with pytest.raises(InputError, match="iterations is 0"):
        ManifoldMuon(model, iterations=0)
