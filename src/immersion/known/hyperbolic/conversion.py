"""The isometries between the models of hyperbolic space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from immersion.core.arguments import require_points
from immersion.core.errors import InputError
from immersion.core.scalars import safe_length, sinhc
from immersion.known.hyperbolic.boundary import gap
from immersion.known.hyperbolic.log_hyperbolic import LogHyperbolic
from immersion.known.hyperbolic.lorentz import Lorentz
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.hyperbolic.quotients import asinhc, tanhc

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from immersion.known.hyperbolic.space import HyperbolicSpace


def convert(
    x: Float[Tensor, "*b p"], source: HyperbolicSpace, target: HyperbolicSpace
) -> Float[Tensor, "*b q"]:
    """The points of `target` that the points of `source` are.

    An isometry: directions from the origin stay, and so do distances. In terms of v, the log at the
    origin: the ball has tanh(r/2)/r v, the hyperboloid (cosh(r)/sqrt(c), sinh(r)/r v), with
    r = sqrt(c)|v|. It works in float64 inside, and what the target's storage cannot hold is lost: a
    point of `LogHyperbolic` at radius 30 comes back from a float32 ball at radius 15.

    Args:
        x: points (*b, *source.point_shape).
        source: the model of x.
        target: the model wanted, of the same dimension and curvature.

    Returns:
        Points (*b, *target.point_shape), of the dtype of x.

    Raises:
        InputError: the spaces differ in dimension or curvature, or x does not fit `source`.

    Example:
        >>> import immersion as im
        >>> ball, sheet = im.PoincareBall(2), im.Lorentz(2)
        >>> im.convert(torch.tensor([0.5, 0.0]), ball, sheet)
        tensor([1.6667, 1.3333, 0.0000])
    """
    for space in (source, target):
        if not isinstance(space, PoincareBall | Lorentz | LogHyperbolic):
            raise InputError(
                f"convert: {space!r} is no model of hyperbolic space; give PoincareBall, Lorentz "
                "or LogHyperbolic"
            )
    if source.n != target.n:
        raise InputError(f"convert: {source} and {target} differ in dimension")
    same = source.curvature is target.curvature
    if not same and not _equal(source.curvature, target.curvature):
        raise InputError(
            f"convert: {source} and {target} differ in curvature; rescale the points first"
        )
    require_points(source, "convert", x)
    return _from_log(_to_log(x, source), target, x.dtype)


def _equal(a: float | Tensor, b: float | Tensor) -> bool:
    return bool(torch.as_tensor(a).detach() == torch.as_tensor(b).detach())


def _to_log(x: Float[Tensor, "*b p"], source: HyperbolicSpace) -> Float[Tensor, "*b n"]:
    """log at the origin, in float64."""
    root = source.sharpness**0.5
    if isinstance(source, LogHyperbolic):
        return x.double()
    if isinstance(source, Lorentz):
        s = x[..., 1:].double()
        return asinhc(root * safe_length(s, keepdim=True)) * s
    # sinh(r/2) = root |x| / sqrt(1 - c|x|^2), well conditioned up to the boundary
    v = x.double() / gap(x, source.sharpness).sqrt()
    return 2 * asinhc(root * safe_length(v, keepdim=True)) * v


def _from_log(
    v: Float[Tensor, "*b n"], target: HyperbolicSpace, dtype: torch.dtype
) -> Float[Tensor, "*b q"]:
    r = target.sharpness**0.5 * safe_length(v, keepdim=True)
    if isinstance(target, LogHyperbolic):
        y = v
    elif isinstance(target, Lorentz):
        y = torch.cat([torch.cosh(r) / target.sharpness**0.5, sinhc(r) * v], -1)
    else:
        y = tanhc(r / 2) * v / 2
    return target.proj(y.to(dtype))
