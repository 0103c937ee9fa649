from __future__ import annotations

import numpy as np
import pytest
import torch

from immersion.embed.pca import pca


@pytest.mark.parametrize("width", [5, 400])
def test_against_the_full_decomposition(width: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, width)) * np.geomspace(10, 0.1, width)
    centred = x - x.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    found = pca(x, 2)
    expected = left[:, :2] * scale[:2]
    signs = np.sign((found.coordinates * expected).sum(axis=0))
    np.testing.assert_allclose(found.coordinates, expected * signs, atol=2e-2)
    np.testing.assert_allclose(found.explained, scale[:2] ** 2 / (scale**2).sum(), rtol=1e-3)


def test_read_only_points() -> None:
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    expected = pca(x).coordinates
    x.flags.writeable = False
    np.testing.assert_array_equal(pca(x).coordinates, expected)


def test_fewer_directions_than_asked_and_no_variance() -> None:
    found = pca(np.outer(np.arange(5.0), [1.0, 2.0]), 4)
    assert found.coordinates.shape == (5, 4)
    np.testing.assert_allclose(found.explained, [1, 0, 0, 0], atol=1e-6)
    flat = pca(np.ones((6, 3)))
    assert (flat.coordinates == 0).all()
    assert (flat.explained == 0).all()


def test_the_picture_depends_on_its_own_seed_only() -> None:
    x = np.random.default_rng(0).normal(size=(100, 20))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = pca(x).coordinates
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    np.testing.assert_array_equal(first, pca(x).coordinates)
    assert (np.take_along_axis(first, np.abs(first).argmax(0)[None], 0) > 0).all()
