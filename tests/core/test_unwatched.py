"""Plain values are told from tensors that something in torch follows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from immersion.core.unwatched import unwatched


class Kind(Tensor):
    """A tensor of a user's own type."""


class Watcher(TorchDispatchMode):
    """Sees every operation and changes none."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return func(*args, **(kwargs or {}))


def test_plain_values() -> None:
    leaf = torch.nn.Parameter(torch.ones(2))
    assert unwatched(torch.ones(2), torch.ones(2, dtype=torch.int64), 3, "polar")
    assert not unwatched(torch.ones(2), leaf)
    with torch.no_grad():
        assert unwatched(torch.ones(2), leaf)
    with torch.inference_mode():
        assert unwatched(torch.ones(2))


@pytest.mark.parametrize(
    "tensor", [torch.ones(2).as_subclass(Kind), torch.ones(2, device="meta")], ids=["type", "meta"]
)
def test_tensors_that_are_more_or_less_than_values(tensor: Tensor) -> None:
    assert not unwatched(tensor)


def seen(inside: list[bool]) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        inside.append(unwatched(x))
        return x.sum()

    return function


@pytest.mark.parametrize("inference", [False, True])
def test_transforms_watch(inference: bool) -> None:
    inside: list[bool] = []
    x = torch.ones(3)
    with torch.no_grad() if inference else torch.enable_grad():
        torch.func.vmap(seen(inside))(torch.ones(2, 3))
        torch.func.jvp(seen(inside), (x,), (x,))
        torch.func.grad(seen(inside))(x)
        torch.func.functionalize(seen(inside))(x)
    assert inside == [False] * 4


def test_forward_derivatives_watch() -> None:
    with torch.autograd.forward_ad.dual_level():
        assert not unwatched(torch.autograd.forward_ad.make_dual(torch.ones(2), torch.ones(2)))


def test_modes_watch() -> None:
    x = torch.ones(2)
    with Watcher():
        assert not unwatched(x)
    with FakeTensorMode():
        assert not unwatched(torch.ones(2))


def test_compiled_code_is_watched() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: x + 1 if unwatched(x) else x - 1, backend="eager")
    assert compiled(torch.zeros(1)).item() == -1
