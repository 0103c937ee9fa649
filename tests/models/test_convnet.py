from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import math
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

import immersion.models
from immersion.core.errors import InputError
from immersion.datasets import digits
from immersion.models import ConvNet, digits_convnet

ROOT = Path(__file__).resolve().parents[2]
LEAVES = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten"]
LEAVES += ["fc1", "relu3", "dropout", "fc2"]


def trainer():
    path = ROOT / "tools/train_digits_convnet.py"
    spec = importlib.util.spec_from_file_location("train_digits_convnet", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def card() -> dict:
    return json.loads((ROOT / "accuracy/digits_convnet.json").read_text(encoding="utf-8"))


def small() -> ConvNet:
    return ConvNet(channels=(2, 3), hidden=8, classes=4, image=(1, 16, 16))


def test_leaves_run_once_each_in_the_order_of_their_names() -> None:
    network, ran = ConvNet().eval(), []
    for name, module in network.named_modules():
        if name:
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    network(torch.rand(2, 1, 28, 28))
    assert ran == LEAVES
    assert [name for name, _ in network.named_children()] == LEAVES
    assert not any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()
    )


def test_shapes_that_the_docstring_promises() -> None:
    network, shapes = ConvNet().eval(), {}
    for name, module in network.named_children():
        module.register_forward_hook(
            lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])})
        )
    network(torch.rand(2, 1, 28, 28))
    expected = {"conv1": (24, 24, 24), "pool1": (24, 12, 12), "conv2": (48, 8, 8)}
    expected |= {"pool2": (48, 4, 4), "flatten": (768,), "fc1": (128,), "fc2": (10,)}
    assert {name: shapes[name] for name in expected} == expected
    assert sum(p.numel() for p in network.parameters()) == 129_194


@pytest.mark.parametrize("image", [(1, 16, 16), (3, 32, 32), (1, 17, 40), (4, 31, 16), (1, 28, 28)])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_every_image_size_that_it_takes(image: tuple[int, int, int], batch: int) -> None:
    network = ConvNet(channels=(2, 3), hidden=5, classes=4, image=image)
    assert network(torch.rand(batch, *image)).shape == (batch, 4)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"channels": (24,)}, "channels is .*2 positive integers"),
        ({"channels": (24, 0)}, r"channels is \(24, 0\)"),
        ({"channels": 24}, "channels is 24"),
        ({"hidden": 0}, "hidden is 0; give a positive integer"),
        ({"hidden": 1.5}, "hidden is 1.5"),
        ({"classes": -1}, "classes is -1"),
        ({"classes": True}, "classes is True"),
        ({"image": (28, 28)}, r"image is \(28, 28\); give 3"),
        ({"image": (1, 15, 28)}, r"\(1, 15, 28\), too small.*at least 16"),
        ({"image": (1, 28, 15)}, "too small"),
        ({"image": (0, 28, 28)}, "positive integers"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"dropout": math.nan}, "dropout is nan"),
    ],
)
def test_impossible_sizes(options: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        ConvNet(**options)


def test_batches_of_another_shape_or_type() -> None:
    network = ConvNet()
    with pytest.raises(
        InputError, match=r"shape \(5, 28, 28\); this network takes \(n, 1, 28, 28\)"
    ):
        network(torch.rand(5, 28, 28))
    with pytest.raises(InputError, match=r"\(5, 3, 28, 28\)"):
        network(torch.rand(5, 3, 28, 28))
    with pytest.raises(
        InputError, match=r"uint8; give floats in \[0, 1\], such as x.float\(\) / 255"
    ):
        network(torch.zeros(5, 1, 28, 28, dtype=torch.uint8))


def test_a_sample_does_not_depend_on_its_batch_and_dropout_only_trains() -> None:
    x = torch.rand(7, 1, 16, 16)
    network = small().double().eval()
    alone = torch.cat([network(row[None]) for row in x.double()])
    torch.testing.assert_close(network(x.double()), alone, rtol=1e-12, atol=1e-12)
    network.train()
    assert not torch.equal(network(x.double()), network(x.double()))


def test_gradients_reach_every_parameter_and_state_survives_copies() -> None:
    network = small().train()
    network(torch.rand(4, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    other = copy.deepcopy(network).eval()
    again = small().eval()
    again.load_state_dict(network.state_dict(), assign=True)
    x = torch.rand(3, 1, 16, 16)
    torch.testing.assert_close(other(x), again(x), rtol=0, atol=0)
    exported = torch.export.export(other, (x,)).module()
    torch.testing.assert_close(exported(x), other(x))


def test_the_bundled_network_is_fresh_frozen_in_eval_mode() -> None:
    network = digits_convnet()
    assert isinstance(network, ConvNet)
    assert not network.training
    assert {(p.dtype, p.device.type) for p in network.parameters()} == {(torch.float32, "cpu")}
    with torch.no_grad():
        network.fc2.bias.add_(1)
    assert not torch.equal(network.fc2.bias, digits_convnet().fc2.bias)


def test_accuracy_on_the_bundled_digits() -> None:
    """The bundled digits are a stratified half of the test set, so the test accuracy holds there.

    The bar is 98.8 % less three binomial standard errors of 5,000 images (98.34 %); the card's
    own figure must be met within three standard errors too. A draw without replacement from the
    test set varies less than binomially, so both bounds are on the wide side.
    """
    data = digits()
    with torch.no_grad():
        guess = digits_convnet()(torch.from_numpy(data.x).float() / 255).argmax(1).numpy()
    measured = float((guess == data.y).mean())
    assert measured >= 0.988 - 3 * math.sqrt(0.988 * 0.012 / data.n)
    stated = card()["test_accuracy"]
    assert abs(measured - stated) <= 3 * math.sqrt(stated * (1 - stated) / data.n)


def test_the_card_describes_the_weights_that_ship() -> None:
    stored = files("immersion.models") / "digits_convnet.safetensors"
    assert len(stored.read_bytes()) < 1_000_000
    with as_file(stored) as path, safe_open(path, "pt") as file:
        inside = json.loads(file.metadata()["card"])
    outside = card()
    assert inside.items() <= outside.items()
    assert outside["test_accuracy"] >= 0.988
    assert outside["test_n"] == 10_000
    expected = math.sqrt(outside["test_accuracy"] * (1 - outside["test_accuracy"]) / 10_000)
    assert outside["test_accuracy_stderr"] == pytest.approx(expected)
    assert outside["parameters"] == 129_194
    digest = hashlib.sha256()
    for name, tensor in sorted(digits_convnet().state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest() == outside["weights_sha256"]


def test_shifts_move_whole_images_by_at_most_two_pixels() -> None:
    tool = trainer()
    x = torch.zeros(200, 1, 28, 28)
    x[:, 0, 14, 13] = 1
    moved = tool.shifted(x, torch.Generator().manual_seed(0))
    assert moved.shape == x.shape
    rows, columns = (moved[:, 0] == 1).nonzero(as_tuple=True)[1:]
    assert len(rows) == 200
    assert set((rows - 14).tolist()) == set((columns - 13).tolist()) == {-2, -1, 0, 1, 2}


def test_training_is_repeatable_and_writes_what_loads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 256), ("test", 64)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 10, n, dtype=np.uint8)
    np.savez(tmp_path / "mnist.npz", **arrays)
    for run in "ab":
        command = [sys.executable, ROOT / "tools/train_digits_convnet.py", "--epochs", "1"]
        command += ["--mnist", tmp_path / "mnist.npz", "--out", tmp_path / f"{run}.safetensors"]
        subprocess.run(
            [*command, "--card", tmp_path / f"{run}.json"], check=True, capture_output=True
        )
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    written = json.loads((tmp_path / "a.json").read_text())
    assert written.keys() == card().keys()
    assert str(tmp_path) not in (tmp_path / "a.json").read_text()


def test_the_package_names_its_members_only() -> None:
    assert dir(immersion.models) == ["ConvNet", "digits_convnet"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = immersion.models.nothing
