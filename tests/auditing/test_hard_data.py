"""Data that are unusual but legitimate are audited, and what cannot be decided is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from immersion.auditing.metrics import metric_names
from immersion.auditing.prepare import stratified_rows
from immersion.auditing.result import Audit
from immersion.auditing.run import audit
from immersion.core.errors import ModelError
from immersion.datasets import Samples

RNG = np.random.default_rng(0)


def classifier(inputs: int = 8, classes: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, classes))


def points(n: int = 90, width: int = 8) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, width)).astype(np.float32)


def verdicts(result: Audit) -> dict[str, str]:
    return {check.id: check.verdict for check in result.checks}


def require_json(result: Audit) -> None:
    """Strict JSON: no NaN, and every sentence there."""
    assert json.loads(result.json())["schema"] == "immersion.audit/1"
    assert "<!doctype html>" in result.html().lower()


def test_without_labels_the_label_checks_do_not_apply() -> None:
    result = audit(classifier(), points())
    assert verdicts(result)["wrong_labels"] == "inapplicable"
    assert verdicts(result)["tangled_classes"] == "inapplicable"
    assert result.accuracy is None
    require_json(result)


def test_constant_data_are_not_decidable() -> None:
    result = audit(classifier(), (np.ones((60, 8), np.float32), np.arange(60) % 3))
    assert all(not layer.two_nn.decidable for layer in result.evidence.everywhere)
    assert verdicts(result)["off_data_sensitivity"] == "inapplicable"
    require_json(result)


def test_duplicates_are_left_out_and_named() -> None:
    x = np.concatenate([points(80), points(80)[:10]])
    result = audit(classifier(), (x, np.arange(90) % 3))
    measured = result.evidence.everywhere[0].two_nn
    assert measured.n == 70
    assert any("coincide" in caveat for caveat in measured.caveats)


def test_classes_with_few_samples_are_not_decidable() -> None:
    y = np.zeros(200, int)
    y[:100], y[100:103] = 1, 2
    result = audit(classifier(), (points(200), y))
    per_class = result.evidence.everywhere[0].per_class
    assert per_class["1"].decidable
    assert not per_class["2"].decidable
    require_json(result)


def test_missing_classes_are_matched_by_their_number() -> None:
    model = nn.Sequential(nn.Identity())
    x = np.eye(10, dtype=np.float32)[np.repeat([3, 7], 40)] + points(80, 10) * 0.01
    result = audit(model, (x, np.repeat([3, 7], 40)))
    assert result.accuracy is not None
    assert result.accuracy.value == 1


def test_a_network_of_token_numbers_has_no_input_geometry() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(50, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.embedding(tokens).mean(1))

    torch.manual_seed(0)
    tokens = RNG.integers(0, 50, (120, 6))
    result = audit(Bag(), (tokens, np.arange(120) % 3))
    assert result.evidence.input is None
    assert [layer.name for layer in result.evidence.everywhere] == ["embedding", "head"]
    assert verdicts(result)["off_data_sensitivity"] == "inapplicable"
    require_json(result)


def test_an_autoencoder_without_labels() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 2), nn.Linear(2, 20))
    # Five-dimensional data cannot pass two directions.
    x = np.random.default_rng(0).normal(size=(800, 5)) @ np.random.default_rng(1).normal(
        size=(5, 20)
    )
    result = audit(model, x.astype(np.float32))
    (squeeze,) = [finding for finding in result.findings if finding.id == "squeeze"]
    assert squeeze.layer == "0"
    require_json(result)


def test_a_model_without_parameters_and_one_without_derivatives() -> None:
    class Step(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([(x.sum(1) > 0).float(), (x.sum(1) <= 0).float()], 1)

    x = points(120)
    result = audit(nn.Sequential(Step()), (x, (x.sum(1) <= 0).astype(int)))
    assert verdicts(result)["off_data_sensitivity"] in {"undecided", "clear"}
    require_json(result)


def test_a_layer_with_nan_is_named_and_left_out() -> None:
    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sqrt()

    model = nn.Sequential(nn.Linear(8, 16), Root(), nn.Linear(16, 3))
    torch.manual_seed(0)
    result = audit(model, (points(), np.arange(90) % 3))
    assert [name for name, _ in result.skipped] == ["1", "2"]
    assert all("NaN" in why for _, why in result.skipped)
    assert "NaN 或无穷大" in result.html()
    assert [layer.name for layer in result.evidence.layers] == ["0"]
    require_json(result)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint8, bool])
def test_types_of_numbers(dtype: type) -> None:
    x = (np.abs(points()) * 50).astype(dtype)
    require_json(audit(classifier(), (x, np.arange(90) % 3)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_types_of_weights(dtype: torch.dtype) -> None:
    require_json(audit(classifier().to(dtype), (points(), np.arange(90) % 3)))


@pytest.mark.parametrize(
    ("shape", "model", "note"),
    [
        (
            (90, 8, 8),
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)),
            "channel_added",
        ),
        (
            (90, 8, 8, 3),
            nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 3)),
            "channels_first",
        ),
        ((90, 1, 8, 8), nn.Sequential(nn.Linear(64, 3)), "flattened"),
        (
            (90, 64),
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)),
            "square_image",
        ),
    ],
)
def test_layouts_are_fitted_and_said(shape: tuple[int, ...], model: nn.Module, note: str) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result = audit(model, (x, np.arange(90) % 3))
    assert f"layout_{note}" in {id for id, _ in result.evidence.data.notes}


def test_a_sample_keeps_the_proportions_of_the_classes() -> None:
    y = np.repeat([0, 1, 2], [700, 200, 100])
    rows = stratified_rows(1000, y, 100, seed=3)
    assert len(rows) == len(set(rows)) == 100
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(np.bincount(y[rows]), [70, 20, 10])
    assert not np.array_equal(rows, stratified_rows(1000, y, 100, seed=4))


def test_samples_in_findings_are_rows_of_the_users_data() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(3, 8) * 20
    y = np.arange(400) % 3
    x = (centres[y] + rng.normal(size=(400, 8))).astype(np.float32)
    shown = y.copy()
    shown[:40] = (shown[:40] + 1) % 3
    result = audit(classifier(), (x, shown), samples=300, seed=5)
    (finding,) = [f for f in result.findings if f.id == "wrong_labels"]
    expected = {int(row) for row in result.evidence.data.rows if row < 40}
    assert set(finding.samples) == expected


def test_every_metric_name_has_a_value(sound_audit: Audit) -> None:
    layers = [layer.name for layer in sound_audit.evidence.everywhere]
    assert metric_names(layers, labelled=True) == list(sound_audit.metrics)


def test_the_same_seed_gives_the_same_bytes() -> None:
    data = Samples(points(), np.arange(90, dtype=np.int64) % 3, ("a", "b", "c"))
    first, second = (audit(classifier(), data, seed=4).json() for _ in range(2))
    assert first == second


def test_the_model_is_left_as_it_was() -> None:
    model = classifier().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    audit(model, (points(), np.arange(90) % 3))
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(not module._forward_hooks for module in model.modules())


def test_the_model_comes_back_from_its_device() -> None:
    model = classifier()
    with pytest.raises(ModelError):
        audit(model, (points(), np.arange(90) % 3), device="warp9")
    assert next(model.parameters()).device.type == "cpu"
    result = audit(model, (points(), np.arange(90) % 3), device="cpu")
    assert result.provenance["device"] == "cpu"
    assert next(model.parameters()).device.type == "cpu"


def test_the_output_outlives_the_files_of_the_capture() -> None:
    result = audit(classifier(), (points(), np.arange(90) % 3), memory=1000)
    output = result.evidence.output
    assert output is not None
    assert not isinstance(output, np.memmap)
    expected = classifier()(torch.from_numpy(points())).detach().numpy()
    np.testing.assert_allclose(output, expected, atol=1e-5)
