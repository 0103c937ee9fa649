"""The sphere against 50 digits, by formulas that the library does not use."""

from __future__ import annotations

import mpmath
import pytest
import torch
from torch import Tensor

from immersion.known.sphere import Sphere

ANGLES = [
    1e-6,
    1e-4,
    1e-2,
    0.5,
    torch.pi / 2,
    2.5,
    torch.pi - 1e-2,
    torch.pi - 1e-4,
    torch.pi - 1e-6,
]
ULP = 8


def pair(angle: float, n: int, dtype: torch.dtype, seed: int) -> tuple[Tensor, Tensor]:
    """Two stored vectors that are about `angle` apart."""
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, n + 1, generator=generator, dtype=torch.float64)
    x = a / a.norm()
    e = b - (b @ x) * x
    e = e / e.norm()
    angle_ = torch.tensor(angle, dtype=torch.float64)
    return x.to(dtype), (angle_.cos() * x + angle_.sin() * e).to(dtype)


def exact_angle(x: Tensor, y: Tensor) -> mpmath.mpf:
    """By Kahan's formula on the vectors as they are stored, each divided by its own length."""
    p, q = (mpmath.matrix([mpmath.mpf(c) for c in v.tolist()]) for v in (x, y))
    p, q = p / mpmath.norm(p), q / mpmath.norm(q)
    return 2 * mpmath.atan2(mpmath.norm(p - q), mpmath.norm(p + q))


def exact_log(x: Tensor, y: Tensor) -> list[mpmath.mpf]:
    """By Gram and Schmidt, times the angle."""
    p, q = (mpmath.matrix([mpmath.mpf(c) for c in v.tolist()]) for v in (x, y))
    along = (p.T * q)[0] / (p.T * p)[0]
    across = q - along * p
    return list(across / mpmath.norm(across) * exact_angle(x, y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("n", [1, 2, 63])
@pytest.mark.parametrize("angle", ANGLES)
def test_dist_and_log_to_8_ulp_of_what_is_stored(angle: float, n: int, dtype: torch.dtype) -> None:
    sphere, eps = Sphere(n), torch.finfo(dtype).eps
    with mpmath.workdps(50):
        for seed in range(8):
            x, y = pair(angle, n, dtype, seed)
            exact = exact_angle(x, y)
            assert abs(sphere.dist(x, y).item() - exact) <= ULP * eps * exact
            assert abs(sphere.dist(y, x).item() - exact) <= ULP * eps * exact
            log = exact_log(x, y)
            error = mpmath.norm(
                [a - b for a, b in zip(sphere.log(x, y).tolist(), log, strict=True)]
            )
            assert error <= ULP * eps * exact


def test_equal_points_have_distance_zero_and_antipodes_pi() -> None:
    for dtype in (torch.float32, torch.float64):
        x = Sphere(9).random(100, generator=torch.Generator().manual_seed(0), dtype=dtype)
        assert (Sphere(9).dist(x, x) <= torch.finfo(dtype).eps).all()
        torch.testing.assert_close(Sphere(9).dist(x, -x), torch.full_like(x[:, 0], torch.pi))


def test_at_the_antipode_log_takes_one_shortest_geodesic() -> None:
    sphere = Sphere(4)
    x = sphere.random(5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = (-x).requires_grad_()
    u = sphere.log(x, y)
    torch.testing.assert_close(sphere.norm(x, u), torch.full_like(x[:, 0], torch.pi))
    torch.testing.assert_close(sphere.to_tangent(x, u), u)
    torch.testing.assert_close(sphere.exp(x, u), y.detach())
    v = sphere.random_tangent(x)
    moved = sphere.transport(x, y, v)
    torch.testing.assert_close(sphere.norm(x, v), sphere.norm(y, moved))
    total = u.sum() + sphere.dist(x, y).sum() + moved.sum()
    assert torch.isfinite(torch.autograd.grad(total, y)[0]).all()


def test_the_zero_vector_has_a_projection() -> None:
    zero = torch.zeros(2, 3, requires_grad=True)
    x = Sphere(2).proj(zero)
    assert x.tolist() == [[1.0, 0.0, 0.0]] * 2
    assert (torch.autograd.grad(x.sum(), zero)[0] == 0).all()
