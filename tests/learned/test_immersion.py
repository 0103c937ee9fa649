"""The pullback geometry against surfaces in closed form, reverse mode and 50-digit arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import pytest
import torch
from torch import Tensor, nn

from immersion.core.errors import InputError
from immersion.core.metric import Metric
from immersion.learned.immersion import Immersion

GENERATOR = torch.Generator()


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=GENERATOR)


@pytest.fixture(autouse=True)
def seed() -> None:
    GENERATOR.manual_seed(0)
    torch.manual_seed(0)


class Constant(Metric):
    """One symmetric positive definite matrix everywhere."""

    dim, point_shape = 0, ()

    def __init__(self, H: Tensor) -> None:
        self.H, self.dim, self.point_shape = H, len(H), (len(H),)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return torch.einsum("...i,ij,...j->...", u, self.H, v)


class Conformal(Metric):
    """The Euclidean metric times (1 + |x|^2)."""

    dim, point_shape = 0, ()

    def __init__(self, *point_shape: int) -> None:
        self.dim, self.point_shape = math.prod(point_shape), point_shape

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        axes = tuple(range(-len(self.point_shape), 0))
        return (1 + x.square().sum(axes)) * (u * v).sum(axes)


# --- closed forms ---------------------------------------------------------------------------------


def sphere(z: Tensor) -> Tensor:
    theta, phi = z.unbind(-1)
    xy = theta.sin()[..., None] * torch.stack([phi.cos(), phi.sin()], -1)
    return torch.cat([xy, theta.cos()[..., None]], -1)


def torus(z: Tensor) -> Tensor:
    u, v = z.unbind(-1)
    ring = 3 + u.cos()
    return torch.stack([ring * v.cos(), ring * v.sin(), u.sin()], -1)


def paraboloid(z: Tensor) -> Tensor:
    return torch.cat([z, z.square().sum(-1, keepdim=True)], -1)


def helix(z: Tensor) -> Tensor:
    return torch.cat([2 * z.cos(), 2 * z.sin(), 0.5 * z], -1)


def diagonal(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([a, b], -1).diag_embed()


SURFACES: dict[str, tuple[Callable[[Tensor], Tensor], int, Callable[[Tensor], Tensor]]] = {
    "sphere": (
        sphere, 2, lambda z: diagonal(torch.ones_like(z[..., 0]), z[..., 0].sin().square())
    ),
    "torus": (
        torus, 2, lambda z: diagonal(torch.ones_like(z[..., 0]), (3 + z[..., 0].cos()).square())
    ),
    "paraboloid": (
        paraboloid, 2, lambda z: torch.eye(2, dtype=z.dtype) + 4 * z[..., :, None] * z[..., None, :]
    ),
    "helix": (helix, 1, lambda z: torch.full_like(z, 4.25)[..., None]),
}  # fmt: skip


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("batch", [(), (1,), (7,), (2, 3), (0,), (2, 0)])
def test_surfaces(name: str, batch: tuple[int, ...]) -> None:
    f, d, gram = SURFACES[name]
    surface, z = Immersion(f, (d,)), normal(*batch, d)
    G = surface.gram(z)
    assert G.shape == (*batch, d, d) and surface.dim == d
    torch.testing.assert_close(G, gram(z), atol=1e-13, rtol=1e-13)
    torch.testing.assert_close(surface.volume(z), gram(z).det().sqrt(), atol=1e-12, rtol=1e-12)
    values = torch.linalg.eigvalsh(gram(z)).flip(-1).sqrt()
    torch.testing.assert_close(surface.singular_values(z), values, atol=1e-12, rtol=1e-12)
    u, v = normal(*batch, d), normal(*batch, d)
    by_hand = torch.einsum("...i,...ij,...j->...", u, gram(z), v)
    torch.testing.assert_close(surface.inner(z, u, v), by_hand, atol=1e-12, rtol=1e-12)
    squared = torch.einsum("...i,...ij,...j->...", u, gram(z), u)
    torch.testing.assert_close(surface.norm(z, u), squared.sqrt(), atol=1e-12, rtol=1e-12)


def test_area_of_the_sphere() -> None:
    """Volume integrates to 4 pi: the midpoint rule over theta, exact over phi."""
    n = 2000
    theta = (torch.arange(n, dtype=torch.float64) + 0.5) * math.pi / n
    z = torch.stack([theta, torch.zeros_like(theta)], -1)
    area = Immersion(sphere, (2,)).volume(z).sum() * math.pi / n * 2 * math.pi
    assert float(area) == pytest.approx(4 * math.pi, rel=math.pi**2 / (24 * n**2) * 1.01)


def test_linear_map() -> None:
    A = normal(5, 3)
    chart, z = Immersion(lambda z: z @ A.T, (3,)), normal(4, 3)
    torch.testing.assert_close(chart.jacobian(z), A.expand(4, 5, 3))
    torch.testing.assert_close(chart.gram(z), (A.T @ A).expand(4, 3, 3))
    u = normal(4, 3)
    torch.testing.assert_close(chart.push(z, u), u @ A.T)


# --- networks -------------------------------------------------------------------------------------


def mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(3, 16), nn.Tanh(), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 7)
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_network_against_reverse_mode(dtype: torch.dtype, tolerance: float) -> None:
    net = mlp().to(dtype)
    net[2].running_mean.normal_()
    net[2].eval()
    chart, z = Immersion(net, (3,)), normal(6, 3, dtype=dtype)
    modes = [module.training for module in net.modules()]
    J = chart.jacobian(z)
    assert modes == [module.training for module in net.modules()]
    assert net.training and not net[2].training
    assert all(p.grad is None for p in net.parameters())
    net.eval()
    expected = torch.func.vmap(torch.func.jacrev(lambda x: net(x[None])[0]))(z)
    torch.testing.assert_close(J, expected, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(chart.gram(z), expected.mT @ expected, atol=10 * tolerance, rtol=0)


def test_point_shapes_of_several_axes() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh()).double()
    chart, z = Immersion(net, (2, 4, 5)), normal(2, 3, 2, 4, 5)
    J = chart.jacobian(z)
    assert J.shape == (2, 3, 3 * 2 * 3, 40) and chart.dim == 40
    expected = torch.func.jacrev(net)(z[1, 2]).reshape(18, 40)
    torch.testing.assert_close(J[1, 2], expected)
    u = normal(2, 3, 2, 4, 5)
    image = chart.push(z, u)
    assert image.shape == (2, 3, 3, 2, 3)
    flat = torch.einsum("...oi,...i->...o", J, u.flatten(2))
    torch.testing.assert_close(image.flatten(2), flat)
    torch.testing.assert_close(chart.inner(z, u, u), flat.square().sum(-1))
    assert chart.gram(normal(2, 4, 5)).shape == (40, 40)


def test_vectors_broadcast_against_points() -> None:
    chart = Immersion(torus, (2,))
    z, u = normal(2), normal(5, 2)
    torch.testing.assert_close(chart.push(z, u), chart.push(z.expand(5, 2), u))
    torch.testing.assert_close(chart.inner(z, u, u[0]), chart.inner(z.expand(5, 2), u,
                                                                    u[0].expand(5, 2)))  # fmt: skip


@pytest.mark.parametrize("out", [(), (1,), (2, 3)])
def test_outputs_of_any_shape(out: tuple[int, ...]) -> None:
    A = normal(*out, 2)
    chart, z = (
        Immersion(lambda z: (A * z.reshape(-1, *(1,) * len(out), 2)).sum(-1), (2,)),
        normal(4, 2),
    )
    flat = A.reshape(-1, 2)
    torch.testing.assert_close(chart.jacobian(z), flat.expand(4, *flat.shape))
    u = normal(4, 2)
    torch.testing.assert_close(chart.inner(z, u, u), (u @ flat.T).square().sum(-1))
    if math.prod(out) < 2:
        assert chart.volume(z).equal(torch.zeros(4, dtype=z.dtype))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.rnn = kind(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2, enable_nested_tensor=False
        ),
        lambda: nn.Sequential(nn.Linear(4, 3), Recurrent(nn.LSTM)),
        lambda: nn.Sequential(nn.Linear(4, 3), Recurrent(nn.GRU)),
        lambda: nn.Sequential(nn.Conv1d(5, 6, 3), nn.GroupNorm(2, 6), nn.SiLU(inplace=True)),
        lambda: torch.compile(nn.Sequential(nn.Linear(4, 3), nn.Tanh()), backend="aot_eager"),
    ],
    ids=["attention", "LSTM", "GRU", "convolution", "compiled"],
)
def test_layers_have_forward_derivatives(build: Callable[[], nn.Module], frozen: bool) -> None:
    net = build().double()
    net.requires_grad_(not frozen)
    z = normal(2, 5, 4)
    fast = torch.backends.mha.get_fastpath_enabled()
    J = Immersion(net, (5, 4)).jacobian(z)
    assert torch.backends.mha.get_fastpath_enabled() == fast and torch.backends.mkldnn.enabled
    net.eval()
    step, u = 1e-5, normal(2, 5, 4)
    difference = (net(z + step * u) - net(z - step * u)).flatten(1) / (2 * step)
    pushed = torch.einsum("noi,ni->no", J, u.flatten(1))
    torch.testing.assert_close(pushed, difference, atol=1e-7, rtol=1e-7)


def test_points_survive_a_module_that_works_in_place() -> None:
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 4)).double()
    z, u = normal(5, 3), normal(5, 3)
    before = z.clone(), u.clone()
    chart = Immersion(net, (3,), codomain=Conformal(4))
    chart.gram(z), chart.push(z, u), chart.inner(z, u, u)
    assert z.equal(before[0]) and u.equal(before[1])


# --- metrics of the codomain ----------------------------------------------------------------------


def test_constant_metric_of_the_codomain() -> None:
    B = normal(3, 3)
    H = B @ B.T + torch.eye(3, dtype=torch.float64)
    chart, z = Immersion(torus, (2,), codomain=Constant(H)), normal(2, 4, 2)
    J = Immersion(torus, (2,)).jacobian(z)
    G = J.mT @ H @ J
    torch.testing.assert_close(chart.gram(z), G)
    u, v = normal(2, 4, 2), normal(2, 4, 2)
    by_hand = torch.einsum("...i,...ij,...j->...", u, G, v)
    torch.testing.assert_close(chart.inner(z, u, v), by_hand)
    torch.testing.assert_close(chart.volume(z), G.det().sqrt())
    values = torch.linalg.eigvalsh(G).flip(-1).sqrt()
    torch.testing.assert_close(chart.singular_values(z), values)


def test_metric_that_depends_on_the_point() -> None:
    """A metric taken at the image, not at the point, of any point shape."""
    z = normal(5, 2)
    plain, scaled = Immersion(torus, (2,)), Immersion(torus, (2,), codomain=Conformal(3))
    factor = 1 + torus(z).square().sum(-1)
    torch.testing.assert_close(scaled.gram(z), factor[:, None, None] * plain.gram(z))
    torch.testing.assert_close(scaled.volume(z), factor * plain.volume(z))
    grid = Immersion(lambda z: torus(z).reshape(-1, 3, 1), (2,), codomain=Conformal(3, 1))
    torch.testing.assert_close(grid.gram(z), scaled.gram(z))
    torch.testing.assert_close(grid.gram(z[0]), scaled.gram(z)[0])


def test_immersions_compose() -> None:
    """An Immersion is a Metric: the pullback of a pullback is that of the composition."""
    inner, z = nn.Sequential(nn.Linear(2, 3), nn.Tanh()).double(), normal(4, 2)
    outer = nn.Sequential(nn.Linear(3, 6), nn.Tanh()).double()
    both = Immersion(nn.Sequential(inner, outer), (2,))
    nested = Immersion(inner, (2,), codomain=Immersion(outer, (3,)))
    torch.testing.assert_close(nested.gram(z), both.gram(z))
    torch.testing.assert_close(nested.singular_values(z), both.singular_values(z))


# --- accuracy where it is hard --------------------------------------------------------------------


@pytest.mark.parametrize("metric", [False, True])
def test_ill_conditioned_map_keeps_its_least_singular_value(metric: bool) -> None:
    """A ratio of 1e-9, where G = J^T J would have lost it (1e-18 is below eps)."""
    A = torch.linalg.qr(normal(4, 4))[0][:, :2]
    V = torch.linalg.qr(normal(2, 2))[0]
    J = (A * torch.tensor([1.0, 1e-9], dtype=torch.float64)) @ V
    H = torch.eye(4, dtype=torch.float64)
    if metric:
        B = normal(4, 4)
        H = B @ B.T + H
    codomain = Constant(H) if metric else None
    found = Immersion(lambda z: z @ J.T, (2,), codomain=codomain).singular_values(normal(2))
    with mpmath.workdps(50):
        exact_J, exact_H = mpmath.matrix(J.tolist()), mpmath.matrix(H.tolist())
        squared, _ = mpmath.eigsy(exact_J.T * exact_H * exact_J)
        exact = sorted((float(mpmath.sqrt(value)) for value in squared), reverse=True)
    assert found.tolist() == pytest.approx(exact, rel=1e-5)
    assert exact[1] / exact[0] < 1e-8


def test_folds_and_collapse() -> None:
    fold = Immersion(lambda z: torch.stack([z[:, 0], z[:, 1].square()], -1), (2,))
    z = torch.tensor([[0.3, 0.0], [0.3, 1.0]], dtype=torch.float64)
    assert fold.singular_values(z).tolist() == [[1.0, 0.0], [2.0, 1.0]]
    assert fold.volume(z).tolist() == [0.0, 2.0]
    flat = Immersion(lambda z: z.sum(-1, keepdim=True), (3,))
    assert flat.singular_values(normal(4, 3)).shape == (4, 1)
    assert flat.volume(normal(4, 3)).tolist() == [0.0] * 4
    under = Immersion(lambda z: z.sum(-1, keepdim=True), (3,), codomain=Conformal(1))
    assert under.singular_values(normal(4, 3)).shape == (4, 1)
    assert under.volume(normal(4, 3)).tolist() == [0.0] * 4
    constant = Immersion(lambda z: torch.ones(len(z), 4, dtype=z.dtype), (2,))
    assert constant.volume(normal(3, 2)).tolist() == [0.0] * 3


# --- differentiation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "net",
    [
        lambda: nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 4)),
        lambda: nn.Sequential(nn.Linear(2, 6), nn.Unflatten(1, (3, 2)),
                              nn.TransformerEncoderLayer(2, 1, 4, batch_first=True)),
    ],
    ids=["MLP", "attention"],
)  # fmt: skip
def test_gram_can_be_differentiated(net: Callable[[], nn.Module]) -> None:
    module = net().double()
    chart, z = Immersion(module, (2,)), normal(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(chart.gram, z, atol=1e-6)
    gradients = torch.autograd.grad(chart.gram(z).sum(), list(module.parameters()),
                                    allow_unused=True)  # fmt: skip
    assert any(g is not None and g.abs().sum() > 0 for g in gradients)
    with torch.no_grad():
        assert not chart.gram(z).requires_grad
    assert module.training


def test_gradient_of_volume() -> None:
    theta = torch.tensor([0.4, 1.1], dtype=torch.float64, requires_grad=True)
    z = torch.stack([theta, torch.zeros_like(theta)], -1)
    (gradient,) = torch.autograd.grad(Immersion(sphere, (2,)).volume(z).sum(), theta)
    torch.testing.assert_close(gradient, theta.detach().cos())


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (2, 3), (), (5, 1)])
def test_points_of_another_shape(shape: tuple[int, ...]) -> None:
    chart = Immersion(torus, (2,))
    with pytest.raises(InputError, match=r"shape \(\*batch, 2\); met"):
        chart.gram(torch.zeros(shape))
    with pytest.raises(InputError, match="met"):
        chart.push(torch.zeros(2), torch.zeros(shape))


def test_points_that_are_whole_numbers() -> None:
    with pytest.raises(InputError, match=r"floating, not torch\.int64"):
        Immersion(torus, (2,)).gram(torch.zeros(3, 2, dtype=torch.int64))


@pytest.mark.parametrize("point_shape", [(), (0,), (2, -1)])
def test_domains_without_points(point_shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="point_shape"):
        Immersion(torus, point_shape)


@pytest.mark.parametrize(
    ("f", "met"), [(lambda z: z.sum(), r"\(\)"), (lambda z: z[:1], r"\(1, 2\)"),
                   (lambda z: (z, z), "tuple")],
)  # fmt: skip
def test_maps_that_are_not_batched(f: Callable[[Tensor], Tensor], met: str) -> None:
    with pytest.raises(InputError, match=rf"\(3, 2\) gave {met}"):
        Immersion(f, (2,)).gram(torch.zeros(3, 2))


def test_operation_without_forward_derivative() -> None:
    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x

    net = mlp()
    net.append(nn.Module())
    net[-1].forward = Reverse.apply
    with pytest.raises((NotImplementedError, RuntimeError)):
        Immersion(net, (3,)).jacobian(torch.zeros(2, 3))
    assert net.training and torch.backends.mkldnn.enabled
