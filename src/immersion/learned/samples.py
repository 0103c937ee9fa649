"""Which entries of an output belong to which sample, read off two passes over few samples.

Shapes tell the axis: the one whose length follows the number of samples. Values tell the order
along it, since the same samples put out the same entries: a model may fold windows, time steps or
heads into the axis, with the entries of a sample side by side (windows of images) or one in every
few (time-major sequences), and it may hand a module its samples in another order (sorted by length,
routed to experts).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from immersion.core.reason import Reason

_TOLERANCE = 0.05
"""Greatest difference between equal entries, in units of the spread between entries. Rounding
(TF32, bfloat16) stays below 1% of it; two different entries differ by the order of the spread."""


@dataclass(frozen=True)
class SampleAxis:
    """Where the samples lie in an output: on `axis`, each with `folds` entries.

    `folds` is above 1 where a model folds windows, time steps or heads into the axis: `interleaved`
    when entry j of sample i is entry j * n + i, else it is entry i * folds + j.
    """

    axis: int
    folds: int = 1
    interleaved: bool = False

    def to_rows(self, output: torch.Tensor, size: int) -> torch.Tensor:
        """The output with the sample axis first, folded entries as a position axis behind it.

        Raises:
            ValueError: the output does not hold `size` samples.
        """
        if output.ndim <= self.axis or output.shape[self.axis] != size * self.folds:
            raise ValueError(f"shape {tuple(output.shape)} does not hold {size} samples")
        return self.split(output.movedim(self.axis, 0), size)

    def row_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one sample's part of an output of the given shape."""
        rest = shape[: self.axis] + shape[self.axis + 1 :]
        return rest if self.folds == 1 else (self.folds, *rest)

    def split(self, entries: torch.Tensor, size: int) -> torch.Tensor:
        """Entries along the first axis as samples by folds."""
        if self.folds == 1:
            return entries
        if self.interleaved:
            return entries.reshape(self.folds, size, *entries.shape[1:]).transpose(0, 1)
        return entries.reshape(size, self.folds, *entries.shape[1:])


@dataclass(frozen=True, eq=False)
class Outline:
    """What is kept of an output of a few samples.

    Attributes:
        shape: its shape.
        dtype: its type of numbers.
        marks: for every axis that can hold the samples, one number an entry of that axis, nearly
            surely different for different entries.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    marks: dict[int, torch.Tensor]


def outline(output: torch.Tensor, size: int) -> Outline:
    """The outline of an output of `size` samples."""
    shape = tuple(output.shape)
    possible = output.is_floating_point() and output.numel() > 0
    axes = [axis for axis, length in enumerate(shape) if possible and length % size == 0]
    return Outline(shape, output.dtype, {axis: _marks(output, axis) for axis in axes})


def find_samples(few: Outline, many: Outline, sizes: tuple[int, int]) -> SampleAxis | Reason:
    """The sample axis of an output, or the reason why it has none that is known.

    Args:
        few: the output for the first `sizes[0]` samples.
        many: the output for the first `sizes[1]` samples in reverse order.
        sizes: the numbers of samples.
    """
    a, b = sizes
    grown = [axis for axis, (s, t) in enumerate(zip(few.shape, many.shape, strict=False)) if s != t]
    if len(few.shape) != len(many.shape) or len(grown) != 1:
        return _unrelated(few)
    (axis,) = grown
    if few.shape[axis] * b != many.shape[axis] * a or few.shape[axis] % a:
        return _unrelated(few)
    if axis not in few.marks or axis not in many.marks:
        return Reason("empty_output", "its output {shape} is empty", shape=few.shape)
    folds = few.shape[axis] // a
    x, y = few.marks[axis], many.marks[axis]
    close = float(y.max() - y.min()) * _TOLERANCE + 1e-6 * float(y.abs().max())
    for interleaved in (False, True)[: 1 + (folds > 1)]:
        found = SampleAxis(axis, folds, interleaved)
        own = found.split(y, b).flip(0)[:a]
        if float((found.split(x, a) - own).abs().max()) <= close:
            return found
    if folds > 1:
        said = "its {folds} entries a sample are in no known order"
        return Reason("unknown_order", said, folds=folds)
    other = (x[:, None] - y[None]).abs().min(1).values
    if float(other.max()) <= close:
        return Reason("reordered", "the model hands it the samples in another order")
    # The rows influence each other or are random: nothing speaks against the order of the batch.
    return SampleAxis(axis)


def _unrelated(few: Outline) -> Reason:
    said = "its output {shape} does not follow the number of samples"
    return Reason("unrelated_shape", said, shape=few.shape)


def samples_by_length(whole: Outline, size: int) -> SampleAxis | Reason:
    """The sample axis where only one pass over `size` samples is to be had."""
    axes = [axis for axis, length in enumerate(whole.shape) if length == size]
    if not axes or not (len(axes) == 1 or axes[0] == 0) or not whole.marks:
        said = "its output {shape} shows no axis of {size} samples"
        return Reason("no_sample_axis", said, shape=whole.shape, size=size)
    return SampleAxis(axes[0])


def _marks(output: torch.Tensor, axis: int) -> torch.Tensor:
    """Each entry of the axis times one fixed vector that no usual layer is orthogonal to.

    A plain sum would not do: it is 0 after a normalisation and 1 after a softmax.
    """
    entries = output.detach().movedim(axis, 0).flatten(1) if output.ndim > 1 else output[:, None]
    entries = entries.to("cpu", torch.float64).nan_to_num()
    return entries @ torch.arange(1.0, entries.shape[1] + 1, dtype=torch.float64).sin()
