"""Sparse gradients: the rows touched are stepped, as in a table that has no others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from immersion.known.constraints import constrain_
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.sphere import Sphere
from immersion.optim.adam import RiemannianAdam
from immersion.optim.sgd import RiemannianSGD
from immersion.optim.stepping.sparse import Joiner
from optim.models import apart
from optim.positive import Positive

KINDS: dict[str, Callable[..., Any]] = {
    "adam": lambda model, **named: RiemannianAdam(model, **{"lr": 0.05, **named}),
    "amsgrad": lambda model, **named: RiemannianAdam(
        model, **{"lr": 0.05, "amsgrad": True, "maximize": True, **named}
    ),
    "sgd": lambda model, **named: RiemannianSGD(model, **{"lr": 0.05, **named}),
    "momentum": lambda model, **named: RiemannianSGD(
        model, **{"lr": 0.05, "momentum": 0.9, "nesterov": True, **named}
    ),
}
every = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def table(rows: int = 12, *, sparse: bool = True, kind: Any = Sphere, width: int = 5) -> Any:
    torch.manual_seed(0)
    module = nn.Embedding(rows, width, sparse=sparse).double()
    module.weight.data.abs_()
    return constrain_(module, "weight", kind)


def look_up(module: nn.Module, indices: Tensor, seed: int) -> None:
    """Gradients as from a loss that pulls the rows looked up in random directions."""
    generator = torch.Generator().manual_seed(100 + seed)
    module.zero_grad()
    found = module(indices)
    pull = torch.randn(found.shape, generator=generator, dtype=found.dtype)
    (found * pull).sum().backward()


@every
@pytest.mark.parametrize("kind", [Sphere, PoincareBall, Positive])
def test_all_rows_touched_is_the_dense_step(make: Callable[..., Any], kind: Any) -> None:
    sparse, dense = table(kind=kind), table(kind=kind, sparse=False)
    one, other = make(sparse), make(dense)
    generator = torch.Generator().manual_seed(0)
    for seed in range(4):
        twice = torch.cat([torch.randperm(12, generator=generator), torch.arange(5)])
        look_up(sparse, twice, seed)
        look_up(dense, twice, seed)
        assert sparse.weight.grad.is_sparse and not sparse.weight.grad.is_coalesced()
        one.step()
        other.step()
        assert apart(sparse, dense) < 1e-13
    for name, value in other.state.get(dense.weight, {}).items():
        torch.testing.assert_close(one.state[sparse.weight][name], value)


@every
def test_only_touched_rows_move_and_only_their_state(make: Callable[..., Any]) -> None:
    model, small = table(), table(4, sparse=False)
    small.weight.data.copy_(model.weight.data[:4])
    before = model.weight.detach().clone()
    one, other = make(model), make(small)
    for seed in range(3):
        look_up(model, torch.tensor([3, 1, 0, 2, 1]), seed)
        look_up(small, torch.tensor([3, 1, 0, 2, 1]), seed)
        gradient = model.weight.grad.clone()
        one.step()
        other.step()
        assert torch.equal(model.weight.grad.to_dense(), gradient.to_dense())
    torch.testing.assert_close(model.weight.detach()[:4], small.weight.detach())
    assert torch.equal(model.weight.detach()[4:], before[4:])
    for name, value in one.state.get(model.weight, {}).items():
        if value.ndim:
            torch.testing.assert_close(value[:4], other.state[small.weight][name])
            assert not value[4:].any()


def test_momentum_waits_and_the_count_goes_on_as_in_sparse_adam() -> None:
    model = table()
    optimizer = KINDS["adam"](model)
    look_up(model, torch.tensor([0, 1]), 0)
    optimizer.step()
    state = {name: value.clone() for name, value in optimizer.state[model.weight].items()}
    look_up(model, torch.tensor([2]), 1)
    optimizer.step()
    after = optimizer.state[model.weight]
    assert torch.equal(after["exp_avg"][:2], state["exp_avg"][:2])
    assert float(after["step"]) == 2 and after["exp_avg_sq"][2] > 0


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"maximize": True}])
def test_euclidean_tables_are_those_of_torch(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = nn.Embedding(10, 4, sparse=True)
    other, dense = copy.deepcopy(model), copy.deepcopy(model)
    dense.sparse = False
    ours = RiemannianAdam(model, lr=0.05, **options)
    theirs: Any = torch.optim.AdamW(dense.parameters(), lr=0.05, weight_decay=0, **options)
    for seed in range(4):
        look_up(model, torch.arange(10).repeat(2), seed)
        look_up(dense, torch.arange(10).repeat(2), seed)
        ours.step()
        theirs.step()
    assert apart(model, dense) < 1e-6
    if not options.get("amsgrad"):
        model = copy.deepcopy(other)
        ours = RiemannianAdam(model, lr=0.05, eps=1e-30, **options)
        theirs = torch.optim.SparseAdam(list(other.parameters()), lr=0.05, eps=1e-30, **options)
        for seed in range(5):
            rows = torch.tensor([[0, 3, 3], [9, 1, 0], [2, 2, 2], [9, 9, 0], [5, 6, 7]])[seed]
            look_up(model, rows, seed)
            look_up(other, rows, seed)
            ours.step()
            theirs.step()
        assert apart(model, other) < 1e-6


def test_euclidean_tables_of_sgd_are_those_of_torch() -> None:
    model = nn.Embedding(10, 4, sparse=True)
    other = copy.deepcopy(model)
    ours, theirs = RiemannianSGD(model, lr=0.1), torch.optim.SGD(other.parameters(), lr=0.1)
    for seed in range(3):
        look_up(model, torch.tensor([1, 1, 7]), seed)
        look_up(other, torch.tensor([1, 1, 7]), seed)
        ours.step()
        theirs.step()
    assert apart(model, other) == 0


@every
def test_dense_and_sparse_and_missing_gradients_in_one_bucket(make: Callable[..., Any]) -> None:
    def model() -> nn.ModuleList:
        return nn.ModuleList([table(6), table(4, sparse=False), table(3), table(2, sparse=False)])

    together, alone = model(), model()
    optimizer = make(together)
    single = [make(module) for module in alone]
    for seed in range(5):
        for index, (mine, its) in enumerate(zip(together, alone, strict=True)):
            mine.zero_grad()
            its.zero_grad()
            if (seed + index) % 3:
                look_up(mine, torch.tensor([1, 0, 1]), seed)
                look_up(its, torch.tensor([1, 0, 1]), seed)
        optimizer.step()
        for one in single:
            one.step()
        assert apart(together, alone) < 1e-13


@every
def test_rows_of_several_points_and_gradients_sparse_inside_a_point(
    make: Callable[..., Any],
) -> None:
    def module(shape: tuple[int, ...]) -> Any:
        generator = torch.Generator().manual_seed(0)
        one = nn.Module()
        one.weight = nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
        return constrain_(one, "weight", Sphere)

    generator = torch.Generator().manual_seed(1)
    for shape, dimensions in (((6, 2, 5), 1), ((6, 5), 2), ((6,), 1)):
        mine, its = module(shape), module(shape)
        one, other = make(mine), make(its)
        for _ in range(3):
            g = torch.randn(shape, generator=generator, dtype=torch.float64)
            mine.weight.grad = g.to_sparse(dimensions)
            its.weight.grad = g
            one.step()
            other.step()
            assert apart(mine, its) < 1e-13


@every
def test_an_empty_batch_touches_nothing(make: Callable[..., Any]) -> None:
    model = table()
    before = model.weight.detach().clone()
    look_up(model, torch.empty(0, dtype=torch.int64), 0)
    make(model).step()
    assert torch.equal(model.weight.detach(), before)


def test_training_with_sparse_rows_learns_a_tree() -> None:
    """Children come near their parent and far from strangers, in the ball of float32."""
    torch.manual_seed(0)
    model = constrain_(nn.Embedding(15, 2, sparse=True), "weight", PoincareBall)
    with torch.no_grad():
        model.weight.uniform_(-1e-3, 1e-3)
    ball, optimizer = PoincareBall(2), RiemannianAdam(model, lr=0.05)
    child = torch.arange(1, 15)
    parent = (child - 1) // 2
    far = ~torch.eye(15, dtype=torch.bool)
    far[child, parent] = far[parent, child] = False
    for _ in range(200):
        optimizer.zero_grad()
        near = ball.dist(model(child), model(parent))
        every_pair = ball.dist(model(child)[:, None], model.weight.detach())
        others = torch.logsumexp(torch.where(far[1:], -every_pair, -torch.inf), 1)
        (near + torch.logaddexp(others, -near)).mean().backward()
        optimizer.step()
    between = ball.dist(model.weight.detach()[:, None], model.weight.detach())
    between.fill_diagonal_(torch.inf)
    nearer = (between[child] < between[child, parent][:, None]).sum(1).float().mean()
    assert nearer < 1 and float(ball.violation(model.weight.detach()).max()) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "rows",
    [[3], [3, 3, 3, 3], [5, 0, 2], [4, 1, 4, 0, 1, 4], []],
    ids=["one", "same", "distinct", "mixed", "none"],
)
def test_rows_are_joined_as_by_coalescing(rows: list[int], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(len(rows), 2, 3, generator=generator, dtype=dtype)
    gradient = torch.sparse_coo_tensor(
        torch.tensor([rows], dtype=torch.int64), values, (6, 2, 3), check_invariants=False
    )
    before, joiner = values.clone(), Joiner()
    for _ in range(2):  # a column that was used holds old numbers
        found = joiner.touched(gradient)
        assert len(found.rows.unique()) == len(found.rows)
        table = torch.zeros(6, 2, 3, dtype=dtype)
        found.put(table, found.gradient)
        torch.testing.assert_close(table, gradient.to_dense())
        torch.testing.assert_close(values, before, rtol=0, atol=0)


def test_few_rows_of_a_long_table_need_no_column_of_its_length() -> None:
    gradient = torch.sparse_coo_tensor(
        torch.tensor([[7, 7, 2]]), torch.ones(3, 1), (1_000_000, 1), check_invariants=False
    )
    joiner = Joiner()
    found = joiner.touched(gradient)
    assert found.rows.tolist() == [2, 7] and found.gradient.tolist() == [[1.0], [2.0]]
    assert len(joiner._last) == 0
