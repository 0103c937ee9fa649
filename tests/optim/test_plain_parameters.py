"""Constrained parameters are plain: torch's own machinery neither sees nor loses the constraint."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from immersion.core.errors import InputError
from immersion.core.metric import Manifold
from immersion.known.constraints import constrain_, constraints
from immersion.known.sphere import Sphere
from immersion.optim.adam import RiemannianAdam
from immersion.optim.sgd import RiemannianSGD

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(7))
Y = torch.randn(16, 2, generator=torch.Generator().manual_seed(8))


class Net(nn.Module):
    """Unit rows, then a layer of plain weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.last = nn.Linear(6, 2)
        constrain_(self, "first.weight", Sphere)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


MANIFOLDS: dict[str, Manifold] = {"first.weight": Sphere(3)}


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def train(model: nn.Module, optimizer: Any = None, steps: int = 5) -> Any:
    optimizer = optimizer or RiemannianAdam(model, lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X), Y).backward()
        optimizer.step()
    return optimizer


def apart(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def on_sphere(model: nn.Module) -> bool:
    weight = dict(model.named_parameters())["first.weight"]
    return bool((Sphere(3).violation(weight.detach()) < 1e-6).all())


def test_fullgraph_compile_of_forward_and_backward() -> None:
    model, other = net(), net()
    torch._dynamo.reset()
    compiled: Any = torch.compile(model, backend="aot_eager", fullgraph=True)
    train(compiled)
    train(other)
    assert apart(model, other) < 1e-6 and on_sphere(model)


def test_step_compiles_in_one_graph() -> None:
    model, other = net(), net()
    optimizer, plain = train(model, steps=1), train(other, steps=1)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    step = torch.compile(optimizer.step, backend="aot_eager")
    for _ in range(3):
        for one in (model, other):
            one.zero_grad()
            nn.functional.mse_loss(one(X), Y).backward()
        step()
        plain.step()
    assert not torch._dynamo.utils.counters["graph_break"]
    assert apart(model, other) < 1e-5 and on_sphere(model)


def test_vmap_over_models() -> None:
    models = [net(seed) for seed in range(3)]
    parameters, buffers = torch.func.stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        output = torch.func.functional_call(skeleton, (parameters, buffers), (X,))
        return nn.functional.mse_loss(output, Y)

    together = torch.func.vmap(torch.func.grad(loss))(parameters, buffers)
    for index, model in enumerate(models):
        nn.functional.mse_loss(model(X), Y).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(together[name][index], parameter.grad)


def test_a_stack_of_models_is_constrained_and_stepped_as_one() -> None:
    models = [net(seed) for seed in range(3)]
    parameters, _ = torch.func.stack_module_state(models)
    stack = nn.ParameterDict({name.replace(".", "_"): p for name, p in parameters.items()})
    constrain_(stack, "first_weight", Sphere)
    optimizer = RiemannianAdam(stack, lr=0.05)
    singles = [RiemannianAdam(model, lr=0.05) for model in models]
    for _ in range(3):
        for model, single in zip(models, singles, strict=True):
            single.zero_grad()
            nn.functional.mse_loss(model(X), Y).backward()
        for name, p in stack.items():
            grads = [
                dict(model.named_parameters())[name.replace("_", ".")].grad for model in models
            ]
            p.grad = torch.stack([g for g in grads if g is not None])
        optimizer.step()
        for single in singles:
            single.step()
    for name, p in stack.items():
        for row, model in zip(p.detach(), models, strict=True):
            torch.testing.assert_close(row, model.get_parameter(name.replace("_", ".")).detach())


def test_assigned_state_keeps_the_manifold() -> None:
    trained, model = net(), net(1)
    train(trained)
    state = {name: value.clone() for name, value in trained.state_dict().items()}
    model.load_state_dict(state, assign=True)
    assert constraints(model) == MANIFOLDS
    assert model.first.weight.data_ptr() == state["first.weight"].data_ptr()
    assert type(model.first.weight) is nn.Parameter
    train(model, RiemannianSGD(model, lr=0.5))
    assert on_sphere(model)


def test_weights_only_checkpoint_of_model_and_optimiser(tmp_path: Path) -> None:
    model, other = net(), net(1)
    optimizer = train(model)
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "checkpoint.pt")
    weights, state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert list(weights) == ["first.weight", "first.bias", "last.weight", "last.bias"]
    other.load_state_dict(weights)
    again = RiemannianAdam(other, lr=1.0)
    again.load_state_dict(state)
    train(model, optimizer)
    train(other, again)
    assert apart(model, other) == 0 and again.param_groups[0]["lr"] == 0.05


def test_copies_have_a_constraint_of_their_own() -> None:
    model = net()
    copied, pickled = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    train(model)
    for other in (copied, pickled):
        assert constraints(other) == MANIFOLDS
        assert apart(other, net()) == 0
        train(other)
        assert apart(other, model) == 0


def test_a_pickled_module_loads_as_a_whole(tmp_path: Path) -> None:
    torch.save(net(), tmp_path / "module.pt")
    model = torch.load(tmp_path / "module.pt", weights_only=False)
    assert constraints(model) == MANIFOLDS and apart(model, net()) == 0


def test_another_dtype() -> None:
    model = net().to(torch.float64)
    assert constraints(model) == MANIFOLDS
    optimizer = RiemannianAdam(model, lr=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X.double()), Y.double()).backward()
        optimizer.step()
    weight = model.first.weight.detach()
    assert weight.dtype == torch.float64 and float(Sphere(3).violation(weight).max()) < 1e-15
    assert optimizer.state[model.first.weight]["exp_avg"].dtype == torch.float64
    half = net().half()
    half.first.weight.grad = torch.ones_like(half.first.weight)
    with pytest.raises(InputError, match=r"torch\.float16.*\.float\(\)"):
        RiemannianAdam(half).step()


def test_autocast_with_master_weights_in_float32() -> None:
    model = net()
    optimizer = RiemannianAdam(model, lr=0.05)
    before = after = torch.zeros(())
    for step in range(20):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.mse_loss(model(X).float(), Y)
        loss.backward()
        optimizer.step()
        before, after = (loss.detach() if step == 0 else before), loss.detach()
    assert after < before and on_sphere(model) and model.first.weight.dtype == torch.float32


def test_meta_then_empty_then_reset() -> None:
    with torch.device("meta"):
        model = Net()
    assert model.first.weight.is_meta and constraints(model) == MANIFOLDS
    model.to_empty(device="cpu")
    torch.manual_seed(0)
    for layer in (model.first, model.last):
        layer.reset_parameters()
    for name, manifold in constraints(model).items():
        constrain_(model, name, manifold)
    assert on_sphere(model)
    train(model)
    assert on_sphere(model) and model.first.weight.device.type == "cpu"


def test_meta_then_assigned_state() -> None:
    with torch.device("meta"):
        model = Net()
    trained = net()
    train(trained)
    model.load_state_dict(trained.state_dict(), assign=True)
    assert constraints(model) == MANIFOLDS and apart(model, trained) == 0


def test_export_and_functional_transforms_see_a_plain_module() -> None:
    model = net().eval()
    exported: Any = torch.export.export(model, (X,)).module()
    torch.testing.assert_close(exported(X), model(X))
    parameters = dict(model.named_parameters())

    def output(weight: Tensor) -> Tensor:
        named = parameters | {"first.weight": weight}
        return torch.func.functional_call(model, named, (X,)).sum()

    hessian = torch.func.hessian(output)(model.first.weight.detach())
    assert hessian.shape == (6, 4, 6, 4) and bool(hessian.isfinite().all())
