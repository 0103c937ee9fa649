"""Batches in the forms people have them, brought to the form a model is called with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from itertools import chain
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
    """An iterator of batches; one array or tensor of all samples is cut into batches.

    Raises:
        InputError: `batches` is no tensor, no array and nothing to iterate over, or a mapping.
    """
    if isinstance(batches, torch.Tensor | np.ndarray):
        whole = cast("torch.Tensor", batches)
        if batches.ndim == 0:
            raise InputError("a batch needs a sample axis; met a 0-dimensional array")
        return iter(whole[start : start + BATCH_SIZE] for start in range(0, len(whole), BATCH_SIZE))
    given = cast("object", batches)
    if isinstance(given, Mapping | str) or not isinstance(given, Iterable):
        raise InputError(
            "batches must be a tensor or array of all samples, or an iterable of batches such as "
            f"[mapping, ...]; met {type(cast('object', given)).__name__}"
        )
    return iter(cast("Iterable[Any]", given))


def sample_count(batches: torch.Tensor | NDArray[Any] | Iterable[Any]) -> int | None:
    """How many samples will come, where that can be known without reading them."""
    if isinstance(batches, torch.Tensor | np.ndarray):
        return int(cast("torch.Tensor", batches).shape[0])
    data = getattr(batches, "dataset", None)
    return len(data) if isinstance(data, Sized) else None


def to_model(model: nn.Module, batch: Any) -> Inputs:
    """The call for one batch, on the model's device and in its floating dtype.

    A tuple or list stands for (inputs, targets ...): its first item is taken. A mapping becomes
    keyword arguments, a tuple or list of inputs positional ones.

    Raises:
        InputError: there is no tensor with a sample axis in the batch, or an array that torch
            cannot hold.
    """
    given = cast("Any", batch[0] if isinstance(batch, tuple | list) and batch else batch)
    # A model without parameters may still have buffers that its inputs meet.
    state = list(chain(model.parameters(), model.buffers()))
    device = state[0].device if state else None
    floating = next((t.dtype for t in state if t.is_floating_point()), None)

    def move(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            value = _tensor(cast("NDArray[Any]", value))
        if not isinstance(value, torch.Tensor):
            return value
        dtype = floating if value.is_floating_point() else None
        return value.to(device=device, dtype=dtype)

    if isinstance(given, Mapping):
        items = cast("Mapping[Any, Any]", given)
        kwargs = {str(k): move(v) for k, v in items.items()}
        return Inputs((), kwargs, _size(list(kwargs.values())))
    args = tuple(move(v) for v in (given if isinstance(given, tuple | list) else (given,)))  # pyright: ignore[reportUnknownVariableType]
    return Inputs(args, {}, _size(list(args)))


def call(model: nn.Module, inputs: Inputs) -> Any:
    """The model's output."""
    return model(*inputs.args, **inputs.kwargs)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    # torch takes neither foreign byte orders nor, without a warning, read-only memory maps.
    native = np.require(array.astype(array.dtype.newbyteorder("="), copy=False), None, ["C", "W"])
    try:
        return torch.from_numpy(native)  # pyright: ignore[reportUnknownMemberType]
    except TypeError as error:
        raise InputError(f"a batch cannot hold numbers of type {array.dtype}") from error


def _size(values: list[Any]) -> int:
    sizes = [len(v) for v in values if isinstance(v, torch.Tensor) and v.ndim]
    if not sizes:
        raise InputError(
            "a batch must be a tensor, an array, a tuple (inputs, ...) or a mapping of tensors; "
            f"met {type(values[0]).__name__ if values else 'nothing'}"
        )
    return sizes[0]
