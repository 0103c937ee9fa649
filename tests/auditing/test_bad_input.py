"""Every error that the data or the model can cause: one clear line, before long work starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from immersion.auditing.gates import Gate
from immersion.auditing.run import audit
from immersion.core.errors import ImmersionError, InputError, ModelError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8)).astype(np.float32)
Y = np.arange(60) % 3


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


def refusal(kind: type[ImmersionError], *args: object, **kwargs: object) -> str:
    with pytest.raises(kind) as caught:
        audit(*args, **kwargs)  # pyright: ignore[reportArgumentType]
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_wrong_shape_shows_expected_and_met() -> None:
    said = refusal(ModelError, classifier(), (X[:, :5], Y))
    assert "(2, 5)" in said
    assert "8" in said
    assert "`0` (Linear)" in said


def test_wrong_channels_of_images() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3))
    said = refusal(ModelError, model, (RNG.normal(size=(60, 1, 8, 8)).astype("f"), Y))
    assert "(n, 3, height, width)" in said
    assert "(2, 1, 8, 8)" in said


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_says_where(bad: float) -> None:
    x = X.copy()
    x[17, 3] = bad
    said = refusal(InputError, classifier(), (x, Y))
    assert "17" in said


def test_one_class_only() -> None:
    said = refusal(InputError, classifier(), (X, np.full(60, 7)))
    assert "'7'" in said
    assert "60" in said


def test_fewer_samples_than_neighbours() -> None:
    said = refusal(InputError, classifier(), (X[:10], Y[:10]))
    assert "10 samples" in said
    assert "15 neighbours" in said


def test_labels_of_another_length() -> None:
    said = refusal(InputError, classifier(), (X, Y[:59]))
    assert "59" in said
    assert "60" in said


@pytest.mark.parametrize("option", [{"neighbors": 2}, {"samples": 1}, {"neighbors": -4}])
def test_options_out_of_range(option: dict[str, int]) -> None:
    assert str(next(iter(option.values()))) in refusal(InputError, classifier(), (X, Y), **option)


def test_layers_that_do_not_exist_are_listed() -> None:
    assert "0, 1, 2" in refusal(InputError, classifier(), (X, Y), layers="conv*")


def test_an_unknown_gate_is_refused_with_close_names() -> None:
    said = refusal(InputError, classifier(), (X, Y), gates=[Gate.parse("acuracy<0.9")])
    assert "accuracy" in said


def test_an_unknown_device() -> None:
    assert "warp9" in refusal(ModelError, classifier(), (X, Y), device="warp9")


def test_a_model_of_nan_weights() -> None:
    model = classifier()
    with torch.no_grad():
        model[0].weight[:] = torch.nan
    assert "60 of 60 samples" in refusal(ModelError, model, (X, Y))


def test_a_model_that_fails_is_quoted() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise KeyError("no such thing")

    assert "no such thing" in refusal(ModelError, Broken(), (X, Y))


def test_a_value_that_is_not_decidable_fails_its_gate() -> None:
    for condition in ("fc.two_nn<3", "fc.two_nn>3"):
        assert Gate.parse(condition).fails({"fc.two_nn": float("nan")})
        assert Gate.parse(condition).fails({})


@pytest.mark.parametrize("form", ["accuracy", "accuracy<", "<0.5", "accuracy<x", "a<nan", ""])
def test_gates_of_another_form(form: str) -> None:
    with pytest.raises(InputError, match="--fail-if"):
        Gate.parse(form)
