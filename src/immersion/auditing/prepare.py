"""The user's data brought to the form the model takes; every change is noted for the report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from immersion.core.errors import InputError, ModelError
from immersion.datasets.samples import Samples, require_finite
from immersion.learned.batches import call, to_model
from immersion.learned.modules import is_leaf, module_names
from immersion.learned.tracing import evaluating, model_failure

Note = tuple[str, dict[str, str]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is audited.

    Attributes:
        samples: the audited samples as stored.
        rows: (n,) their rows in the user's data.
        total: how many samples the user's data has.
        inputs: (n, *shape) what the model is fed, on the CPU.
        notes: every change on the way, as message ids with parameters.
    """

    samples: Samples
    rows: NDArray[np.int64]
    total: int
    inputs: torch.Tensor
    notes: tuple[Note, ...]

    @property
    def n(self) -> int:
        """Number of audited samples."""
        return len(self.rows)

    @property
    def has_points(self) -> bool:
        """Whether the inputs are points of a space; token numbers are not."""
        return self.inputs.is_floating_point()


def prepare(model: nn.Module, data: Samples, *, most: int, neighbors: int, seed: int) -> Prepared:
    """Check the data, draw a sample of it when it is large, and find the layout the model takes.

    Raises:
        InputError: too few samples, one class only, NaN (says where).
        ModelError: the model takes the data in no layout (shapes expected and met).
    """
    if data.n <= neighbors:
        raise InputError(
            f"{data.n} samples are too few for {neighbors} neighbours each; give at least "
            f"{neighbors + 1} samples, or fewer neighbours"
        )
    notes: list[Note] = list(data.notes)
    rows = stratified_rows(data.n, data.y, most, seed)
    if len(rows) < data.n:
        numbers = {"shown": f"{len(rows):,}", "total": f"{data.n:,}", "seed": str(seed)}
        notes.append(("subsample", numbers))
    chosen = data.subset(rows) if len(rows) < data.n else data
    if chosen.y is not None and len(np.unique(chosen.y)) < 2:
        raise InputError(
            f"all {chosen.n} labels are {data.classes[int(chosen.y[0])]!r}; classes can only be "
            "compared when there are two or more: leave the labels out to audit without them"
        )
    require_finite(chosen)
    stored, scaling = _to_tensor(model, chosen.x)
    inputs, layout = _fit_layout(model, stored)
    notes.extend(note for note in (scaling, layout) if note is not None)
    return Prepared(chosen, rows, data.n, inputs, tuple(notes))


def stratified_rows(n: int, y: NDArray[np.int64] | None, most: int, seed: int) -> NDArray[np.int64]:
    """At most `most` rows in ascending order, every class in proportion and none left out."""
    if n <= most:
        return np.arange(n)
    rng = np.random.default_rng(seed)
    if y is None:
        return np.sort(rng.choice(n, most, replace=False))
    # Shuffle within classes, then take rows by their relative rank in the class: any prefix of
    # that order holds the classes in proportion to within one sample each.
    shuffled = rng.permutation(n)
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    sizes = np.bincount(y)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.arange(n) - np.repeat(starts, sizes)
    relative = rank / np.repeat(np.maximum(sizes, 1), sizes)
    return np.sort(by_class[np.argsort(relative, kind="stable")[:most]])


def _to_tensor(model: nn.Module, x: NDArray[np.generic]) -> tuple[torch.Tensor, Note | None]:
    """Floats as they are, bytes scaled to [0, 1], integers kept for models that embed them."""
    if x.dtype.kind == "f":
        dtype = np.float64 if x.dtype.itemsize > 4 else np.float32
        return _tensor(x, dtype), None
    first = next((module for module in module_names(model) if is_leaf(module)), None)
    if isinstance(first, nn.Embedding | nn.EmbeddingBag):
        return _tensor(x, np.int64), None
    if x.dtype == np.uint8:
        return _tensor(x, np.float32) / 255, ("scaled_bytes", {})
    return _tensor(x, np.float32), ("integers_as_floats", {"dtype": str(x.dtype)})


def _tensor(x: NDArray[np.generic], dtype: type[np.generic]) -> torch.Tensor:
    return torch.from_numpy(np.array(x, dtype=dtype, order="C"))  # pyright: ignore[reportUnknownMemberType]


def _fit_layout(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, Note | None]:
    """The first layout that the model accepts on two samples; as it is comes first."""
    failure: ModelError | None = None
    for name, arranged in _layouts(x[:2]):
        problem = _problem(model, arranged)
        if problem is None:
            if name == "as_is":
                return x, None
            whole = dict(_layouts(x))[name]
            shapes = {"met": _shape(x), "fed": _shape(whole)}
            return whole.contiguous(), (f"layout_{name}", shapes)
        failure = failure or problem
    assert failure is not None
    raise failure


def _layouts(x: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    yield "as_is", x
    if x.ndim == 3:
        yield "channel_added", x[:, None]
    if x.ndim == 4 and x.shape[-1] in (1, 3, 4):
        yield "channels_first", x.movedim(-1, 1)
    if x.ndim > 2:
        yield "flattened", x.flatten(1)
    if x.ndim == 2 and math.isqrt(x.shape[1]) ** 2 == x.shape[1]:
        side = math.isqrt(x.shape[1])
        yield "square_image", x.reshape(len(x), 1, side, side)


def _problem(model: nn.Module, x: torch.Tensor) -> ModelError | None:
    """Why the model refuses these samples, if it does.

    A convolution takes one image without a batch axis as well, so the output's rows are counted.
    """
    with evaluating(model):
        inputs = to_model(model, x)
        try:
            output = call(model, inputs)
        except Exception as error:
            return model_failure(model, x, error)
    if isinstance(output, torch.Tensor) and (output.ndim == 0 or len(output) != len(x)):
        said = ValueError(f"its output has shape {tuple(output.shape)} for {len(x)} samples")
        return model_failure(model, x, said)
    return None


def _shape(x: torch.Tensor) -> str:
    return "x".join(map(str, x.shape[1:]))
