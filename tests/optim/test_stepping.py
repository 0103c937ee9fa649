"""What both Riemannian optimisers owe to whoever knows torch's: state, groups, gradients, hooks."""

from __future__ import annotations

import copy
import math
import pickle
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from immersion.core.errors import InputError
from immersion.core.metric import Manifold
from immersion.known.constraints import constrain_, constraints
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.oblique import Oblique
from immersion.known.sphere import Sphere
from immersion.optim.adam import RiemannianAdam
from immersion.optim.sgd import RiemannianSGD
from immersion.optim.stepping import buckets
from optim.models import Points, apart, give_gradients, mixed, twins, values
from optim.positive import Positive

KINDS: dict[str, Callable[..., Any]] = {
    "adam": lambda model, **named: RiemannianAdam(model, **{"lr": 0.05, **named}),
    "amsgrad": lambda model, **named: RiemannianAdam(
        model, **{"lr": 0.05, "amsgrad": True, **named}
    ),
    "sgd": lambda model, **named: RiemannianSGD(model, **{"lr": 0.05, **named}),
    "momentum": lambda model, **named: RiemannianSGD(
        model, **{"lr": 0.05, "momentum": 0.9, "dampening": 0.2, **named}
    ),
}
every = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def run(model: nn.Module, optimizer: Any, seeds: range) -> None:
    for seed in seeds:
        give_gradients(model, seed=seed)
        optimizer.step()


@every
def test_one_at_a_time_is_the_same_as_together(make: Callable[..., Any]) -> None:
    one, other = twins(mixed())
    run(one, make(one), range(5))
    run(other, make(other, foreach=False), range(5))
    assert apart(one, other) < 1e-13


@every
def test_blocks_are_the_same_as_all_at_once(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = twins(mixed())
    for model in (one, other):
        # A view that is not contiguous, as of a transposed weight.
        table = Positive(3).random(7, dtype=torch.float64, generator=torch.Generator())
        model.points.append(nn.Parameter(table.T.contiguous().T))
        constrain_(model.points, str(len(model.points) - 1), Positive(3))
    run(one, make(one), range(4))
    monkeypatch.setattr(buckets, "BLOCK", 8)
    optimizer = make(other)
    run(other, optimizer, range(4))
    assert apart(one, other) < 1e-13
    assert not other.points[-1].is_contiguous()


@every
@pytest.mark.parametrize("foreach", [None, False])
def test_parameters_without_a_gradient_are_left_alone(
    make: Callable[..., Any], foreach: bool | None
) -> None:
    """Each parameter moves as it would with an optimiser that knows its own steps only."""
    model, other = twins(mixed())
    optimizer = make(model, foreach=foreach)
    alone = [make([parameter], module=other, foreach=False) for parameter in other.parameters()]
    generator = torch.Generator().manual_seed(5)
    for seed in range(8):
        give_gradients(model, other, seed=seed)
        for mine, its in zip(model.parameters(), other.parameters(), strict=True):
            if torch.rand((), generator=generator) < 0.4:
                mine.grad = its.grad = None
        optimizer.step()
        for one in alone:
            one.step()
        assert apart(model, other) < 1e-13
    for mine, its, one in zip(model.parameters(), other.parameters(), alone, strict=True):
        for name, value in one.state.get(its, {}).items():
            torch.testing.assert_close(optimizer.state[mine][name], value)


@every
def test_frozen_parameters_have_no_state_and_may_thaw(make: Callable[..., Any]) -> None:
    model, other = twins(mixed())
    frozen = model.points[0].requires_grad_(False)
    before = frozen.clone()
    optimizer = make(model)
    for seed in range(3):
        give_gradients(model, other, seed=seed)
        frozen.grad = None
        optimizer.step()
    assert torch.equal(frozen, before) and frozen not in optimizer.state
    frozen.requires_grad_()
    run(model, optimizer, range(3, 5))
    assert not torch.equal(frozen.detach(), before)


@every
def test_gradients_are_not_changed(make: Callable[..., Any]) -> None:
    model = mixed()
    optimizer = make(model, weight_decay=0.1)
    give_gradients(model, seed=0)
    gradients = [parameter.grad for parameter in model.parameters()]
    copies = [gradient.clone() for gradient in gradients if gradient is not None]
    optimizer.step()
    for parameter, gradient, saved in zip(model.parameters(), gradients, copies, strict=True):
        assert parameter.grad is gradient and torch.equal(saved, gradient)


@every
def test_nan_stays_with_its_own_point(make: Callable[..., Any]) -> None:
    model, other = twins(mixed())
    optimizer, healthy = make(model), make(other)
    give_gradients(model, other, seed=0)
    batch = model.points[3]
    assert batch.grad is not None
    batch.grad[1, 2] = torch.nan
    optimizer.step()
    healthy.step()
    assert batch[1].detach().isnan().all()
    with torch.no_grad():
        batch[1] = other.points[3][1]
    assert apart(model, other) < 1e-13


@every
def test_state_is_that_of_torch_in_format(make: Callable[..., Any], tmp_path: Path) -> None:
    model = mixed(torch.float32)
    optimizer = make(model)
    run(model, optimizer, range(2))
    saved = optimizer.state_dict()
    torch.save(saved, tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    assert loaded["state"].keys() == saved["state"].keys()
    assert loaded["param_groups"] == saved["param_groups"]
    for index, parameter in enumerate(model.parameters()):
        for name, value in saved["state"].get(index, {}).items():
            assert torch.equal(loaded["state"][index][name], value)
            if name in ("exp_avg", "momentum_buffer"):
                assert value.shape == parameter.shape and value.dtype == torch.float32


@every
def test_training_goes_on_from_loaded_state(make: Callable[..., Any], tmp_path: Path) -> None:
    model, other = twins(mixed())
    optimizer = make(model)
    run(model, optimizer, range(3))
    torch.save({"model": model.state_dict(), "optim": optimizer.state_dict()}, tmp_path / "c.pt")
    run(model, optimizer, range(3, 6))
    loaded = torch.load(tmp_path / "c.pt", weights_only=True)
    other.load_state_dict(loaded["model"])
    again = make(other, foreach=False)
    again.load_state_dict(loaded["optim"])
    again.param_groups[0]["foreach"] = None
    run(other, again, range(3, 6))
    assert apart(model, other) < 1e-13
    # State of points that is loaded is copied: the two optimisers do not share it.
    again.load_state_dict(optimizer.state_dict())
    before = copy.deepcopy(optimizer.state_dict()["state"])
    run(other, again, range(1))
    for index in before.keys() & range(len(model.points)):
        held = optimizer.state_dict()["state"][index]
        torch.testing.assert_close(held, before[index], rtol=0, atol=0)


@every
def test_copies_and_pickles_go_on_by_themselves(make: Callable[..., Any]) -> None:
    model = mixed()
    optimizer = make(model)
    run(model, optimizer, range(2))
    copied, its_optimizer = copy.deepcopy((model, optimizer))
    pickled, its_pickled = pickle.loads(pickle.dumps((model, optimizer)))
    before = values(model)
    run(copied, its_optimizer, range(2, 4))
    run(pickled, its_pickled, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(values(model), before, strict=True))
    run(model, optimizer, range(2, 4))
    assert apart(model, copied) < 1e-13 and apart(model, pickled) < 1e-13


@every
def test_state_that_the_user_changes_is_what_counts(make: Callable[..., Any]) -> None:
    model, other = twins(mixed())
    optimizer, plain = make(model), make(other)
    run(model, optimizer, range(2))
    run(other, plain, range(2))
    for mine, its in zip(model.parameters(), other.parameters(), strict=True):
        for name, value in optimizer.state.get(mine, {}).items():
            optimizer.state[mine][name] = value / 2  # replaced
            plain.state[its][name].div_(2)  # changed in place
    run(model, optimizer, range(2, 4))
    run(other, plain, range(2, 4))
    assert apart(model, other) == 0
    optimizer.state = defaultdict(dict)
    run(model, optimizer, range(4, 6))
    run(other, make(other), range(4, 6))
    assert apart(model, other) == 0
    optimizer.state.clear()
    run(model, optimizer, range(6, 8))
    run(other, make(other), range(6, 8))
    assert apart(model, other) == 0


@every
def test_groups_have_options_of_their_own(make: Callable[..., Any]) -> None:
    model, other = twins(mixed())
    groups = [
        {"params": [*model.points[:3], model.plain[0]], "lr": 0.2},
        {"params": model.points[3:], "foreach": False},
    ]
    optimizer = make(groups, module=model)
    optimizer.add_param_group({"params": model.plain[1], "lr": 0.0})
    apart_ = [
        make([*other.points[:3], other.plain[0]], module=other, lr=0.2),
        make(other.points[3:], module=other),
    ]
    for seed in range(4):
        give_gradients(model, other, seed=seed)
        optimizer.step()
        for one in apart_:
            one.step()
    assert apart(model, other) < 1e-13


@every
def test_named_parameters_are_taken_as_torch_takes_them(make: Callable[..., Any]) -> None:
    model, other = twins(mixed())
    optimizer = make(model.named_parameters(), module=model)
    assert optimizer.param_groups[0]["param_names"][0] == "points.0"
    run(model, optimizer, range(2))
    run(other, make(other), range(2))
    assert apart(model, other) == 0


@every
def test_a_part_of_a_model_is_stepped_alone(make: Callable[..., Any]) -> None:
    model, other = twins(mixed())
    run(model, make(model.points), range(2))
    run(other, make(other.points, module=other), range(2))
    assert apart(model, other) == 0 and torch.equal(model.plain[0], mixed().plain[0])


@every
def test_a_wrapped_model_is_its_model(make: Callable[..., Any]) -> None:
    model = constrain_(nn.Linear(4, 3), "weight", Sphere)
    other = copy.deepcopy(model)
    run(model, make(nn.DataParallel(model)), range(2))
    run(other, make(other.parameters(), module=torch.compile(other, backend="eager")), range(2))
    assert apart(model, other) == 0
    torch.testing.assert_close(model.weight.detach().norm(dim=-1), torch.ones(3))


@every
def test_parameters_must_be_those_of_the_model(make: Callable[..., Any]) -> None:
    model, other = twins(mixed())
    with pytest.raises(InputError, match=r"parameters alone.*module=model"):
        make(model.parameters())
    with pytest.raises(InputError, match=r"parameter 0 of shape \(5,\) does not belong.*Points"):
        make(other.parameters(), module=model)
    optimizer = make(model.points, module=model)
    with pytest.raises(InputError, match="parameter 1 of shape"):
        optimizer.add_param_group({"params": [model.plain[0], nn.Parameter(torch.ones(2))]})
    with pytest.raises(InputError, match="lr is a number"):
        optimizer.add_param_group({"params": [model.plain[0]], "lr": -1})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": [model.plain[0]]})
    run(model, optimizer, range(1))


@every
def test_a_constraint_after_the_optimiser_is_not_lost_in_silence(make: Callable[..., Any]) -> None:
    model = mixed()
    optimizer = make(model.points, module=model)
    run(model, optimizer, range(1))
    constrain_(nn.Linear(3, 3), "weight", Sphere)
    constrain_(model.plain, "0", Sphere)
    run(model, optimizer, range(1))
    optimizer.add_param_group({"params": model.plain})
    optimizer = make(model)
    run(model, optimizer, range(1))
    constrain_(model.plain, "1", Sphere(4))
    with pytest.raises(InputError, match=r"plain.1 was put on Sphere.*after the optimiser"):
        run(model, optimizer, range(1))


@every
def test_a_closure_is_evaluated_with_gradients(make: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    model = constrain_(nn.Linear(4, 1), "weight", Sphere)
    with torch.no_grad():
        model.bias.fill_(3.0)
    optimizer = make(model)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model(torch.ones(2, 4)).square().mean()
        loss.backward()
        return loss

    with torch.no_grad():
        losses = [optimizer.step(closure).item() for _ in range(5)]
    assert losses[-1] < losses[0]
    assert optimizer.param_groups[0]["params"][0].grad is not None


@every
def test_hooks_schedules_and_clipping(make: Callable[..., Any]) -> None:
    model, other = twins(mixed())
    called: list[str] = []
    optimizer = make(model)
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    plain = make(other)
    for seed in range(3):
        give_gradients(model, other, seed=seed)
        for one in (model, other):
            nn.utils.clip_grad_norm_(one.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        plain.param_groups[0]["lr"] = 0.05 * 0.5**seed
        plain.step()
    assert called == ["before", "after"] * 3
    assert apart(model, other) < 1e-13
    optimizer.zero_grad(set_to_none=False)
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


@every
@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_tensor_as_learning_rate(make: Callable[..., Any], shape: tuple[int, ...]) -> None:
    for dtype, size in ((torch.float32, 1e-6), (torch.float64, 1e-13)):
        model, other = twins(mixed(dtype))
        rate = torch.full(shape, 0.1, dtype=torch.float64)
        optimizer = make(model, lr=rate)
        plain = make(other, lr=0.1)
        run(model, optimizer, range(2))
        run(other, plain, range(2))
        rate.fill_(0.02)
        plain.param_groups[0]["lr"] = 0.02
        run(model, optimizer, range(2, 4))
        run(other, plain, range(2, 4))
        assert apart(model, other) < size
        assert model.points[0].dtype == dtype


@every
def test_scaled_gradients_are_unscaled_and_skipped_when_infinite(make: Callable[..., Any]) -> None:
    model, other = twins(mixed(torch.float32))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer, plain = make(model), make(other)
    for seed in range(2):
        loss = sum((parameter * (seed + 1)).cos().sum() for parameter in model.parameters())
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        plain.zero_grad()
        sum((parameter * (seed + 1)).cos().sum() for parameter in other.parameters()).backward()
        plain.step()
    assert apart(model, other) < 1e-6
    before = values(model)
    give_gradients(model, seed=9)
    scaler.scale(torch.zeros(()))
    assert model.points[0].grad is not None
    model.points[0].grad[0] = torch.inf
    scaler.step(optimizer)
    assert all(torch.equal(a, b) for a, b in zip(values(model), before, strict=True))


@every
def test_accumulated_and_expanded_gradients(make: Callable[..., Any]) -> None:
    model, other = twins(Points([(Sphere(4), (3,)), (Sphere(4), (3,)), (Oblique(5, 5), ())]))
    for one in (model, other):
        one.points[0].grad = torch.ones(1, dtype=torch.float64).expand(3, 5)
        one.points[1].grad = torch.arange(15, dtype=torch.float64).view(5, 3).T
        one.points[2].grad = torch.arange(25, dtype=torch.float64).view(5, 5).T
    for parameter in other.parameters():
        assert parameter.grad is not None
        parameter.grad = parameter.grad.contiguous()
    make(model).step()
    make(other).step()
    assert apart(model, other) == 0


class Unhashable(Positive):
    """As a dataclass that is not frozen would be."""

    __hash__: Any = None


@every
def test_a_manifold_need_not_be_hashable(make: Callable[..., Any]) -> None:
    model = Points([(Unhashable(3), (2,)), (Unhashable(3), ()), (Sphere(2), ())])
    other = Points([(Positive(3), (2,)), (Positive(3), ()), (Sphere(2), ())])
    run(model, make(model), range(3))
    run(other, make(other), range(3))
    assert apart(model, other) < 1e-13


class Curved(nn.Module):
    """Points of a ball whose curvature is learnt with them."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.sharpness = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.points = nn.Parameter(torch.randn(6, 3, generator=generator, dtype=torch.float64))
        constrain_(self, "points", ball_of)


def ball_of(owner: Any) -> Manifold:
    return PoincareBall(3, -owner.sharpness.exp())


@every
def test_a_curvature_is_learnt_with_the_points(make: Callable[..., Any]) -> None:
    """A step is on the ball of the forward pass; then points come into the ball of the next."""
    model = Curved()
    first = constraints(model)["points"]
    fixed = Points([(PoincareBall(3, -math.e), (6,))])
    fixed.points[0].data.copy_(model.points.detach())
    optimizer = make(model)
    for seed in range(20):
        give_gradients(model, seed=seed)
        model.sharpness.grad = -torch.ones_like(model.sharpness)  # the ball shrinks
        if seed == 0:
            fixed.points[0].grad = model.points.grad
            make(fixed).step()
        optimizer.step()
        now = constraints(model)["points"]
        assert float(now.violation(model.points).detach().max()) == 0
        if seed == 0:
            expected = now.proj(fixed.points[0].detach())
            torch.testing.assert_close(model.points.detach(), expected)
    assert now != first and float(model.sharpness.detach()) > 1.9


@pytest.mark.parametrize("make", [KINDS["adam"], KINDS["momentum"]], ids=["adam", "momentum"])
def test_steps_compile(make: Callable[..., Any]) -> None:
    model, other = twins(mixed())
    optimizer, plain = make(model), make(other)
    run(model, optimizer, range(1))
    run(other, plain, range(1))
    torch._dynamo.reset()
    step = torch.compile(optimizer.step, backend="aot_eager")
    for seed in range(1, 4):
        give_gradients(model, other, seed=seed)
        step()
        plain.step()
    assert apart(model.points, other.points) < 1e-12
    assert apart(model.plain, other.plain) < 1e-5  # torch compiles 1 - b^t in float32
