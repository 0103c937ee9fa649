"""Units that a layer itself holds constant, against planted faults and a brute-force oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from immersion.learned.capture import capture
from immersion.learned.units import UnitRange


def plant(layer: nn.Module, *units: int, bias: float = -50.0) -> None:
    """These units put out `bias` whatever they are fed."""
    with torch.no_grad():
        layer.weight[list(units)] = 0
        layer.bias[list(units)] = bias


def silenced(model: nn.Module, x: Tensor) -> dict[str, list[int]]:
    """By layer, those that silence any."""
    found = capture(model, [x[:3], x[3:]], max_features=20)
    every = {name: np.flatnonzero(layer.silenced).tolist() for name, layer in found.items()}
    return {name: units for name, units in every.items() if units}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def vectors() -> Tensor:
    return torch.randn(50, 5)


def images() -> Tensor:
    return torch.randn(20, 2, 6, 6)


@pytest.mark.parametrize("inplace", [False, True])
def test_linear_then_relu(inplace: bool) -> None:
    """Constant already after the linear layer: it is to blame, and no layer after it."""
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(inplace), nn.Dropout(), nn.Linear(6, 3))
    plant(model[0], 1, 4)
    assert silenced(model, vectors()) == {"0": [1, 4]}


@pytest.mark.parametrize("inplace", [False, True])
def test_relu_that_is_never_reached(inplace: bool) -> None:
    """Far below zero but varying: the ReLU is to blame."""
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(inplace), nn.Linear(6, 3))
    with torch.no_grad():
        model[0].bias[[0, 3]] = -100
    assert silenced(model, vectors()) == {"1": [0, 3]}


def test_convolution_normalisation_relu() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 1, groups=4), nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip
    with torch.no_grad():
        model[1].bias[2] = -100
    # The grouped convolution reads nothing but that channel, so it inherits the fault.
    assert silenced(model, images()) == {"2": [2]}
    with torch.no_grad():
        model[1].weight[1] = 0
    assert silenced(model, images()) == {"1": [1], "2": [2]}


def test_mixing_layers_inherit_only_when_all_is_constant() -> None:
    """Unit 1 of a square layer is fed by all units, so a constant input unit 1 excuses nothing."""
    model = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5))
    plant(model[0], 1)
    plant(model[2], 1)
    assert silenced(model, vectors()) == {"0": [1], "2": [1]}
    plant(model[0], 0, 1, 2, 3, 4)
    assert silenced(model, vectors()) == {"0": [0, 1, 2, 3, 4]}


def test_gelu_and_sigmoid() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 4), nn.Sigmoid())
    with torch.no_grad():
        model[0].bias[2] = -1000
        model[2].bias[3] = 1000
    assert silenced(model, vectors()) == {"1": [2], "3": [3]}


def test_functional_relu_cannot_be_seen() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.norm(torch.relu(self.a(x))))

    model = Functional()
    with torch.no_grad():
        model.a.bias[1] = -100
    assert silenced(model, vectors()) == {}


def test_constant_pixels_are_nobodys_fault() -> None:
    x = images()
    x[:, :, :2] = 0.5
    x[:, 1] = 0
    model = nn.Sequential(
        nn.Identity(), nn.Dropout(), nn.AvgPool2d(2), nn.MaxPool2d(1), nn.Dropout2d(), nn.Flatten(),
        nn.ReLU(), nn.BatchNorm1d(18), nn.Linear(18, 3),
    )  # fmt: skip
    assert silenced(model, x) == {}


def test_one_sample_silences_nothing() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2))
    found = capture(model, vectors()[:1])
    assert not any(layer.silenced.any() for layer in found.values())


def test_attention_and_recurrence() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(7, 4), nn.GRU(4, 4, batch_first=True)
            self.attn = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            h, _ = self.rnn(self.embed(x))
            return self.attn(query=h, key=h, value=h)[0]

    model = Model()
    with torch.no_grad():
        model.embed.weight[:, 1] = 3
        model.attn.out_proj.weight[2] = 0
    assert silenced(model, torch.randint(0, 7, (30, 5))) == {"embed": [1], "attn[0]": [2]}


def test_folded_windows() -> None:
    """Channels of a convolution on frames that are folded into the batch."""

    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(2, 3, 3), nn.ReLU()
            self.depth = nn.Conv2d(3, 3, 1, groups=3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.depth(self.act(self.conv(x.flatten(0, 1))))
            return y.reshape(*x.shape[:2], -1).sum((1, 2))

    model = Frames()
    with torch.no_grad():
        model.conv.bias[1] = -100
    assert silenced(model, torch.randn(8, 4, 2, 5, 5)) == {"act": [1]}


@pytest.mark.parametrize("trial", range(8))
def test_brute_force(trial: int) -> None:
    """A unit is silenced when it is constant and something in its receptive field is not."""
    torch.manual_seed(trial)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=3), nn.BatchNorm2d(6), nn.ReLU6(),
        nn.Conv2d(6, 4, 1), nn.Hardtanh(),
    )  # fmt: skip
    with torch.no_grad():
        for index in (0, 2, 5):
            model[index].bias += torch.randn_like(model[index].bias) * 2
            model[index].weight[torch.rand(len(model[index].weight)) < 0.3] = 0
    model.eval()
    x = images()
    x[:, int(torch.randint(0, 2, ()))] = 1
    start = x
    expected: dict[str, list[int]] = {}
    with torch.no_grad():
        for i, layer in enumerate(model):
            y = layer(x)
            units = []
            for unit in range(y.shape[1]):
                if isinstance(layer, nn.Conv2d):
                    group = unit // (y.shape[1] // layer.groups)
                    width = x.shape[1] // layer.groups
                    sources = range(group * width, (group + 1) * width)
                else:
                    sources = [unit]
                fed = any(len(x[:, s].unique()) > 1 for s in sources)
                if fed and len(y[:, unit].unique()) == 1:
                    units.append(unit)
            if units:
                expected[str(i)] = units
            x = y
    assert silenced(model, start) == expected
    assert expected


def test_ranges_are_those_of_the_whole_output() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(48, 5).double())
    model[2].register_forward_pre_hook(lambda m, args: (args[0].double(),))
    x = images()
    found = capture(model, [x[:3], x[3:]], max_features=12)
    y = model[0](x).detach()
    np.testing.assert_allclose(found["0"].unit_low, y.amin((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(found["0"].unit_high, y.amax((0, 2, 3)), atol=1e-6)
    assert found["0"].units == 3 and found["2"].units == 5
    np.testing.assert_array_equal(found["2"].unit_low, found["2"].activations.min(0))


def test_values_equal_to_rounding_are_constant() -> None:
    """As a convolution of constants makes them at the end of a batch and in its middle."""
    eps = torch.finfo(torch.float32).eps
    low = torch.tensor([1.0, 1.0, 0.0, -2.0, math.inf, 0.0])
    high = torch.tensor([1 + 2 * eps, 1 + 100 * eps, 0.0, -2 + 4 * eps, math.inf, 1e-30])
    assert UnitRange(low, high).constant().tolist() == [True, False, True, True, True, False]
    whole = UnitRange(torch.tensor([5, 5]), torch.tensor([5, 6]))
    assert whole.constant().tolist() == [True, False]
