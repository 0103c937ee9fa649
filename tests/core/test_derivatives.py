"""Derivatives of batched maps against each other and against the formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from immersion.core.derivatives import directional, jacobian_columns, jacobian_rows
from immersion.core.linalg import (
    broadcast,
    length,
    orthonormal_columns,
    singular_values,
    symmetric_eigen,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_forward_and_reverse_agree() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)).double()
    z = torch.randn(4, 1, 4, 4, dtype=torch.float64)
    basis = torch.eye(16, dtype=torch.float64).reshape(1, 16, 1, 4, 4).expand(4, -1, -1, -1, -1)
    values, rows = jacobian_rows(net, z)
    torch.testing.assert_close(values, net(z).detach())
    torch.testing.assert_close(jacobian_columns(net, z, basis).detach(), rows)
    u = torch.randn_like(z)
    pushed = torch.einsum("noi,ni->no", rows, u.flatten(1))
    torch.testing.assert_close(directional(net, z, u).detach(), pushed)
    assert all(p.grad is None for p in net.parameters()) and not z.requires_grad


def test_reverse_mode_of_outputs_that_ignore_the_input() -> None:
    z = torch.randn(3, 2)
    values, J = jacobian_rows(lambda z: torch.stack([z[:, 0] ** 2, torch.ones(3)], 1), z)
    torch.testing.assert_close(J, torch.stack([2 * z * torch.tensor([1.0, 0]), 0 * z], 1))
    values, J = jacobian_rows(lambda z: torch.ones(3, 5), z)
    assert values.equal(torch.ones(3, 5)) and J.equal(torch.zeros(3, 5, 2))


def test_reverse_mode_within_no_grad_and_in_place() -> None:
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(2, 3))
    z = torch.tensor([[-1.0, 2.0]])
    with torch.no_grad():
        values, J = jacobian_rows(net, z)
    torch.testing.assert_close(J[0], net[1].weight * torch.tensor([0.0, 1.0]))
    assert z.tolist() == [[-1.0, 2.0]] and not values.requires_grad and not J.requires_grad


def test_reverse_mode_of_scalars_and_of_no_rows() -> None:
    values, J = jacobian_rows(lambda z: z.square().sum(1), torch.ones(3, 2))
    assert values.shape == (3, 1) and J.equal(torch.full((3, 1, 2), 2.0))
    values, J = jacobian_rows(nn.Linear(2, 4), torch.ones(0, 2))
    assert values.shape == (0, 4) and J.shape == (0, 4, 2)


def test_linear_algebra_is_batched_and_ordered() -> None:
    A = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    S = A.mT @ A
    values, vectors = symmetric_eigen(S)
    assert (values.diff(dim=-1) >= 0).all()
    torch.testing.assert_close(vectors * values[..., None, :] @ vectors.mT, S)
    torch.testing.assert_close(singular_values(A), values.flip(-1).sqrt())
    A[..., 1] = A[..., 0]
    Q = orthonormal_columns(A)
    torch.testing.assert_close(Q.mT @ Q, torch.eye(4, dtype=A.dtype).expand(2, 3, 4, 4))
    torch.testing.assert_close(Q @ Q.mT @ A, A)
    torch.testing.assert_close(length(A), A.square().sum(-1).sqrt())
    x, y = broadcast(torch.ones(3, 1), torch.ones(2, 1, 4))
    assert x.shape == y.shape == (2, 3, 4)
