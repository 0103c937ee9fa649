"""Operators of torch whose inside automatic differentiation and compilation should not see."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from immersion.core.linalg import broadcast
from immersion.core.unwatched import unwatched

if TYPE_CHECKING:
    from jaxtyping import Float


def batched_operator(
    name: str,
    numeric: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    forward: Callable[..., Any] | None = None,
    *,
    core: int = 2,
) -> Callable[..., Any]:
    """`numeric` as one opaque operator, so that its inside may look at values.

    Iterations that stop when they have converged break a graph of `torch.compile` and fail under
    `torch.func.vmap`; an operator does neither. Its derivative is given, not found inside.

    Args:
        name: unique name, after "immersion::".
        numeric: function of tensors of one batch shape, followed by numbers and strings. Its
            annotations are the schema; its one or two results have the shape of the first argument,
            or of its batch if core is 0.
        backward: `backward(inputs, output, gradient)` is the tuple of gradients by the inputs, made
            of operations that can be differentiated if second derivatives are wanted. It is not
            called where no gradient arrives. None: to differentiate the operator is an error.
        forward: `forward(inputs, output, *tangents)` is the tangent of the output, for forward mode
            outside of `torch.compile`, which has none.
        core: number of trailing dimensions of the results, 2 or 0.
    """

    @wraps(numeric)
    def contiguous(*arguments: Any) -> Any:
        # Compiled code relies on the strides that `like` promises.
        result = numeric(*arguments)
        if isinstance(result, Tensor):
            return result.contiguous()
        return tuple(part.contiguous() for part in result)

    def like(*arguments: Any) -> Any:
        first = arguments[0].new_empty(arguments[0].shape[: arguments[0].ndim - (2 - core)])
        return first if numeric.__annotations__["return"] == "Tensor" else (first, first.clone())

    def mapped(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        fronted: list[Any] = []
        for argument, dim in zip(arguments, in_dims, strict=True):
            if not isinstance(argument, Tensor):
                fronted.append(argument)
            elif dim is None:
                fronted.append(argument.expand(info.batch_size, *argument.shape))
            else:
                fronted.append(argument.movedim(dim, 0))
        result = plain(*fronted)
        return result, 0 if isinstance(result, Tensor) else (0,) * len(result)

    plain = torch.library.custom_op(f"immersion::{name}", contiguous, mutates_args=())
    plain.register_fake(like)
    plain.register_vmap(mapped)

    def remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        tensors = [each for each in inputs if isinstance(each, Tensor)]
        outputs = (output,) if isinstance(output, Tensor) else output
        ctx.save_for_backward(*tensors, outputs[0])
        ctx.others = inputs[len(tensors) :]
        ctx.set_materialize_grads(False)

    def derive(ctx: Any, *gradients: Tensor | None) -> Any:
        *tensors, output = ctx.saved_tensors
        if all(gradient is None for gradient in gradients):
            return (None,) * (len(tensors) + len(ctx.others))
        if backward is None:
            raise RuntimeError(f"{name} is a derivative that cannot be differentiated again")
        return backward((*tensors, *ctx.others), output, *gradients)

    def remember_all(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        remember(ctx, inputs, output)
        outputs = (output,) if isinstance(output, Tensor) else output
        ctx.save_for_forward(*(each for each in inputs if isinstance(each, Tensor)), outputs[0])

    def push(ctx: Any, *tangents: Any) -> Any:
        *tensors, output = ctx.saved_tensors
        assert forward is not None
        return forward((*tensors, *ctx.others), output, *tangents[: len(tensors)])

    traced = torch.library.custom_op(f"immersion::{name}_traced", contiguous, mutates_args=())
    traced.register_fake(like)
    traced.register_autograd(derive, setup_context=remember)

    def run(*arguments: Any) -> Any:
        return plain(*arguments)

    # Each call binds its arguments to this signature; to find it again costs 0.1 ms.
    run.__signature__ = signature(numeric)  # pyright: ignore[reportFunctionMemberAccess]: read by inspect
    parts: dict[str, Any] = {
        "generate_vmap_rule": True,
        "forward": staticmethod(run),
        "setup_context": staticmethod(remember_all),
        "backward": staticmethod(derive),
    }
    if forward is not None:
        parts["jvp"] = staticmethod(push)
    function = cast("Callable[..., Any]", type(name, (torch.autograd.Function,), parts).apply)

    def call(*arguments: Any) -> Any:
        # Most of what an operator costs on a small batch is the machinery round it, 0.1 ms.
        if unwatched(*arguments):
            return contiguous(*arguments)
        # Transforms of torch.func need a Function, and fail on operators with a derivative. Dynamo
        # needs an operator: it refuses Functions with forward mode, and instantiates the others,
        # which torch itself warns against.
        return (traced if torch.compiler.is_compiling() else function)(*arguments)

    return call


def with_gradients(
    value: Float[Tensor, "*b"],
    x: Float[Tensor, "*b n p"],
    y: Float[Tensor, "*b n p"],
    at_x: Float[Tensor, "*b n p"],
    at_y: Float[Tensor, "*b n p"],
) -> Float[Tensor, "*b"]:
    """`value`, with `at_x` and `at_y` as its derivatives by x and y.

    These may depend on x and y themselves: second derivatives are those of `at_x` and `at_y`.
    """
    x, y = broadcast(x, y)
    return cast("Tensor", _with_gradients(value.detach(), x, y, at_x, at_y))


def _value(value: Tensor, x: Tensor, y: Tensor, at_x: Tensor, at_y: Tensor) -> Tensor:
    return value.clone()


def _given(inputs: tuple[Tensor, ...], output: Tensor, gradient: Tensor) -> Any:
    size = gradient[..., None, None]
    return None, size * inputs[3], size * inputs[4], None, None


_with_gradients = batched_operator("with_gradients", _value, _given)
