"""The modules of a model as layers: their names, kinds and the inputs they expect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import nn
from torch.nn.utils import parametrize


def module_names(model: nn.Module) -> dict[nn.Module, str]:
    """Every module once, under its first qualified name; the model itself is "(model)".

    The wrapper of a compiled module is left out and so is its `_orig_mod.` in names. Left out too
    is what no pass through the model calls as a layer: parametrizations of weights (they put out
    weights), the inside of scripts and of `nn.MultiheadAttention`.
    """
    names: dict[nn.Module, str] = {}
    inner: set[nn.Module] = set()
    # torch leaves the items of this iterator untyped.
    for name, module in cast("Iterable[tuple[str, nn.Module]]", model.named_modules()):
        if _is_opaque(module):
            inner.update(child for child in module.modules() if child is not module)
        for child_name, child in module.named_children():
            if child_name == "parametrizations":
                inner.update(child.modules())
        if module in inner or "_orig_mod" in dict(module.named_children()):
            continue
        parts = [part for part in name.split(".") if part != "_orig_mod"]
        names[module] = ".".join(parts) or "(model)"
    return names


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is a layer by itself: none of the modules inside it is one."""
    inside = (name for name, _ in module.named_children() if name != "parametrizations")
    return _is_opaque(module) or next(inside, None) is None


def kind_of(module: nn.Module) -> str:
    """Class of a module as its author wrote it.

    Example:
        >>> kind_of(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
        'Linear'
    """
    if isinstance(module, torch.jit.ScriptModule):
        return str(module.original_name)
    return parametrize.type_before_parametrizations(module).__name__


def expected_input(model: nn.Module) -> str | None:
    """What the first layer that fixes an input size expects, in words; None where none does.

    Example:
        >>> expected_input(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
        '(n, ..., 784) for `1` (Linear)'
    """
    for module, name in module_names(model).items():
        where = f"for `{name}` ({type(module).__name__})"
        match module:
            case nn.modules.conv._ConvNd():  # pyright: ignore[reportPrivateUsage]
                sides = ("length", "height, width", "depth, height, width")
                dims = sides[len(module.kernel_size) - 1]
                return f"(n, {module.in_channels}, {dims}) {where}"
            case nn.Linear():
                return f"(n, ..., {module.in_features}) {where}"
            case nn.Embedding() | nn.EmbeddingBag():
                return f"integers below {module.num_embeddings} {where}"
            case nn.RNNBase():
                order = "n, length" if module.batch_first else "length, n"
                return f"({order}, {module.input_size}) {where}"
            case _:
                pass
    return None


def _is_opaque(module: nn.Module) -> bool:
    """Whether a module uses the weights of those inside it without calling them."""
    return isinstance(module, torch.jit.ScriptModule) or type(module) is nn.MultiheadAttention
