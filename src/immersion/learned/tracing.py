"""What a model's modules put out in one forward pass, call by call.

A module is an observable layer when it is a leaf, or when none of the modules inside it was called
while it ran: `nn.MultiheadAttention` and scripted modules use their children's weights without
calling them. A module that is called several times (a shared ReLU) gives one layer a call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from immersion.core.errors import ModelError
from immersion.learned.modules import expected_input, module_names


@dataclass(frozen=True)
class CallKey:
    """Identity of one observed tensor: the module, which of its calls, which part of its output."""

    module: str
    call: int
    part: str


Observer = Callable[[CallKey, nn.Module, torch.Tensor | None], None]
InputObserver = Callable[[str, int, nn.Module, torch.Tensor], None]


@dataclass
class _Running:
    """A module between its start and its end."""

    module: nn.Module
    called_inside: bool = False


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
    code ignores hooks that were added later (pytorch#117758), and `nn.DataParallel` on one device,
    since its replicas are other modules.

    Args:
        model: the model, in the mode it should run in.
        wanted: whether the layer of this name is to be observed.
        containers: names of modules to observe although layers inside them are called.
        observe: told of each tensor at once, before an in-place successor can overwrite it; of None
            where an output holds no tensor.
        observe_input: told (name, call, module, tensor) of the first tensor among the arguments of
            every call before the module runs, since an in-place module overwrites it.
    """
    names = module_names(model)
    running: list[_Running] = []
    calls: dict[str, int] = {}

    def start(
        module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
    ) -> None:
        if running:
            running[-1].called_inside = True
        running.append(_Running(module))
        name = names[module]
        if observe_input is None or not wanted(name):
            return
        for value in (*args, *(kwargs or {}).values()):
            if isinstance(value, torch.Tensor):
                observe_input(name, calls.get(name, 0) + 1, module, value)
                return

    def finish(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        this = running.pop()
        # A model that catches an exception of its own leaves modules that started and never ended.
        while this.module is not module:
            this = running.pop()
        name = names[module]
        call = calls[name] = calls.get(name, 0) + 1
        if (this.called_inside and name not in containers) or not wanted(name):
            return
        for part, tensor in tensors_in(output) or [("", None)]:
            observe(CallKey(name, call, part), module, tensor)

    def start_scripted(module: nn.Module, args: tuple[Any, ...]) -> None:
        if isinstance(module, torch.jit.ScriptModule) and module in names:
            start(module, args)

    def finish_scripted(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, torch.jit.ScriptModule) and module in names:
            finish(module, args, output)

    def reset() -> None:
        running.clear()
        calls.clear()

    scripted = [module for module in names if isinstance(module, torch.jit.ScriptModule)]
    with ExitStack() as stack:
        stack.enter_context(eagerly())
        stack.enter_context(_on_one_device(model))
        handles = [
            handle
            for module in names
            if module not in scripted
            for handle in (
                module.register_forward_pre_hook(start, with_kwargs=True),
                module.register_forward_hook(finish),
            )
        ]
        if scripted:
            # Scripted modules refuse hooks of their own; those for all modules reach them.
            handles.append(register_module_forward_pre_hook(start_scripted))
            handles.append(register_module_forward_hook(finish_scripted))
        for handle in handles:
            stack.callback(handle.remove)
        yield reset


@contextmanager
def in_evaluation_mode(model: nn.Module) -> Generator[None]:
    """Evaluation mode; every module gets its own former mode back."""
    # A frozen script has no mode left.
    missing = object()
    modes = [(module, getattr(module, "training", missing)) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            if training is not missing:
                module.training = cast("bool", training)


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Evaluation mode without gradients; every module gets its own former mode back."""
    with in_evaluation_mode(model), torch.no_grad():
        yield


@contextmanager
def eagerly() -> Generator[None]:
    """Compiled modules and functions run as they were written."""
    # Nothing is compiled where torch's compiler was never imported, and importing it takes 0.8 s.
    if "torch._dynamo" not in sys.modules:
        yield
        return
    stance = torch.compiler.set_stance("force_eager")
    with stance:
        yield


@contextmanager
def _on_one_device(model: nn.Module) -> Generator[None]:
    parallel = [
        cast("nn.DataParallel[nn.Module]", module)
        for module in model.modules()
        if isinstance(module, nn.DataParallel)
    ]
    devices = [module.device_ids for module in parallel]
    try:
        for module in parallel:
            module.device_ids = []
        yield
    finally:
        for module, ids in zip(parallel, devices, strict=True):
            module.device_ids = ids


def tensors_in(output: Any) -> list[tuple[str, torch.Tensor]]:
    """Tensors of a nested output with their paths, `""` where there is only one.

    Example:
        >>> [path for path, _ in tensors_in({"a": torch.ones(1), "b": [torch.ones(1), None]})]
        ["['a']", "['b'][0]"]
    """
    found = _walk(output, "")
    return [("", found[0][1])] if len(found) == 1 else found


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


def model_failure(model: nn.Module, batch: Any, error: Exception) -> ModelError:
    """The one clear error for a failed forward pass: shapes met, shape expected, torch's word."""
    met = ", ".join(
        f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for _, t in tensors_in(batch)
    )
    expected = expected_input(model)
    wanted = f"; it expects {expected}" if expected else ""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return ModelError(
        f"the model failed on a batch of shape {met}{wanted} (it said: "
        f"{said or type(error).__name__})"
    )
