"""What `as_points` takes, what it makes of it, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from immersion.core.errors import InputError
from immersion.known.sphere import Sphere
from immersion.sampled.graph import IVF, Exact, as_points, neighbor_graph


def test_whole_numbers_keep_their_digits() -> None:
    times = 1_700_000_000 + np.array([[0], [1], [3], [7]])
    assert as_points(times).dtype == np.float64
    assert neighbor_graph(times, 1).distances.ravel().tolist() == [1, 1, 2, 4]
    assert as_points(np.array([[2**24], [-(2**24)]])).dtype == np.float32
    assert as_points(np.array([[2**24 + 1], [0]])).dtype == np.float64
    assert as_points(np.array([[255]], np.uint8)).dtype == np.float32
    with pytest.raises(InputError, match="2\\^53"):
        as_points(np.array([[2**53 + 1], [0]]))
    with pytest.raises(InputError, match=str(2**63)):
        as_points(np.array([[-(2**63)], [0]]))


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.array([[1.5, -2.0]], ">f4"), np.float32),
        (np.array([[1.5, -2.0]], ">f8"), np.float64),
        (np.array([[1.5, -2.0]], np.longdouble), np.float64),
        (np.array([[1.5, -2.0]], np.float16), np.float32),
        (torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16), np.float32),
        (torch.tensor([[1.5, -2.0]]).to(torch.float8_e4m3fn), np.float32),
        (torch.tensor([[1.5, 2.0]], dtype=torch.float64)._neg_view() * -1, np.float64),
        (torch.tensor([[1.5, -2.0]], requires_grad=True), np.float32),
        ([[1.5, -2.0]], np.float64),
        (np.array([[1.5, 0, -2.0]])[:, ::2], np.float64),
        (np.broadcast_to(np.float32(1.5), (1, 2)), np.float32),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_kinds_of_numbers(given: Any, dtype: type) -> None:
    x = as_points(given)
    assert x.dtype == dtype and x.dtype.isnative and x.flags.c_contiguous and x.shape == (1, 2)
    assert x[0, 0] == 1.5 and abs(x[0, 1]) in (1.5, 2.0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.ma.masked_array([[1.0], [2.0]], [[0], [1]]), "masked"),
        (torch.eye(3).to_sparse(), "to_dense"),
        (torch.empty(3, 2, device="meta"), "cannot be read"),
        (torch.ones(2, 2, dtype=torch.complex64), "complex"),
        (np.array([[1, None], [2, 3]], dtype=object), "object"),
        (np.array([["2020-01-01"]], "datetime64[D]"), "datetime"),
        (np.zeros(3, dtype=[("x", float)]), "numbers"),
        ("words", r"\.npy"),
        (["a", "b"], "numbers"),
        (None, "numbers"),
        (3.0, r"\(\)"),
        (torch.tensor(3.0), r"\(\)"),
        ({1, 2}, "numbers"),
        (np.array([[1e400, 1]], np.longdouble), "infinite"),
        (np.array([[np.inf]], np.float16), "infinite"),
        (torch.tensor([[float("nan")]], dtype=torch.bfloat16), r"points\[0\]"),
    ],
    ids=lambda value: re.sub(r"\W+", " ", str(value))[:40],
)
def test_what_is_no_points_is_refused(given: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        as_points(given)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"search": "exact"}, "Exact()"),
        ({"search": IVF}, "Exact()"),
        ({"metric": None}, "geodesic manifold"),
        ({"metric": np.eye(4)}, "geodesic manifold"),
        ({"metric": Sphere}, "geodesic manifold"),
        ({"device": "gpu"}, "no device"),
        ({"device": "meta"}, "cannot be used"),
        ({"device": "meta", "search": Exact("faiss")}, "cannot be used"),
        ({"k": 2.0}, "whole number"),
        ({"k": "3"}, "whole number"),
        ({"k": np.int64(4)}, "4 neighbours"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        neighbor_graph(np.eye(4), **{"k": 2, **arguments})


@pytest.mark.parametrize("engine", ["faiss", "torch"])
def test_settings_that_cost_torch_its_digits_change_nothing(engine: Any) -> None:
    """Products of bfloat16 would rank these points wrongly and break the error bound."""
    x = np.random.default_rng(0).normal(size=(700, 40)).astype(np.float32)
    true = neighbor_graph(x, 9, search=Exact(engine))
    held = torch.get_float32_matmul_precision()
    try:
        for precision in ("medium", "highest"):
            torch.set_float32_matmul_precision(precision)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "highest"):
                graph = neighbor_graph(x, 9, search=Exact(engine))
            np.testing.assert_array_equal(graph.indices, true.indices)
            np.testing.assert_array_equal(graph.distances, true.distances)
    finally:
        torch.set_float32_matmul_precision(held)


def test_points_that_cannot_be_written_to(tmp_path: Any) -> None:
    x = np.random.default_rng(0).normal(size=(90, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    np.save(tmp_path / "x.npy", x)
    for metric in ("euclidean", "cosine", Sphere(3)):
        mapped, plain = (neighbor_graph(y, 5, metric=metric) for y in (tmp_path / "x.npy", x))
        np.testing.assert_array_equal(mapped.indices, plain.indices)
        assert not mapped.points.flags.writeable
