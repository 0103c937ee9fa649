"""Hyperbolic layers: what their scores measure, their flat limit, and the manners of a module."""

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Callable

import mpmath
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from immersion.known.constraints import constraints
from immersion.known.hyperbolic.conversion import convert
from immersion.known.hyperbolic.lorentz import Lorentz
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.layers.hyperbolic_curvature import LearnableCurvature
from immersion.layers.hyperbolic_embedding import HyperbolicEmbedding
from immersion.layers.hyperbolic_linear import HyperbolicLinear
from immersion.layers.hyperbolic_regression import HyperbolicRegression

Layer = HyperbolicLinear | HyperbolicRegression

KINDS: list[type[Layer]] = [HyperbolicLinear, HyperbolicRegression]
DTYPES = [torch.float32, torch.float64]


def with_bias(layer: nn.Module, spread: float = 0.7) -> nn.Module:
    """The layer, its bias away from zero, where it starts."""
    assert isinstance(layer.bias, Tensor)
    nn.init.normal_(layer.bias, std=spread)
    return layer


def gradients(output: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(output.sum(), inputs))


def finite(*tensors: Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


# Geometry


@pytest.mark.parametrize("curvature", [-1.0, -0.3, -4.0])
def test_a_logit_is_the_distance_to_the_nearest_point_of_the_hyperplane(curvature: float) -> None:
    """The hyperplane of the plane is a geodesic: 40001 points of it, and the nearest of them."""
    torch.manual_seed(0)
    head = HyperbolicRegression(2, 5, curvature=curvature, dtype=torch.float64)
    with_bias(head)
    assert head.bias is not None
    ball = head.manifold()
    x = ball.random(7, dtype=torch.float64)
    origin = torch.zeros(2, dtype=torch.float64)
    along = torch.linspace(-8, 8, 40001, dtype=torch.float64)[:, None]
    for k in range(5):
        weight, offset = head.weight[k].detach(), head.bias[k].detach()
        normal = weight / weight.norm()
        base = ball.exp(origin, offset * normal / 2)  # inner at the origin is 4 <u, v>
        turned = torch.stack([-normal[1], normal[0]])
        unit = turned / ball.norm(base, turned)
        plane = ball.exp(base, along * unit)
        nearest = ball.dist(x[:, None], plane).amin(-1)
        outward = ball.inner(base, ball.log(base, x), normal.expand_as(x))
        logits = head(x)[:, k].detach()
        torch.testing.assert_close(logits.abs() / weight.norm(), nearest, rtol=1e-5, atol=2e-4)
        clear = nearest > 1e-3
        assert torch.equal(logits.sign()[clear], outward.sign()[clear])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("curvature", [-1.0, -0.3])
def test_logits_against_mpmath_on_the_hyperboloid(dtype: torch.dtype, curvature: float) -> None:
    """asinh of the Minkowski product with the hyperplane's normal, from the numbers as stored.

    The rounding of a logit is that of a point as far out: eps times c, times e^r for x and e^o for
    the hyperplane, over the derivative of asinh.
    """
    torch.manual_seed(0)
    head = HyperbolicRegression(3, 4, curvature=curvature, dtype=dtype)
    with_bias(head)
    assert head.bias is not None
    ball = head.manifold()
    radii = torch.tensor([0.0, 1e-6, 0.3, 1.0, 3.0, 6.0, 10.0], dtype=dtype) / -curvature
    direction = nn.functional.normalize(torch.randn(7, 3, dtype=dtype), dim=-1)
    x = ball.exp(torch.zeros(3, dtype=dtype), radii[:, None] * direction / 2)
    logits = head(x).detach()
    eps = torch.finfo(dtype).eps
    with mpmath.workdps(50):
        root = mpmath.sqrt(-mpmath.mpf(curvature))
        for i, k in ((i, k) for i in range(7) for k in range(4)):
            v = [root * mpmath.mpf(a) for a in x[i].tolist()]
            w = [mpmath.mpf(a) for a in head.weight[k].tolist()]
            length = mpmath.sqrt(sum(a * a for a in w))
            shift = root * mpmath.mpf(head.bias[k].item())
            square = sum(a * a for a in v)
            time = (1 + square) / (1 - square)
            space = sum(a * b for a, b in zip(v, w, strict=True)) * 2 / (1 - square) / length
            product = space * mpmath.cosh(shift) - time * mpmath.sinh(shift)
            exact = length * mpmath.asinh(product) / root
            terms = (abs(space) + time) * mpmath.cosh(shift)
            conditioning = length / root * terms / mpmath.sqrt(1 + product**2) + abs(exact)
            assert abs(mpmath.mpf(logits[i, k].item()) - exact) < 8 * eps * conditioning


@pytest.mark.parametrize("curvature", [-1.0, -0.3, -4.0])
def test_the_output_is_as_far_from_the_coordinate_hyperplanes_as_the_scores_say(
    curvature: float,
) -> None:
    torch.manual_seed(0)
    layer = HyperbolicLinear(4, 3, curvature=curvature, dtype=torch.float64)
    with_bias(layer)
    same = HyperbolicRegression(4, 3, curvature=curvature, dtype=torch.float64)
    same.load_state_dict(layer.state_dict())
    x = layer.manifold(4).random(20, dtype=torch.float64)
    y = layer(x)
    sheet = convert(y, layer.manifold(3), Lorentz(3, curvature))[..., 1:]
    root = math.sqrt(-curvature)
    torch.testing.assert_close(torch.asinh(root * sheet) / root, same(x), rtol=1e-9, atol=1e-9)
    coordinates = HyperbolicRegression(3, 3, bias=False, curvature=curvature, dtype=torch.float64)
    with torch.no_grad():
        coordinates.weight.copy_(torch.eye(3))
    torch.testing.assert_close(coordinates(y), same(x), rtol=1e-9, atol=1e-9)


def test_a_linear_layer_with_the_unit_matrix_changes_nothing() -> None:
    layer = HyperbolicLinear(3, 3, bias=False, curvature=-2.0, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3))
    x = layer.manifold(3).random(20, dtype=torch.float64)
    torch.testing.assert_close(layer(x), x, rtol=1e-12, atol=1e-12)


def test_scores_are_odd_in_the_normal_and_scale_with_it() -> None:
    torch.manual_seed(0)
    head = HyperbolicRegression(3, 4, dtype=torch.float64)
    with_bias(head)
    x = head.manifold().random(10, dtype=torch.float64)
    named = dict(head.named_parameters())
    before = head(x)
    tripled = functional_call(head, {**named, "weight": 3 * named["weight"]}, (x,))
    opposite = functional_call(head, {name: -value for name, value in named.items()}, (x,))
    torch.testing.assert_close(tripled, 3 * before)
    torch.testing.assert_close(opposite, -before)


# The flat limit


@pytest.mark.parametrize("kind", KINDS)
def test_as_the_curvature_goes_to_zero_the_layer_becomes_linear_in_proportion(
    kind: type[Layer],
) -> None:
    """Logits become 2 W x - |w| b, outputs W x - |w| b / 2; what is left is linear in c."""
    torch.manual_seed(0)
    flat = nn.Linear(4, 3, dtype=torch.float64)
    x = torch.randn(20, 4, dtype=torch.float64)
    bias = torch.randn(3, dtype=torch.float64)
    with torch.no_grad():
        flat.bias.copy_(-flat.weight.norm(dim=-1) * bias / 2)
    constant = 1 if kind is HyperbolicLinear else 2
    errors = list[float]()
    for c in (1e-3, 1e-4, 1e-5, 1e-13):
        layer = kind(4, 3, curvature=-c, dtype=torch.float64)
        layer.load_state_dict({"weight": flat.weight, "bias": bias})
        errors.append(float((layer(x) - constant * flat(x)).abs().max().detach()))
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.02)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.02)
    assert 0 < errors[2] < 1e-3 and errors[3] < 1e-10


# Values and gradients in the hard places


def hard_points(n: int, curvature: float, dtype: torch.dtype) -> Tensor:
    """The origin, near it, inside, near the boundary, as near as `proj` goes, on it, outside."""
    ball, radius = PoincareBall(n, curvature), (-curvature) ** -0.5
    sizes = torch.tensor([0, 1e-30, 1e-5, 0.3, 1 - 1e-3, 1 - 1e-6], dtype=dtype) * radius
    direction = nn.functional.normalize(torch.randn(6, ball.n, dtype=dtype), dim=-1)
    farthest = ball.proj(10 * radius * direction[:2])
    axis = torch.eye(ball.n, dtype=dtype)[:1] * radius
    return torch.cat([sizes[:, None] * direction, farthest, axis, 2 * axis])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("curvature", [-1.0, -0.01, -30.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [0.0, 1.0, -12.0, 100.0, -1e4])
def test_values_and_gradients_are_finite_everywhere(
    kind: type[Layer], curvature: float, dtype: torch.dtype, bias: float
) -> None:
    torch.manual_seed(0)
    shared = LearnableCurvature(curvature, dtype=dtype)
    layer = kind(4, 3, curvature=shared, dtype=dtype)
    with torch.no_grad():
        layer.weight[0] = 0
        layer.weight[1] *= 50
        assert layer.bias is not None
        layer.bias.fill_(bias)
    x = hard_points(4, curvature, dtype).requires_grad_()
    output = layer(x)
    assert finite(output, *gradients(output, x, *layer.parameters()))
    assert bool((layer(x)[..., 0] == 0).all())  # a weight of zero scores zero
    if isinstance(layer, HyperbolicLinear):
        assert float(layer.manifold(3).violation(output).max().detach()) == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("features", [1, 3, 64])
def test_outputs_are_in_the_ball(scale: float, features: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = HyperbolicLinear(4, features, curvature=-0.7, dtype=dtype)
    with torch.no_grad():
        layer.weight *= scale
    x = hard_points(4, -0.7, dtype)
    y = layer(x)
    ball = layer.manifold(features)
    assert finite(y) and float(ball.violation(y).max().detach()) == 0
    ball.check(y.detach())
    assert finite(layer(y[:, :1].expand(-1, 4)))


@pytest.mark.parametrize("kind", KINDS)
def test_far_out_the_gradient_still_points_outward(kind: type[Layer]) -> None:
    """At radius 12 of float32 the logit grows as the radius does: with slope |w|, here 1."""
    layer = kind(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
    ball = PoincareBall(2)
    origin, direction = torch.zeros(2), torch.tensor([1.0, 0.0])
    near, far = (ball.exp(origin, r / 2 * direction) for r in (11.0, 12.0))
    outputs = layer(torch.stack([near, far]))
    distance = ball.dist(origin, outputs) if kind is HyperbolicLinear else outputs[:, 0]
    torch.testing.assert_close(distance, torch.tensor([11.0, 12.0]), rtol=2e-3, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_right(kind: type[Layer]) -> None:
    torch.manual_seed(0)
    layer = kind(3, 2, curvature=LearnableCurvature(-0.6), dtype=torch.float64).double()
    with_bias(layer)
    x = PoincareBall(3, -0.6).random(2, dtype=torch.float64).requires_grad_()
    parameters = dict(layer.named_parameters())
    assert set(parameters) == {"weight", "bias", "curvature.raw"}

    def output(point: Tensor, *values: Tensor) -> Tensor:
        return functional_call(layer, dict(zip(parameters, values, strict=True)), (point,))

    assert torch.autograd.gradcheck(output, (x, *parameters.values()))


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_float64_rounded(kind: type[Layer]) -> None:
    torch.manual_seed(0)
    layer = kind(6, 5, curvature=-1.5)
    with_bias(layer)
    x = PoincareBall(6, -1.5).random(50)
    torch.testing.assert_close(
        layer(x), copy.deepcopy(layer).double()(x.double()).float(), rtol=2e-5, atol=2e-6
    )


# Shapes and transforms


@pytest.mark.parametrize("kind", KINDS)
def test_leading_dimensions_and_empty_batches(kind: type[Layer]) -> None:
    layer = kind(3, 2)
    x = PoincareBall(3).random(4, 5)
    assert layer(x).shape == (4, 5, 2)
    torch.testing.assert_close(layer(x)[1, 2], layer(x[1, 2]))
    torch.testing.assert_close(layer(x.transpose(0, 1)), layer(x).transpose(0, 1))
    assert layer(x[:0]).shape == (0, 5, 2)
    torch.testing.assert_close(vmap(layer)(x), layer(x))


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_several_models_at_once_by_vmap(kind: type[Layer], learnt: bool) -> None:
    models = [kind(3, 2, curvature=LearnableCurvature(-c) if learnt else -1.0) for c in (0.5, 2)]
    parameters, buffers = stack_module_state(list(models))
    skeleton = copy.deepcopy(models[0]).to("meta")
    x = PoincareBall(3, -2.0).random(4)

    def one(values: dict[str, Tensor], others: dict[str, Tensor]) -> Tensor:
        return functional_call(skeleton, (values, others), (x,))

    torch.testing.assert_close(
        vmap(one)(parameters, buffers), torch.stack([model(x) for model in models])
    )


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_compiles_as_one_graph(kind: type[Layer], learnt: bool) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    layer = kind(3, 2, curvature=LearnableCurvature(-0.5) if learnt else -0.5)
    with_bias(layer)
    x = PoincareBall(3, -0.5).random(6)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))
    weights = list(layer.parameters())
    for found, wanted in zip(
        gradients(compiled(x), *weights), gradients(layer(x), *weights), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("learnt", [False, True])
def test_a_table_and_its_distances_compile_as_one_graph(learnt: bool) -> None:
    torch._dynamo.reset()
    table = HyperbolicEmbedding(5, 2, curvature=LearnableCurvature(-0.5) if learnt else -0.5)
    table.reset_parameters(1.0)

    def apart(i: Tensor, j: Tensor) -> Tensor:
        return table.manifold().dist(table(i), table(j))

    i, j = torch.tensor([0, 1, 2]), torch.tensor([3, 4, 2])
    compiled = torch.compile(apart, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(i, j), apart(i, j))


# Manners of a module

MAKERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: with_bias(HyperbolicLinear(3, 5)),
    "linear-learnt": lambda: HyperbolicLinear(3, 5, curvature=LearnableCurvature(-0.5)),
    "regression": lambda: with_bias(HyperbolicRegression(3, 5)),
    "regression-learnt": lambda: HyperbolicRegression(3, 5, curvature=LearnableCurvature(-0.5)),
    "embedding": lambda: HyperbolicEmbedding(4, 3),
    "embedding-log": lambda: HyperbolicEmbedding(4, 3, model="log"),
    "embedding-lorentz": lambda: HyperbolicEmbedding(4, 3, model="lorentz"),
    "embedding-learnt": lambda: HyperbolicEmbedding(4, 3, curvature=LearnableCurvature(-0.5)),
}


def given(layer: nn.Module) -> Tensor:
    if isinstance(layer, HyperbolicEmbedding):
        return torch.tensor([[0, 3], [1, 1]])
    return PoincareBall(3).random(2, 2)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
class TestModule:
    def test_state_dict_and_copies(self, make: Callable[[], nn.Module]) -> None:
        one, other = make(), make()
        x = given(one)
        stored = io.BytesIO()
        torch.save(one.state_dict(), stored)
        stored.seek(0)
        other.load_state_dict(torch.load(stored, weights_only=True), assign=True)
        for same in (other, copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert torch.equal(one(x), same(x))
            assert constraints(same).keys() == constraints(one).keys()
            assert repr(same) == repr(one)
        double = copy.deepcopy(one).double()(x.double() if x.is_floating_point() else x)
        assert double.dtype == torch.float64
        torch.testing.assert_close(double.float(), one(x), rtol=1e-5, atol=1e-5)

    def test_gradients_after_assign_and_copy_reach_the_new_parameters(
        self, make: Callable[[], nn.Module]
    ) -> None:
        one, other = make(), make()
        other.load_state_dict(one.state_dict(), assign=True)
        for layer in (other, copy.deepcopy(one)):
            output = layer(given(layer))
            used = (
                layer.manifold().norm(output, output)
                if isinstance(layer, HyperbolicEmbedding)
                else output
            )
            found = gradients(used, *layer.parameters())
            assert finite(*found) and all(bool(gradient.any()) for gradient in found)

    def test_meta_then_real(self, make: Callable[[], nn.Module]) -> None:
        with torch.device("meta"):
            one = make()
        assert all(parameter.is_meta for parameter in one.parameters())
        one.to_empty(device="cpu")
        for module in reversed(list(one.modules())):  # the curvature before what needs it
            reset = getattr(module, "reset_parameters", None)
            assert callable(reset)
            reset()
        named = dict(one.named_parameters())
        for name, manifold in constraints(one).items():
            manifold.check(named[name].detach())
        assert finite(one(given(one)))

    def test_a_generator_draws_the_same_again(self, make: Callable[[], nn.Module]) -> None:
        drawn = list[dict[str, Tensor]]()
        for one in (make(), make()):
            assert isinstance(one, HyperbolicLinear | HyperbolicRegression | HyperbolicEmbedding)
            one.reset_parameters(generator=torch.Generator().manual_seed(0))
            drawn.append(one.state_dict())
        assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])

    def test_repr_has_the_sizes(self, make: Callable[[], nn.Module]) -> None:
        text = repr(make())
        assert "3" in text and ("curvature=-1.0" in text or "LearnableCurvature()" in text)
