"""What people hand to capture, and what they are told when it cannot work."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from immersion.core.errors import ImmersionError, InputError, ModelError
from immersion.learned.batches import to_model
from immersion.learned.capture import capture
from immersion.learned.modules import expected_input


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Tanh(), nn.Linear(4, 2))


X = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
Y = torch.arange(10)


def by_hand(model: Any, x: Tensor = X) -> Tensor:
    hidden = torch.tanh(x @ model[0].weight.T + model[0].bias)
    return (hidden @ model[3].weight.T + model[3].bias).detach()


def read_only() -> np.ndarray:
    array = X.numpy().astype(">f8")
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "batches",
    [
        lambda: X,
        lambda: X.numpy().astype(np.float64),
        read_only,
        lambda: [X[:1], X[1:9], X[9:]],
        lambda: [X[:0], X[:4], X[4:4], X[4:]],
        lambda: (X[i : i + 3] for i in range(0, 10, 3)),
        lambda: DataLoader(TensorDataset(X, Y), batch_size=4),
        lambda: [(X[:5], Y[:5]), [X[5:], Y[5:]]],
        lambda: [((X[:5],), Y[:5]), ((X[5:],), Y[5:])],
        lambda: [{"input": X[:5].numpy()}, {"input": X[5:]}],
        lambda: [X[i : i + 1] for i in range(10)],
    ],
    ids=["tensor", "float64 array", "read-only, foreign bytes", "smaller last", "empty batches",
         "generator", "DataLoader", "tuples", "nested tuples", "mappings", "batches of one"],
)  # fmt: skip
def test_forms_of_batches(batches: Callable[[], Any]) -> None:
    model = mlp()
    found = capture(model, batches())
    assert found.n == 10
    np.testing.assert_allclose(found["3"].activations, by_hand(model), atol=1e-6)
    np.testing.assert_allclose(found.output, by_hand(model), atol=1e-6)
    np.testing.assert_array_equal(found["1"].activations, found["0"].activations)


def test_one_array_is_cut_into_batches() -> None:
    model, sizes = mlp(), []
    model.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    x = torch.randn(600, 3)
    assert capture(model, x).n == 600
    assert sizes == [2, 3, 256, 256, 88]


def test_positional_inputs() -> None:
    layer = nn.Bilinear(3, 2, 4)
    a, b = torch.randn(6, 3), torch.randn(6, 2)
    found = capture(layer, [((a[:4], b[:4]), "label"), ((a[4:], b[4:]), "label")])
    expected = torch.einsum("ni,oij,nj->no", a, layer.weight, b) + layer.bias
    np.testing.assert_allclose(found["(model)"].activations, expected.detach(), atol=1e-5)


@pytest.mark.parametrize(
    ("batches", "word"),
    [
        ([], "no batch"),
        (torch.empty(0, 3), "no batch"),
        ([torch.empty(0, 3)], "no batch"),
        (torch.tensor(1.0), "sample axis"),
        ({"x": X}, "met dict"),
        (3, "met int"),
        (["text"], "met str"),
        ([{}], "nothing"),
        ([()], "nothing"),
        ([np.array(["a", "b"])], "<U1"),
    ],
)
def test_batches_that_are_none(batches: Any, word: str) -> None:
    with pytest.raises(InputError, match=word):
        capture(mlp(), batches)


def test_wrong_shape_says_what_was_met_and_expected() -> None:
    with pytest.raises(ModelError) as caught:
        capture(mlp(), torch.randn(8, 5))
    assert "(8, 5) float32" in str(caught.value)
    assert "(n, ..., 3) for `0` (Linear)" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv1d(2, 3, 3), "(n, 2, length) for `(model)` (Conv1d)"),
        (nn.ConvTranspose2d(5, 3, 3), "(n, 5, height, width) for `(model)` (ConvTranspose2d)"),
        (nn.Conv3d(1, 3, 3), "(n, 1, depth, height, width) for `(model)` (Conv3d)"),
        (nn.Embedding(7, 2), "integers below 7 for `(model)` (Embedding)"),
        (nn.GRU(4, 2, batch_first=True), "(n, length, 4) for `(model)` (GRU)"),
        (nn.GRU(4, 2), "(length, n, 4) for `(model)` (GRU)"),
        (nn.ReLU(), None),
    ],
)
def test_expected_input(layer: nn.Module, expected: str | None) -> None:
    assert expected_input(layer) == expected


class Failing(nn.Module):
    """Raises in its third pass over data; the two probes come before."""

    def __init__(self, error: BaseException, at: int = 5) -> None:
        super().__init__()
        self.layer, self.error, self.at, self.passes = nn.Linear(3, 300), error, at, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        out = self.layer(x)
        if self.passes == self.at:
            raise self.error
        return out


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (RuntimeError("first line\nsecond"), ModelError),
        (TypeError("odd"), ModelError),
        (AssertionError(), ModelError),
        (InputError("the model's own"), InputError),
        (MemoryError(), MemoryError),
        (torch.OutOfMemoryError("full"), torch.OutOfMemoryError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_failure_leaves_nothing_behind(
    error: BaseException, seen: type[BaseException], temporary: Path
) -> None:
    model = Failing(error)
    model.layer.eval()
    with pytest.raises(seen) as caught:
        capture(model, [X] * 4, memory=1000)
    assert model.passes == 5
    if seen is ModelError:
        assert "\n" not in str(caught.value) and "(10, 3)" in str(caught.value)
    assert model.training and not model.layer.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not list(temporary.iterdir())
    assert torch.is_grad_enabled()


def test_failing_source_of_batches(temporary: Path) -> None:
    def batches() -> Iterator[Tensor]:
        yield X
        yield X
        raise OSError("the disk is gone")

    model = mlp()
    with pytest.raises(OSError, match="the disk is gone"):
        capture(model, batches(), memory=100)
    gc.collect()
    assert model.training and not list(temporary.iterdir())


def test_patterns() -> None:
    block = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    attention = nn.TransformerEncoderLayer(4, 2, 4, batch_first=True)
    model = nn.ModuleDict({"first": block, "second": nn.Sequential(nn.Linear(3, 4), attention)})
    model.forward = lambda x: model["second"](model["first"](x)[:, None])
    x = torch.randn(5, 3)
    assert list(capture(model, x, "first.*")) == ["first.0", "first.1"]
    assert list(capture(model, x, ["second.0", "first"])) == ["first", "second.0"]
    assert list(capture(model, x, "*attn*")) == ["second.1.self_attn"]
    assert list(capture(model, x, "(model)"))[-1] == "(model)"
    found = capture(model, x, "first")
    np.testing.assert_array_equal(found["first"].activations, block(x).detach())
    with pytest.raises(InputError) as caught:
        capture(model, x, ["first.0", "thrid.*"])
    assert "'thrid.*'" in str(caught.value) and "first.0, first.1, second.0" in str(caught.value)


def test_layer_inside_a_container_that_is_never_called() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    model.add_module("spare", nn.Linear(3, 3))
    model.forward = lambda x: model[0](x)
    assert dict(capture(model, X, ["(model)", "spare"]).skipped) == {
        "spare": "was not called in the forward pass"
    }
    with pytest.raises(InputError, match="spare: was not called"):
        capture(model, X, "spare")


def test_model_that_takes_its_own_batch_size_only() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flat, self.layer = nn.Flatten(0), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.flat(x).reshape(10, 3))

    model = Fixed()
    found = capture(model, [X, X + 1])
    assert dict(found.skipped) == {"flat": "its output (30,) shows no axis of 10 samples"}
    expected = torch.cat([X, X + 1]) @ model.layer.weight.T + model.layer.bias
    np.testing.assert_allclose(found["layer"].activations, expected.detach(), atol=1e-6)


def test_model_that_takes_pairs_only() -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            assert len(x) % 2 == 0
            return self.layer(x)

    model = Pairs()
    found = capture(model, [X[:6], X[6:]])
    np.testing.assert_allclose(found["layer"].activations, model.layer(X).detach(), atol=1e-6)


def test_model_that_catches_its_own_exceptions() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wrong, self.right = nn.Sequential(nn.Linear(9, 2)), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.wrong(x)
            except RuntimeError:
                return self.right(x)

    found = capture(Stubborn(), X)
    assert list(found) == ["right"]
    assert dict(found.skipped) == {"wrong.0": "was not called in the forward pass"}


def test_calls_that_come_late_and_outputs_that_change() -> None:
    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act, self.late = nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = self.act(self.a(x))
            return h if len(x) < 6 else self.act(self.late(h))[:, :2]

    found = capture(Moody(), [X[:4], X[4:]])
    assert list(found) == ["a", "act"] and found.output is None
    assert dict(found.skipped) == {
        "late": "is called for some batches only",
        "act#2": "is called for some batches only",
        "the model's output": "changes its shape between batches: shape (6, 2) is not that of the "
        "first batch",
    }


def test_batches_of_different_lengths() -> None:
    embed, rnn = nn.Embedding(9, 4), nn.GRU(4, 5, batch_first=True)

    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn, self.head = embed, rnn, nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(self.embed(x))[1][0])

    model = Text()
    batches = [torch.randint(0, 9, (4, 6)), torch.randint(0, 9, (3, 8))]
    found = capture(model, batches)
    assert list(found) == ["rnn[1]", "head"]
    assert set(dict(found.skipped)) == {"embed", "rnn[0]"}
    expected = torch.cat([model(x) for x in batches]).detach()
    np.testing.assert_allclose(found.output, expected, atol=1e-6)


class Total(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum()


def test_every_error_is_one_of_ours() -> None:
    with pytest.raises(ImmersionError, match="no layer of the model can be recorded"):
        capture(Total(), X)


def test_inputs_follow_the_model() -> None:
    double = nn.Linear(3, 2).double()
    assert to_model(double, X.numpy()).args[0].dtype == torch.float64
    assert to_model(double, X.half()).args[0].dtype == torch.float64
    assert to_model(double, Y).args[0].dtype == torch.int64
    assert to_model(nn.ReLU(), X.double()).args[0].dtype == torch.float64
    norm = nn.BatchNorm1d(3, affine=False).double()
    assert to_model(norm, X).args[0].dtype == torch.float64
    mixed = to_model(double, {"x": X, "mask": Y > 3, "flag": True})
    assert mixed.kwargs["x"].dtype == torch.float64 and mixed.kwargs["flag"] is True
    assert mixed.size == 10
    assert to_model(double, {"x": X}).rows([1, 1, 0]).kwargs["x"].equal(X.double()[[1, 1, 0]])
