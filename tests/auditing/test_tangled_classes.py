"""Two classes that overlap are found as one pair, those apart are not."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from immersion.auditing.run import audit


def blobs(apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Four classes: 0 and 1 `apart` from each other, 2 and 3 far from all."""
    centres = np.array([[0, 0], [apart, 0], [50, 0], [0, 50]], float)
    y = np.repeat(np.arange(4), 150)
    rng = np.random.default_rng(0)
    return (centres[y] + rng.normal(size=(600, 2))).astype(np.float32), y


def model() -> nn.Module:
    """A first layer that keeps the geometry, so that the last hidden layer is the data."""
    linear = nn.Linear(2, 5)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(5, 2))
        linear.bias.zero_()
    torch.manual_seed(0)
    return nn.Sequential(linear, nn.Linear(5, 4))


def test_overlap_is_one_finding_for_both_directions() -> None:
    x, y = blobs(apart=1.5)
    result = audit(model(), (x, y))
    (finding,) = [f for f in result.findings if f.id == "tangled_classes"]
    assert {finding.params["a"], finding.params["b"]} == {"0", "1"}
    assert finding.layer == "0"
    assert finding.severity == "high"
    assert finding.samples
    assert set(y[list(finding.samples)]) == {0, 1}
    here = finding.evidence["mixing"]
    assert here.null is not None
    assert here.null.value == 0.25
    # The Bayes error of two unit normals 1.5 apart is 23%; mixing lies between it and 50%.
    assert 0.2 < here.value < 0.5


def test_classes_apart_are_clear_and_the_closest_pair_is_named() -> None:
    x, y = blobs(apart=12)
    result = audit(model(), (x, y))
    check = next(check for check in result.checks if check.id == "tangled_classes")
    assert check.verdict == "clear"
    assert check.params["a"] != check.params["b"]


def test_small_classes_are_not_judged() -> None:
    x, y = blobs(apart=12)
    # Five samples of class 3 in the middle of class 2.
    keep = np.concatenate([np.flatnonzero(y < 3), np.flatnonzero(y == 3)[:5]])
    x, y = x[keep], y[keep]
    x[y == 3] = [50, 0]
    x[y == 3] += np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    assert [f for f in audit(model(), (x, y)).findings if f.id == "tangled_classes"] == []


def test_many_pairs_at_the_bound_pass_none_by_chance() -> None:
    """Labels without place: each of 380 directions has a true share of 5%, the bound itself."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1200, 2)).astype(np.float32)
    result = audit(nn.Sequential(nn.Identity(), nn.Linear(2, 20)), (x, np.arange(1200) % 20))
    layer = result.evidence.layers[0]
    assert layer.agreement is not None
    alone = layer.agreement.mixing - 1.645 * layer.agreement.mixing_stderr
    # One by one, some would pass.
    assert (alone > 0.05).sum() > 3
    assert [f for f in result.findings if f.id == "tangled_classes"] == []
