"""What a model's modules put out in one forward pass, call by call.

A module is an observable layer when it is a leaf, or when none of the modules inside it was called
while it ran: `nn.MultiheadAttention` and scripted modules use their children's weights without
calling them. A module that is called several times (a shared ReLU) gives one layer a call.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, cast

import torch
from torch import nn

from immersion.core.errors import ModelError


@dataclass(frozen=True)
class CallKey:
    """Identity of one observed tensor: the module, which of its calls, which part of its output."""

    module: str
    call: int
    part: str


Observer = Callable[[CallKey, nn.Module, torch.Tensor], None]
InputObserver = Callable[[str, int, torch.Tensor], None]


@contextmanager
def observed(
    model: nn.Module,
    wanted: Callable[[str], bool],
    containers: set[str],
    observe: Observer,
    observe_input: InputObserver | None = None,
) -> Generator[Callable[[], None]]:
    """Call `observe(key, module, tensor)` for every output tensor of every wanted layer.

    Yields a function to call before each forward pass: it sets the call numbers back. Hooks are
    removed however the block ends. Compiled modules run eagerly inside the block, since compiled
    code ignores hooks that were added later (pytorch#117758).

    Args:
        model: the model, in the mode it should run in.
        wanted: whether the layer of this name is to be observed.
        containers: names of modules to observe although layers inside them are called.
        observe: told of each tensor at once, before an in-place successor can overwrite it.
        observe_input: told (module, call, tensor) of the first argument of every call before the
            module runs, since an in-place module overwrites it.
    """
    names = module_names(model)
    running: list[list[bool]] = []
    calls: dict[str, int] = {}

    def start(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        running.append([False])
        name = names[module]
        if observe_input and inputs and isinstance(inputs[0], torch.Tensor) and wanted(name):
            observe_input(name, calls.get(name, 0) + 1, inputs[0])

    def finish(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        (called_inside,) = running.pop()
        if running:
            running[-1][0] = True
        name = names[module]
        call = calls[name] = calls.get(name, 0) + 1
        if (called_inside and name not in containers) or not wanted(name):
            return
        for part, tensor in tensors_in(output):
            observe(CallKey(name, call, part), module, tensor)

    def reset() -> None:
        running.clear()
        calls.clear()

    with ExitStack() as stack:
        stack.enter_context(_eagerly())
        for module in names:
            if isinstance(module, torch.jit.ScriptModule) and module is not model:
                continue
            for handle in (
                module.register_forward_pre_hook(start),
                module.register_forward_hook(finish),
            ):
                stack.callback(handle.remove)
        yield reset


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Evaluation mode without gradients; every module gets its own former mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def module_names(model: nn.Module) -> dict[nn.Module, str]:
    """Every module once, under its first qualified name; the model itself is "(model)".

    The wrapper of a compiled module is left out and so is its `_orig_mod.` in names.
    """
    names: dict[nn.Module, str] = {}
    # torch leaves the items of this iterator untyped.
    for name, module in cast("Iterable[tuple[str, nn.Module]]", model.named_modules()):
        if hasattr(module, "_orig_mod"):
            continue
        parts = [part for part in name.split(".") if part != "_orig_mod"]
        names[module] = ".".join(parts) or "(model)"
    return names


def tensors_in(output: Any, path: str = "") -> list[tuple[str, torch.Tensor]]:
    """Tensors of a nested output with their paths, `""` where there is only one.

    Example:
        >>> [path for path, _ in tensors_in({"a": torch.ones(1), "b": [torch.ones(1), None]})]
        ["['a']", "['b'][0]"]
    """
    found = _walk(output, path)
    return [("", found[0][1])] if len(found) == 1 and not path else found


def _walk(output: Any, path: str) -> list[tuple[str, torch.Tensor]]:
    if isinstance(output, torch.Tensor):
        return [(path, output)]
    parts: list[tuple[object, Any]] = []
    if isinstance(output, Mapping):
        parts = list(output.items())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    elif isinstance(output, list | tuple):
        parts = list(enumerate(output))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    elif is_dataclass(output) and not isinstance(output, type):
        parts = [(f.name, getattr(output, f.name)) for f in fields(output)]
    return [found for key, value in parts for found in _walk(value, f"{path}[{key!r}]")]


def expected_input(model: nn.Module) -> str | None:
    """What the first layer that fixes an input size expects, in words; None where none does.

    Example:
        >>> expected_input(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
        '(n, ..., 784) for `1` (Linear)'
    """
    for module, name in module_names(model).items():
        where = f"for `{name}` ({type(module).__name__})"
        match module:
            case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
                sides = ("length", "height, width", "depth, height, width")
                dims = sides[len(module.kernel_size) - 1]
                return f"(n, {module.in_channels}, {dims}) {where}"
            case nn.Linear():
                return f"(n, ..., {module.in_features}) {where}"
            case nn.Embedding():
                return f"integers below {module.num_embeddings} {where}"
            case nn.RNNBase():
                order = "n, length" if module.batch_first else "length, n"
                return f"({order}, {module.input_size}) {where}"
            case _:
                pass
    return None


def model_failure(model: nn.Module, batch: Any, error: Exception) -> ModelError:
    """The one clear error for a failed forward pass: shapes met, shape expected, torch's word."""
    met = ", ".join(
        f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for _, t in tensors_in(batch)
    )
    expected = expected_input(model)
    wanted = f"; it expects {expected}" if expected else ""
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ModelError(f"the model failed on a batch of shape {met}{wanted} (it said: {said})")


@contextmanager
def _eagerly() -> Generator[None]:
    stance = torch.compiler.set_stance("force_eager")
    with stance:
        yield
