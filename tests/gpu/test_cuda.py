"""The same answers with the model and the search on a CUDA device. Run by `make gpu-test`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from immersion.auditing.run import audit
from immersion.datasets import digits
from immersion.learned.capture import capture
from immersion.learned.immersion import Immersion
from immersion.models import digits_convnet
from immersion.sampled.graph import Exact, neighbor_graph


@pytest.fixture(autouse=True, scope="module")
def cuda() -> None:
    assert torch.cuda.is_available(), "these tests need a CUDA device"


def test_the_graph_is_that_of_the_cpu_bit_for_bit() -> None:
    x = digits().x[:3000].reshape(3000, -1)
    there = neighbor_graph(x, 15, device="cuda")
    here = neighbor_graph(x, 15, search=Exact("faiss"))
    np.testing.assert_array_equal(there.indices, here.indices)
    np.testing.assert_array_equal(there.distances, here.distances)
    assert there.search == Exact("torch")


def test_capture_respects_the_device() -> None:
    x = torch.from_numpy(digits().x[:300]).float() / 255
    with capture(digits_convnet(), x) as here, capture(digits_convnet().cuda(), x) as there:
        assert list(here) == list(there)
        for name, layer in here.items():
            np.testing.assert_allclose(
                there[name].activations, layer.activations, atol=2e-3, rtol=2e-3
            )


def test_derivatives_on_the_device() -> None:
    chart = Immersion(lambda z: torch.cat([z.sin(), z.cos()], -1), (2,))
    z = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(chart.gram(z.cuda()).cpu(), chart.gram(z))


def test_an_audit_finds_the_same_and_gives_the_model_back() -> None:
    data = digits().subset(range(2000))
    model = digits_convnet()
    there = audit(model, data, device="cuda")
    here = audit(digits_convnet(), data)
    assert next(model.parameters()).device.type == "cpu"
    assert str(there.provenance["device"]).startswith("cuda")
    assert [(f.id, f.layer) for f in there.findings] == [(f.id, f.layer) for f in here.findings]
    for a, b in zip(there.evidence.everywhere, here.evidence.everywhere, strict=True):
        assert abs(a.two_nn.value - b.two_nn.value) < a.two_nn.stderr
