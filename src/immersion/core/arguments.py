"""Every tensor that enters a manifold is checked once, before any work: shape, type, dtype, device.

The checks wrap each method where its class is made, so a manifold written by a user has them too.
They look at shapes and types only and never at values, which costs about two microseconds an
argument, needs no synchronisation with a GPU, and disappears under `torch.compile`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch

from immersion.core.errors import InputError

if TYPE_CHECKING:
    from immersion.core.metric import Manifold

#: How many points and vectors each method takes, before its other arguments.
TENSORS = {
    "proj": 1,
    "to_tangent": 2,
    "egrad2rgrad": 2,
    "christoffel": 3,
    "inner": 3,
    "retract": 2,
    "carry": 3,
    "transport": 3,
    "random_tangent": 1,
    "violation": 1,
    "exp": 2,
    "log": 2,
    "dist": 2,
    "injectivity_radius": 1,
    "sectional_curvature": 3,
}


def check_methods(kind: type[Manifold]) -> None:
    """Wrap the methods that `kind` itself defines, so that they check their arguments."""
    for name, count in TENSORS.items():
        method = vars(kind).get(name)
        if callable(method) and not getattr(method, "__isabstractmethod__", False):
            setattr(kind, name, _checked(method, name, count))


def require_points(manifold: Manifold, where: str, *tensors: object) -> None:
    """Raise unless all are real tensors of the manifold's shape and of one dtype and device.

    Raises:
        InputError: names the argument, what it is, and what is needed.
    """
    shape = manifold.point_shape
    first: torch.Tensor | None = None
    for position, tensor in enumerate(tensors, 1):
        if not isinstance(tensor, torch.Tensor):
            raise InputError(
                f"{manifold}.{where}: argument {position} is a {type(tensor).__name__}; "
                "give a tensor, for example torch.as_tensor(array)"
            )
        if tensor.dtype not in (torch.float32, torch.float64):
            raise InputError(
                f"{manifold}.{where}: argument {position} is {tensor.dtype}; geometry needs "
                "torch.float32 or torch.float64: call .float() or .double() on it"
            )
        if tuple(tensor.shape[tensor.ndim - len(shape) :]) != shape or tensor.ndim < len(shape):
            wanted = ", ".join(map(str, shape))
            raise InputError(
                f"{manifold}.{where}: argument {position} has shape {tuple(tensor.shape)}; "
                f"points and tangent vectors have shape (..., {wanted})"
            )
        if first is None:
            first = tensor
        elif tensor.dtype != first.dtype or tensor.device != first.device:
            raise InputError(
                f"{manifold}.{where}: argument {position} is {tensor.dtype} on {tensor.device}, "
                f"the first is {first.dtype} on {first.device}; bring them together with .to()"
            )


def _checked(method: Callable[..., Any], name: str, count: int) -> Callable[..., Any]:
    @wraps(method)
    def checked(self: Manifold, *arguments: Any, **named: Any) -> Any:
        if len(arguments) >= count:
            require_points(self, name, *arguments[:count])
        else:
            given = (*arguments, *named.values())
            require_points(self, name, *given[:count])
        return method(self, *arguments, **named)

    return checked
