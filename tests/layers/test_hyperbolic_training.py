"""Hyperbolic layers at work: tables, learnt curvature, a tree, and what they say to bad input."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from immersion.core.errors import InputError
from immersion.known.constraints import constrain_, constraints
from immersion.known.euclidean import Euclidean
from immersion.known.hyperbolic.conversion import convert
from immersion.known.hyperbolic.log_hyperbolic import LogHyperbolic
from immersion.known.hyperbolic.lorentz import Lorentz
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.layers.hyperbolic_curvature import LearnableCurvature
from immersion.layers.hyperbolic_embedding import HyperbolicEmbedding
from immersion.layers.hyperbolic_linear import HyperbolicLinear
from immersion.layers.hyperbolic_regression import HyperbolicRegression
from immersion.optim.adam import RiemannianAdam

MODELS = ["poincare", "log", "lorentz"]

DEPTH = 6
NODES = 2 ** (DEPTH + 1) - 1


def finite(*tensors: Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


@pytest.mark.parametrize("curvature", [-1.0, -0.2])
@pytest.mark.parametrize("model", MODELS)
def test_a_table_starts_normal_about_the_origin(model: str, curvature: float) -> None:
    torch.manual_seed(0)
    table = HyperbolicEmbedding(20000, 3, model=model, curvature=curvature, dtype=torch.float64)
    space = table.manifold()
    kind = {"poincare": PoincareBall, "log": LogHyperbolic, "lorentz": Lorentz}[model]
    assert space == kind(3, curvature) and constraints(table) == {"weight": space}
    for spread in (1e-3, 0.5):
        table.reset_parameters(spread)
        points = table.weight.detach()
        space.check(points)
        logs = convert(points, space, LogHyperbolic(3, curvature))
        assert float(logs.std()) == pytest.approx(spread, rel=0.02)
        assert float(logs.mean(0).norm()) < 5 * spread / math.sqrt(20000)


@pytest.mark.parametrize("model", MODELS)
def test_of_a_sparse_table_only_the_rows_looked_up_move(model: str) -> None:
    torch.manual_seed(0)
    table = HyperbolicEmbedding(50, 3, model=model, sparse=True)
    table.reset_parameters(0.5)
    before = table.weight.detach().clone()
    optimizer = RiemannianAdam(table, lr=0.1)
    rows = torch.tensor([3, 14, 15, 3])
    x = table(rows)
    table.manifold().dist(x[:2], x[2:]).square().sum().backward()
    assert table.weight.grad is not None and table.weight.grad.is_sparse
    optimizer.step()
    moved = (table.weight.detach() != before).any(-1).nonzero().squeeze(-1)
    assert moved.tolist() == [3, 14, 15]
    table.manifold().check(table.weight.detach())


@pytest.mark.parametrize("model", MODELS)
def test_a_sparse_table_stays_on_its_manifold_while_the_curvature_is_learnt(model: str) -> None:
    torch.manual_seed(0)
    shared = LearnableCurvature(-0.3)
    table = HyperbolicEmbedding(6, 2, curvature=shared, model=model, sparse=True)
    table.reset_parameters(1.0)
    before = shared().detach()
    optimizer = RiemannianAdam(table, lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        x = table(torch.tensor([0, 1, 2, 3]))
        table.manifold().dist(x[:2], x[2:]).sum().neg().backward()
        optimizer.step()
        now = constraints(table)["weight"]
        assert now == table.manifold()
        now.check(table.weight.detach())
    assert float((shared().detach() - before).abs()) > 0.05


def test_a_curvature_that_is_shared_is_learnt_by_all_that_share_it() -> None:
    torch.manual_seed(0)
    shared = LearnableCurvature(-1.0)
    table = HyperbolicEmbedding(9, 2, curvature=shared)
    model = nn.Sequential(
        table,
        HyperbolicLinear(2, 4, curvature=shared),
        HyperbolicRegression(4, 3, curvature=shared),
    )
    assert sum(parameter is shared.raw for parameter in model.parameters()) == 1
    index = torch.arange(9)
    optimizer = RiemannianAdam(model, lr=0.05)
    losses = list[float]()
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(index), index % 3)
        loss.backward()
        assert shared.raw.grad is not None and finite(shared.raw.grad)
        optimizer.step()
        losses.append(float(loss.detach()))
        assert float(table.manifold().violation(table.weight).max().detach()) == 0
    assert losses[-1] < 0.1 * losses[0]
    assert abs(float(shared().detach()) + 1) > 0.05
    twin = copy.deepcopy(model)
    assert sum(name.endswith("raw") for name, _ in twin.named_parameters()) == 1


def test_the_curvature_is_found_from_distances() -> None:
    """Fixed points whose distances are those of curvature -0.4: the curvature is learnt."""
    torch.manual_seed(0)
    points = PoincareBall(3, -0.4).random(30, dtype=torch.float64)
    wanted = PoincareBall(3, -0.4).dist(points[:15], points[15:])
    shared = LearnableCurvature(-0.1, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(
        shared.parameters(),
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-13,
        tolerance_change=1e-15,
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = PoincareBall(3, shared()).dist(points[:15], points[15:])
        value = (found - wanted).square().mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert float(shared().detach()) == pytest.approx(-0.4, rel=1e-6)


# A binary tree


def ancestors(node: int) -> set[int]:
    """The node and those above it; the children of i are 2i and 2i + 1, the root is 1."""
    return {node >> k for k in range(node.bit_length())}


def tree_distances(i: Tensor, j: Tensor) -> Tensor:
    lines = [ancestors(node) for node in range(1, NODES + 1)]
    pairs = zip(i.tolist(), j.tolist(), strict=True)
    return torch.tensor([float(len(lines[a] ^ lines[b])) for a, b in pairs])


def drawing() -> Tensor:
    """The tree with the root in the middle: depth outward, each subtree in its own sector."""
    node = torch.arange(1, NODES + 1)
    depth = torch.tensor([a.bit_length() - 1.0 for a in node.tolist()])
    angle = 2 * math.pi * (node - 2**depth + 0.5) / 2**depth
    return 0.4 * depth[:, None] * torch.stack([angle.cos(), angle.sin()], -1)


def fitted(table: nn.Module, space: PoincareBall | Euclidean) -> float:
    """Mean distortion of all distances after 200 steps of 1000 pairs, rate 0.2 falling to zero."""
    torch.manual_seed(0)
    i, j = torch.triu_indices(NODES, NODES, 1)
    wanted = tree_distances(i, j)
    optimizer = RiemannianAdam(table, lr=0.2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 200)
    for _ in range(200):
        pick = torch.randint(len(i), (1000,))
        optimizer.zero_grad()
        found = space.dist(table(i[pick]), table(j[pick]))
        (found / wanted[pick] - 1).square().mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return float((space.dist(table(i), table(j)) / wanted - 1).abs().mean())


@pytest.fixture(scope="module")
def tree() -> tuple[HyperbolicEmbedding, float]:
    """The nodes on a ball of dimension 2, and the distortion."""
    table = HyperbolicEmbedding(NODES, 2)
    ball = table.manifold()
    assert isinstance(ball, PoincareBall)
    with torch.no_grad():
        table.weight.copy_(ball.exp(torch.zeros(NODES, 2), drawing()))
    return table, fitted(table, ball)


def test_a_tree_fits_the_ball_better_than_the_plane(
    tree: tuple[HyperbolicEmbedding, float],
) -> None:
    """The same drawing to start, sizes, rates and steps: 0.16 on the ball, 0.22 on the plane."""
    plane = nn.Embedding.from_pretrained(drawing(), freeze=False)
    constrain_(plane, "weight", Euclidean(2))
    flat = fitted(plane, Euclidean(2))
    assert tree[1] < 0.85 * flat


@pytest.mark.parametrize(
    "make",
    [
        lambda: HyperbolicRegression(2, 8),
        lambda: nn.Sequential(HyperbolicLinear(2, 8), HyperbolicRegression(8, 8)),
    ],
    ids=["regression", "two-layers"],
)
def test_leaves_are_told_apart_by_subtree(
    tree: tuple[HyperbolicEmbedding, float], make: Callable[[], nn.Module]
) -> None:
    """The 64 leaves, and the 8 subtrees of depth 3 that they belong to."""
    torch.manual_seed(0)
    leaves = torch.arange(NODES // 2, NODES)
    classes = (leaves + 1) // 2 ** (DEPTH - 3) - 2**3
    x = tree[0](leaves).detach()
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), classes)
        loss.backward()
        optimizer.step()
    assert bool((model(x).argmax(-1) == classes).all())
    assert float(loss.detach()) < 0.3


# Bad input


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "curvature": (lambda: HyperbolicLinear(2, 3, curvature=1.0), r"negative number, not 1\.0"),
    "flat": (lambda: HyperbolicRegression(2, 3, curvature=0.0), r"negative number, not 0\.0"),
    "nan": (lambda: HyperbolicEmbedding(2, 3, curvature=math.nan), "negative number, not nan"),
    "endless": (lambda: LearnableCurvature(-math.inf), "negative number, not -inf"),
    "start": (lambda: LearnableCurvature(2.0), r"negative number, not 2\.0"),
    "sizes": (lambda: HyperbolicLinear(0, 3), "at least 1, not 0 and 3"),
    "classes": (lambda: HyperbolicRegression(2, 0), "at least 1, not 2 and 0"),
    "rows": (lambda: HyperbolicEmbedding(0, 2), "at least 1, not 0 and 2"),
    "model": (lambda: HyperbolicEmbedding(2, 2, model="klein"), "not 'klein'"),
    "tensor": (
        lambda: HyperbolicLinear(2, 3, curvature=torch.tensor(-1.0)),
        r"tensor of shape \(\).*LearnableCurvature",
    ),
    "shape": (lambda: HyperbolicLinear(2, 3)(torch.zeros(5, 3)), r"\(5, 3\).*\(\.\.\., 2\)"),
    "logits": (lambda: HyperbolicRegression(2, 3)(torch.zeros(())), r"shape \(\).*\(\.\.\., 2\)"),
    "integers": (lambda: HyperbolicLinear(2, 3)(torch.zeros(5, 2).long()), r"int64.*\.float\(\)"),
    "half": (lambda: HyperbolicRegression(2, 3)(torch.zeros(5, 2).half()), "float16"),
    "index": (lambda: HyperbolicEmbedding(2, 3)(torch.zeros(1)), r"float32.*index\.long\(\)"),
}


@pytest.mark.parametrize(("act", "says"), BAD.values(), ids=BAD)
def test_errors_are_one_line_that_says_what_to_do(act: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        act()
    assert "\n" not in str(caught.value)
