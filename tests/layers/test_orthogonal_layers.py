"""Orthogonal layers: the singular values of the whole map, and the manners of a module."""

from __future__ import annotations

import copy
import io
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev
from torch.nn import functional

from immersion.core.errors import InputError
from immersion.known.constraints import constrain_, constraints
from immersion.layers.orthogonal_conv import OrthogonalConv2d
from immersion.layers.orthogonal_linear import OrthogonalLinear
from immersion.optim.muon import ManifoldMuon
from immersion.optim.pogo import POGO

#: in, out, kernel, stride, height, width
CONVOLUTIONS = [
    (4, 4, 3, 1, 6, 5),
    (1, 8, 3, 1, 5, 5),
    (2, 6, 2, 1, 4, 3),
    (6, 2, 5, 1, 5, 6),
    (3, 3, 1, 1, 3, 3),
    (3, 5, 1, 1, 2, 2),
    (2, 8, 4, 2, 6, 4),
    (2, 12, 4, 2, 4, 4),
    (3, 13, 3, 2, 4, 6),
    (8, 4, 3, 2, 4, 4),
    (1, 4, 2, 2, 4, 4),
    (5, 3, 7, 3, 6, 6),
    (3, 4, 5, 1, 2, 3),
]


def whole_map(layer: nn.Module, *shape: int) -> Tensor:
    """The matrix of the layer as a map of all that it takes."""
    x = torch.randn(*shape, dtype=torch.float64)
    jacobian = jacrev(layer)(x)
    return jacobian.reshape(-1, x.numel()).detach()


@pytest.mark.parametrize(("inputs", "outputs", "kernel", "stride", "height", "width"), CONVOLUTIONS)
def test_all_singular_values_of_a_convolution_are_one(
    inputs: int, outputs: int, kernel: int, stride: int, height: int, width: int
) -> None:
    torch.manual_seed(0)
    layer = OrthogonalConv2d(inputs, outputs, kernel, stride, dtype=torch.float64)
    matrix = whole_map(layer, inputs, height, width)
    assert matrix.shape[0] == outputs * height * width // stride**2
    values = torch.linalg.svdvals(matrix)
    torch.testing.assert_close(values, torch.ones_like(values), rtol=0, atol=1e-13)
    assert layer.kernel().shape == (outputs, inputs, kernel, kernel)


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 5), (3, 7), (7, 3), (1, 4), (4, 1)])
def test_all_singular_values_of_a_linear_layer_are_one(inputs: int, outputs: int) -> None:
    layer = OrthogonalLinear(inputs, outputs, dtype=torch.float64)
    values = torch.linalg.svdvals(whole_map(layer, inputs))
    torch.testing.assert_close(values, torch.ones_like(values), rtol=0, atol=1e-13)
    assert layer.weight.shape == (outputs, inputs)


def trained(layer: nn.Module, shape: tuple[int, ...], optimizer: torch.optim.Optimizer) -> None:
    torch.manual_seed(1)
    x = torch.randn(8, *shape)
    for _ in range(20):
        optimizer.zero_grad()
        (layer(x) - 1).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize(
    "optimizer",
    [ManifoldMuon, lambda layer: POGO(layer, partial(torch.optim.Adam, lr=0.02))],
    ids=["muon", "pogo"],
)
def test_training_changes_the_map_and_keeps_its_singular_values(optimizer: object) -> None:
    torch.manual_seed(0)
    layers = [(OrthogonalConv2d(2, 6, 4, 2), (2, 4, 4)), (OrthogonalConv2d(3, 4, 3), (3, 4, 4))]
    for layer, shape in [*layers, (OrthogonalLinear(6, 4), (6,))]:
        before = whole_map(copy.deepcopy(layer).double(), *shape)
        assert callable(optimizer)
        trained(layer, shape, optimizer(layer))
        after = whole_map(layer.double(), *shape)
        assert float((after - before).norm()) > 0.1
        values = torch.linalg.svdvals(after)
        torch.testing.assert_close(values, torch.ones_like(values), rtol=0, atol=3e-6)


def test_lengths_are_kept_and_never_grow() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 16, 3, 8, 8)
    isometry = OrthogonalConv2d(3, 12, 4, 2)
    torch.testing.assert_close(
        (isometry(x) - isometry(y)).flatten(1).norm(dim=1), (x - y).flatten(1).norm(dim=1)
    )
    contraction = OrthogonalConv2d(3, 2, 3)
    shorter = (contraction(x) - contraction(y)).flatten(1).norm(dim=1)
    assert bool((shorter < (x - y).flatten(1).norm(dim=1)).all())


def test_kernel_is_that_of_a_plain_convolution() -> None:
    torch.manual_seed(0)
    layer = OrthogonalConv2d(2, 3, 4, 2, dtype=torch.float64)
    x = torch.randn(5, 2, 6, 8, dtype=torch.float64)
    padded = functional.pad(x, (1, 1, 1, 1), mode="circular")
    plain = functional.conv2d(padded, layer.kernel(), layer.bias, stride=2)
    torch.testing.assert_close(layer(x), plain, rtol=0, atol=0)
    torch.testing.assert_close(layer(x)[2], layer(x[2]))


def test_the_start_is_uniform() -> None:
    """Entries of a Haar orthogonal matrix have mean 0, variance 1/n, fourth moment 3/(n(n+2))."""
    generator = torch.Generator().manual_seed(0)
    layer = OrthogonalLinear(4, 4, bias=False, dtype=torch.float64)
    drawn = []
    for _ in range(1500):
        layer.reset_parameters(generator)
        drawn.append(layer.weight.detach().clone())
    stack = torch.stack(drawn)
    error = 5 / 1500**0.5
    torch.testing.assert_close(stack.mean(0), torch.zeros(4, 4).double(), rtol=0, atol=error / 2)
    torch.testing.assert_close(
        stack.square().mean(0), torch.full((4, 4), 0.25).double(), rtol=0, atol=error / 4
    )
    assert abs(float(stack.pow(4).mean()) - 3 / 24) < 0.005
    assert abs(float(torch.linalg.det(stack).mean())) < error


def test_the_bias_is_as_in_torch_and_can_be_left_out() -> None:
    torch.manual_seed(0)
    linear, conv = OrthogonalLinear(100, 400), OrthogonalConv2d(4, 400, 3)
    for bias, bound in ((linear.bias, 0.1), (conv.bias, 1 / 6)):
        assert bias is not None
        assert 0.97 * bound < float(bias.detach().abs().max()) <= bound
    assert OrthogonalLinear(2, 2, bias=False).bias is None
    assert OrthogonalConv2d(2, 2, 3, bias=False).bias is None


def test_what_is_constrained_is_recorded() -> None:
    assert set(constraints(OrthogonalLinear(2, 3))) == {"weight"}
    assert set(constraints(OrthogonalConv2d(2, 8, 3))) == {"frames", "lift"}
    assert set(constraints(OrthogonalConv2d(8, 2, 3))) == {"frames", "mix"}
    assert set(constraints(OrthogonalConv2d(2, 13, 3, 2))) == {"frames", "mix", "lift"}
    assert set(constraints(OrthogonalConv2d(2, 8, 2, 2))) == {"mix"}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: OrthogonalConv2d(2, 8, 4, 2), (2, 2, 4, 4)),
        (lambda: OrthogonalLinear(3, 5), (2, 3)),
    ],
    ids=["conv", "linear"],
)
class TestModule:
    def test_state_dict_and_copies(self, layer: object, shape: tuple[int, ...]) -> None:
        assert callable(layer)
        one, other, x = layer(), layer(), torch.randn(shape)
        stored = io.BytesIO()
        torch.save(one.state_dict(), stored)
        stored.seek(0)
        other.load_state_dict(torch.load(stored, weights_only=True), assign=True)
        assert torch.equal(one(x), other(x))
        assert torch.equal(one(x), copy.deepcopy(one)(x))
        assert constraints(copy.deepcopy(one)) == constraints(one)
        assert one.double()(x.double()).dtype == torch.float64

    def test_meta_then_real(self, layer: object, shape: tuple[int, ...]) -> None:
        assert callable(layer)
        with torch.device("meta"):
            one = layer()
        assert all(parameter.is_meta for parameter in one.parameters())
        one.to_empty(device="cpu")
        one.reset_parameters(torch.Generator().manual_seed(0))
        named = dict(one.named_parameters())
        for name, manifold in constraints(one).items():
            manifold.check(named[name].detach())
        x = torch.randn(shape)
        difference = (one(x) - one(0 * x)).flatten(1).norm(dim=1)
        torch.testing.assert_close(difference, x.flatten(1).norm(dim=1))

    def test_compiles_as_one_graph(self, layer: object, shape: tuple[int, ...]) -> None:
        assert callable(layer)
        torch._dynamo.reset()
        one, x = layer(), torch.randn(shape)
        compiled = torch.compile(one, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), one(x))
        compiled(x).square().sum().backward()
        found = [parameter.grad.clone() for parameter in one.parameters()]
        one.zero_grad()
        one(x).square().sum().backward()
        for gradient, parameter in zip(found, one.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-5, atol=1e-5)

    def test_gradients_are_right(self, layer: object, shape: tuple[int, ...]) -> None:
        assert callable(layer)
        one, x = layer().double(), torch.randn(shape).double()
        parameters = dict(one.named_parameters())

        def output(*values: Tensor) -> Tensor:
            named = dict(zip(parameters, values, strict=True))
            return torch.func.functional_call(one, named, (x,))

        assert torch.autograd.gradcheck(output, tuple(parameters.values()))

    def test_repr_has_the_sizes(self, layer: object, shape: tuple[int, ...]) -> None:
        assert callable(layer)
        assert f"({shape[1]}, " in repr(layer()) and "bias=True" in repr(layer())


def test_stays_constrained_to_the_same_manifold_when_drawn_anew() -> None:
    layer = OrthogonalConv2d(2, 8, 4, 2)
    before = constraints(layer)
    layer.reset_parameters()
    assert constraints(layer) == before
    for name, manifold in before.items():
        constrain_(layer, name, manifold, project=False)


def test_errors_say_what_to_do() -> None:
    with pytest.raises(InputError, match="at least 1"):
        OrthogonalLinear(0, 3)
    with pytest.raises(InputError, match="one of them at least 2"):
        OrthogonalLinear(1, 1)
    with pytest.raises(InputError, match="at least 1"):
        OrthogonalConv2d(2, 2, 3, stride=0)
    with pytest.raises(InputError, match=r"smaller than the stride.*kernel_size of 3"):
        OrthogonalConv2d(2, 2, 2, stride=3)
    for kernel in (1, 3):
        with pytest.raises(InputError, match="only shifts"):
            OrthogonalConv2d(1, 1, kernel)
    with pytest.raises(InputError, match=r"at least 8 output channels, or kernel_size=2"):
        OrthogonalConv2d(1, 4, 3, stride=2)
    layer = OrthogonalConv2d(2, 8, 7, stride=2)
    with pytest.raises(InputError, match=r"\(1, 2, 5, 6\).*multiples of the stride 2"):
        layer(torch.zeros(1, 2, 5, 6))
    with pytest.raises(InputError, match=r"\(1, 3, 6, 6\).*2, height, width"):
        layer(torch.zeros(1, 3, 6, 6))
    with pytest.raises(InputError, match="at least 3"):
        layer(torch.zeros(1, 2, 2, 2))
    with pytest.raises(InputError, match=r"\(6, 6\)"):
        layer(torch.zeros(6, 6))
