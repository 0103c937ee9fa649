"""Votes of neighbours against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from immersion.core.errors import InputError
from immersion.measure.agreement import label_agreement, neighbor_votes
from immersion.sampled.graph import neighbor_graph


def test_votes_by_hand() -> None:
    rng = np.random.default_rng(0)
    graph = neighbor_graph(rng.normal(size=(200, 3)), 9)
    labels = rng.integers(0, 4, 200)
    found = label_agreement(graph, labels, 4, k=7)
    for i in range(200):
        near = labels[graph.indices[i, :7]]
        np.testing.assert_allclose(found.votes[i], [np.mean(near == c) for c in range(4)])
    against = [np.mean(labels[graph.indices[i, :7]] != labels[i]) for i in range(200)]
    assert found.disagreement.value == pytest.approx(np.mean(against))
    assert found.disagreement.stderr == pytest.approx(np.std(against, ddof=1) / np.sqrt(200))
    np.testing.assert_allclose(found.mixing[2], found.votes[labels == 2].mean(axis=0))
    np.testing.assert_allclose(found.votes.sum(axis=1), 1)


def test_labels_without_place_meet_their_null() -> None:
    rng = np.random.default_rng(0)
    graph = neighbor_graph(rng.normal(size=(3000, 4)), 15)
    labels = rng.choice(3, 3000, p=[0.7, 0.2, 0.1])
    measured = label_agreement(graph, labels, 3).disagreement
    assert measured.null is not None
    assert abs(measured.z_from_null) < 4
    assert measured.null.value == pytest.approx(1 - 0.49 - 0.04 - 0.01, abs=0.02)


def test_a_class_without_samples_has_no_mixing() -> None:
    graph = neighbor_graph(np.arange(6.0)[:, None], 2)
    found = label_agreement(graph, np.array([0, 0, 0, 2, 2, 2]), 3, k=2)
    assert np.isnan(found.mixing[1]).all()
    assert found.votes[:, 1].sum() == 0


def test_votes_of_other_labels_on_the_same_graph() -> None:
    neighbors = np.array([[1, 2], [0, 2], [0, 1]])
    np.testing.assert_array_equal(
        neighbor_votes(neighbors, np.array([0, 1, 1]), 2), [[0, 1], [0.5, 0.5], [0.5, 0.5]]
    )


def test_bad_input() -> None:
    graph = neighbor_graph(np.arange(6.0)[:, None], 2)
    with pytest.raises(InputError, match="5 labels for 6 points"):
        label_agreement(graph, np.zeros(5, int), 1, k=2)
    for outside in (12, -1):
        with pytest.raises(InputError, match=f"from {outside} to {outside}; 3 classes"):
            label_agreement(graph, np.full(6, outside), 3, k=2)
    with pytest.raises(InputError, match="2 neighbours a point and 3 are needed"):
        label_agreement(graph, np.zeros(6, int), 1, k=3)
