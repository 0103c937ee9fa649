"""Batches in the forms people have them, brought to the form a model is called with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from immersion.core.errors import InputError

BATCH_SIZE = 256
"""Rows a batch when the caller gives one array of all samples."""


@dataclass(frozen=True)
class Inputs:
    """The arguments of one call of the model; `size` is the number of samples among them."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    size: int

    def rows(self, index: list[int]) -> Inputs:
        """The same call on chosen samples, repeats allowed."""

        def pick(value: Any) -> Any:
            if isinstance(value, torch.Tensor) and value.ndim and len(value) == self.size:
                return value[torch.tensor(index, device=value.device)]
            return value

        args = tuple(pick(value) for value in self.args)
        return Inputs(args, {k: pick(v) for k, v in self.kwargs.items()}, len(index))


def as_batches(batches: torch.Tensor | NDArray[Any] | Iterable[Any]) -> Iterator[Any]:
    """An iterator of batches; one array or tensor of all samples is cut into batches."""
    if isinstance(batches, torch.Tensor | np.ndarray):
        whole = cast("torch.Tensor", batches)
        if batches.ndim == 0:
            raise InputError("a batch needs a sample axis; met a 0-dimensional array")
        return iter(whole[start : start + BATCH_SIZE] for start in range(0, len(whole), BATCH_SIZE))
    return iter(batches)


def sample_count(batches: torch.Tensor | NDArray[Any] | Iterable[Any]) -> int | None:
    """How many samples will come, where that can be known without reading them."""
    if isinstance(batches, torch.Tensor | np.ndarray):
        return int(cast("torch.Tensor", batches).shape[0])
    data = getattr(batches, "dataset", None)
    return len(data) if isinstance(data, Sized) else None


def to_model(model: nn.Module, batch: Any) -> Inputs:
    """The call for one batch, on the model's device and in its floating dtype.

    A tuple or list stands for (inputs, targets ...): its first item is taken. A mapping becomes
    keyword arguments.
    """
    if isinstance(batch, tuple | list) and len(batch):  # pyright: ignore[reportUnknownArgumentType]
        return to_model(model, batch[0])
    place = next(model.parameters(), None)
    if place is None:
        place = next(model.buffers(), None)
    device = place.device if place is not None else None
    floating = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)

    def move(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.ascontiguousarray(value))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        if not isinstance(value, torch.Tensor):
            return value
        dtype = floating if value.is_floating_point() else None
        return value.to(device=device, dtype=dtype)

    if isinstance(batch, Mapping):
        kwargs = {str(k): move(v) for k, v in batch.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return Inputs((), kwargs, _size(list(kwargs.values())))
    moved = move(batch)
    return Inputs((moved,), {}, _size([moved]))


def call(model: nn.Module, inputs: Inputs) -> Any:
    """The model's output."""
    return model(*inputs.args, **inputs.kwargs)


def _size(values: list[Any]) -> int:
    sizes = [len(v) for v in values if isinstance(v, torch.Tensor) and v.ndim]
    if not sizes:
        raise InputError(
            f"a batch must be a tensor, an array, a tuple (inputs, ...) or a mapping of tensors; "
            f"met {type(values[0]).__name__ if values else 'an empty mapping'}"
        )
    return sizes[0]
