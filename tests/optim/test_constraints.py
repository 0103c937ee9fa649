"""A manifold recorded on a module: where it is found, what is refused, and what it says."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from immersion.core.errors import InputError
from immersion.core.metric import Manifold
from immersion.known.combined.power import Power
from immersion.known.combined.viewed import Viewed
from immersion.known.constraints import constrain_, constrained, constraints
from immersion.known.definite.spd import SPD
from immersion.known.euclidean import Euclidean
from immersion.known.fixed_rank import FixedRank
from immersion.known.hyperbolic.lorentz import Lorentz
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.oblique import Oblique
from immersion.known.orthonormal.grassmann import Grassmann
from immersion.known.orthonormal.rotations import Rotations
from immersion.known.orthonormal.stiefel import Stiefel
from immersion.known.sphere import Sphere
from optim.positive import Positive


def holder(*shape: int, **named: Any) -> Any:
    module = nn.Module()
    generator = torch.Generator().manual_seed(0)
    module.weight = nn.Parameter(torch.randn(shape, generator=generator).to(**named))
    return module


@pytest.mark.parametrize(
    ("kind", "shape", "manifold"),
    [
        (Sphere, (10, 5), Sphere(4)),
        (Sphere, (5,), Sphere(4)),
        (PoincareBall, (10, 5), PoincareBall(5)),
        (Lorentz, (10, 5), Lorentz(4)),
        (Stiefel, (6, 4), Stiefel(6, 4)),
        (Stiefel, (2, 6, 4), Stiefel(6, 4)),
        (Stiefel, (4, 6), Viewed(Stiefel(6, 4), (4, 6), transposed=True)),
        (Grassmann, (3, 4, 6), Viewed(Grassmann(6, 4), (4, 6), transposed=True)),
        (Grassmann, (6, 4), Grassmann(6, 4)),
        (Rotations, (4, 4), Rotations(4)),
        (SPD, (7, 3, 3), SPD(3)),
        (Oblique, (4, 6), Oblique(4, 6)),
        (Positive, (3, 7), Positive(7)),
        (Sphere(4), (2, 3, 5), Sphere(4)),
        (lambda owner: Sphere(owner.weight.shape[-1] - 1), (3, 5), Sphere(4)),
    ],
)
def test_records_the_manifold_and_brings_the_value_to_it(
    kind: Any, shape: tuple[int, ...], manifold: Manifold
) -> None:
    module = holder(*shape)
    assert constrain_(module, "weight", kind) is module
    assert constraints(module) == {"weight": manifold}
    assert float(manifold.violation(module.weight.detach()).max()) < 1e-5
    assert type(module.weight) is nn.Parameter
    assert list(module.state_dict()) == ["weight"]


def test_names_are_those_of_the_parameters() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 3), nn.Embedding(9, 3)))
    constrain_(model, "1.1.weight", Sphere)
    constrain_(model[1], "0.weight", Sphere(3))
    assert constraints(model) == {"1.0.weight": Sphere(3), "1.1.weight": Sphere(2)}
    assert set(constraints(model)) <= dict(model.named_parameters()).keys()
    assert constraints(model[1][1]) == {"weight": Sphere(2)}
    assert constraints(nn.Linear(2, 2)) == {}


def test_wrappers_are_seen_through() -> None:
    model = constrain_(nn.Linear(4, 3), "weight", Sphere)
    wrapped = nn.DataParallel(model)
    assert constraints(wrapped) == {"module.weight": Sphere(3)}
    compiled = torch.compile(model, backend="eager")
    assert constraints(compiled) == {"_orig_mod.weight": Sphere(3)}
    again = constrain_(torch.compile(nn.Linear(4, 3), backend="eager"), "_orig_mod.weight", Sphere)
    assert constraints(again) == {"_orig_mod.weight": Sphere(3)}


def test_shared_modules_and_tied_parameters_count_once() -> None:
    shared = nn.Linear(4, 4)
    model = nn.ModuleDict({"a": shared, "b": shared, "c": nn.Linear(4, 4)})
    model["c"].weight = shared.weight
    constrain_(model, "c.weight", Sphere)
    assert constraints(model) == {"a.weight": Sphere(3)}
    constrain_(model, "b.weight", Sphere(3))
    assert constraints(model) == {"a.weight": Sphere(3)}
    assert constraints(model["c"]) == constraints(shared) == {"weight": Sphere(3)}
    with pytest.raises(InputError, match=r"a.weight of shape \(4, 4\) is on another manifold"):
        constrain_(model, "a.weight", Stiefel)
    other = constrain_(nn.Linear(4, 4), "weight", Stiefel)
    other.weight = shared.weight
    with pytest.raises(InputError, match=r"on different manifolds: Sphere.* and Stiefel"):
        constraints(nn.ModuleList([model, other]))


def test_again_with_the_same_manifold_projects_again() -> None:
    module = constrain_(holder(3, 5), "weight", Sphere)
    with torch.no_grad():
        module.weight.mul_(2)
    for name, manifold in constraints(module).items():
        constrain_(module, name, manifold)
    torch.testing.assert_close(module.weight.detach().norm(dim=-1), torch.ones(3))
    with pytest.raises(InputError, match=r"weight of shape \(3, 5\) is on another manifold"):
        constrain_(module, "weight", PoincareBall(5))
    varying = constrain_(holder(3, 5), "weight", lambda owner: Sphere(4))
    constrain_(varying, "weight", Sphere(4))
    assert [one.varies for one in constrained(varying)] == [True]


def test_projection_keeps_the_storage_and_can_be_refused() -> None:
    module = holder(3, 5)
    weight, before, pointer = module.weight, module.weight.clone(), module.weight.data_ptr()
    with pytest.raises(InputError, match=r"weight: Sphere.*3 of 3 points of shape \(3, 5\).*viol"):
        constrain_(module, "weight", Sphere, project=False)
    assert constraints(module) == {} and torch.equal(weight, before)
    constrain_(module, "weight", Sphere, project=False, tolerance=10.0)
    assert torch.equal(weight, before)
    constrain_(module, "weight", Sphere)
    assert module.weight is weight and weight.data_ptr() == pointer
    assert weight.grad_fn is None and weight.requires_grad


@pytest.mark.parametrize(
    ("shape", "named", "manifold", "message"),
    [
        ((3, 5), {"dtype": torch.float16}, Sphere, r"float16.*float32.*torch\.autocast"),
        ((3, 5), {"dtype": torch.bfloat16}, Sphere, r"\(3, 5\).*bfloat16.*torch\.autocast"),
        ((3, 5), {"dtype": torch.complex64}, Sphere, "complex64.*float32 or torch.float64"),
        ((3, 5), {}, Sphere(9), r"has shape \(3, 5\); points of Sphere.*\(\.\.\., 10\)"),
        ((5,), {}, Stiefel(3, 2), r"has shape \(5,\); points of Stiefel.*\(\.\.\., 3, 2\)"),
        ((5,), {}, Stiefel, r"shape \(5,\), from which the arguments of Stiefel do not follow"),
        ((5, 3), {}, Rotations, "arguments of Rotations do not follow; give an instance"),
        ((5, 3), {}, FixedRank, "arguments of FixedRank do not follow"),
        ((), {}, Sphere, r"shape \(\), from which"),
        ((5, 3), {}, "sphere", "needs a manifold, its class, or a function.*not str"),
        ((5, 3), {}, lambda owner: 3, "function that returns one; not int"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    shape: tuple[int, ...], named: dict[str, Any], manifold: Any, message: str
) -> None:
    module = holder(*shape, **named)
    before = module.weight.detach().clone()
    with pytest.raises(InputError, match=f"^weight.*{message}") as error:
        constrain_(module, "weight", manifold)
    assert "\n" not in str(error.value)
    assert constraints(module) == {} and torch.equal(module.weight, before)


def test_a_curvature_that_is_learnt_comes_from_the_module() -> None:
    module = holder(3, 5)
    module.curvature = nn.Parameter(torch.tensor(-2.0))
    ball = PoincareBall(5, module.curvature)
    with pytest.raises(InputError, match=r"weight: PoincareBall.*holds a parameter.*a function"):
        constrain_(module, "weight", ball)
    with pytest.raises(InputError, match=r"weight: Power.*holds a parameter"):
        constrain_(module, "weight", Power(ball, 3))
    constrain_(module, "weight", lambda owner: PoincareBall(5, owner.curvature))
    assert constraints(module)["weight"] == PoincareBall(5, module.curvature)
    constrain_(holder(3, 5), "weight", PoincareBall(5, torch.tensor(-2.0)))


def test_integers_are_refused() -> None:
    module = nn.Module()
    module.weight = nn.Parameter(torch.ones(3, 4, dtype=torch.int64), requires_grad=False)
    with pytest.raises(InputError, match=r"weight of shape \(3, 4\) is torch.int64"):
        constrain_(module, "weight", Sphere)


def test_nan_is_refused() -> None:
    module = holder(3, 5)
    with torch.no_grad():
        module.weight[1, 2] = torch.nan
    with pytest.raises(InputError, match=r"weight: Sphere.*1 of 3 points"):
        constrain_(module, "weight", Sphere)


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Flatten())
    for name in ("0.weigth", "weight", "3.weight", "", "0", "0.weight."):
        with pytest.raises(InputError, match=r"Sequential has no parameter.*has 0.weight, 0.bias"):
            constrain_(model, name, Sphere)
    with pytest.raises(InputError, match="Flatten has no parameter 'weight'; it has none"):
        constrain_(nn.Flatten(), "weight", Sphere)
    long = nn.Sequential(*(nn.Linear(2, 2) for _ in range(10)))
    with pytest.raises(InputError, match=r"5\.bias and 8 more"):
        constrain_(long, "weight", Sphere)
    norm = nn.BatchNorm1d(3)
    with pytest.raises(InputError, match="no parameter 'running_mean'"):
        constrain_(norm, "running_mean", Sphere)


def test_a_parameter_without_shape_is_refused() -> None:
    with pytest.raises(InputError, match="weight has no shape yet"):
        constrain_(nn.LazyLinear(3), "weight", Sphere)


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_parametrisations_are_refused_and_never_hide_a_constraint() -> None:
    layer = nn.Linear(4, 3)
    parametrize.register_parametrization(layer, "weight", Doubled())
    with pytest.raises(InputError, match=r"weight is computed by a parametrisation.*remove_param"):
        constrain_(layer, "weight", Sphere)
    layer = constrain_(nn.Linear(4, 3), "weight", Sphere)
    parametrize.register_parametrization(layer, "weight", Doubled())
    with pytest.raises(InputError, match=r"0.weight should stay on Sphere.*no parameter any more"):
        constraints(nn.Sequential(layer))
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert constraints(layer) == {"weight": Sphere(3)}


def sphere_of(owner: Any) -> Manifold:
    return Sphere(owner.weight.shape[-1] - 1)


def test_copies_and_pickles_keep_their_own_record() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    constrain_(constrain_(model, "0.weight", Sphere), "1.weight", sphere_of)
    expected = {"0.weight": Sphere(3), "1.weight": Sphere(2)}
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert constraints(other) == expected
        owners = {id(one.owner) for one in constrained(other)}
        assert not owners & {id(module) for module in model.modules()}
        constrain_(other, "0.bias", Euclidean(3))
    assert constraints(model) == expected
    assert constraints(model.to(torch.float64)) == expected
    assert constraints(model.to("meta")) == expected
