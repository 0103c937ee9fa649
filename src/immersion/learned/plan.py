"""What a capture will record, found out on two tiny batches before the data flows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from immersion.core.errors import InputError
from immersion.core.reason import Reason
from immersion.learned.batches import Inputs, call
from immersion.learned.modules import is_leaf, kind_of, module_names
from immersion.learned.pooling import Pool, PoolRule, pool_rule, unit_axis_of
from immersion.learned.samples import (
    Outline,
    SampleAxis,
    find_samples,
    outline,
    samples_by_length,
)
from immersion.learned.tracing import CallKey, model_failure, observed, tensors_in

_PROBE_SIZES = ((2, 3), (2, 4))
"""Numbers of samples to try; the second pair is for models that take pairs of samples only."""


SOME_BATCHES = Reason("some_batches", "is called for some batches only")


@dataclass(frozen=True)
class LayerPlan:
    """How one layer, or the model's output, will be recorded."""

    name: str
    kind: str
    samples: SampleAxis
    rule: PoolRule
    dtype: torch.dtype

    @property
    def bytes_per_sample(self) -> int:
        """What one sample will take in the store."""
        return self.rule.features * (8 if self.dtype == torch.float64 else 4)


@dataclass(frozen=True)
class CapturePlan:
    """All layers that will be recorded, in the order of their calls.

    Attributes:
        layers: by call.
        output: path and plan of the model's output, or None where that is no small vector.
        skipped: reasons by layer name.
        seen: every call that the probes met, recorded or not.
    """

    layers: dict[CallKey, LayerPlan]
    output: tuple[str, LayerPlan] | None
    skipped: dict[str, Reason]
    seen: frozenset[CallKey]

    @property
    def bytes_per_sample(self) -> int:
        """What one sample will take in the store, over all layers and the output."""
        plans = [*self.layers.values(), *([self.output[1]] if self.output else [])]
        return sum(plan.bytes_per_sample for plan in plans)


@dataclass(frozen=True)
class _Pass:
    """What one forward pass over `size` samples showed."""

    size: int
    calls: dict[CallKey, tuple[nn.Module, Outline | None]]
    output: dict[str, Outline]


def plan_capture(
    model: nn.Module,
    inputs: Inputs,
    wanted: Callable[[str], bool],
    containers: set[str],
    pool: Pool,
    max_features: int,
) -> CapturePlan:
    """Run the model on 2 and on 3 samples and find out where the samples are in every output.

    A model that refuses such batches runs on `inputs` as they are, and the axis that is as long as
    the batch holds the samples.

    Raises:
        ModelError: the model fails on the samples.
        InputError: nothing can be recorded (the reasons are listed).
    """
    few, many = _probe(model, inputs, wanted, containers)
    times: dict[str, int] = {}
    for key in few.calls:
        times[key.module] = max(times.get(key.module, 0), key.call)
    layers: dict[CallKey, LayerPlan] = {}
    skipped: dict[str, Reason] = {}
    unit_axes: dict[tuple[int, ...], int] = {}
    for key, (module, small) in few.calls.items():
        name = f"{key.module}{f'#{key.call}' if times[key.module] > 1 else ''}{key.part}"
        if small is None:
            skipped[name] = Reason("no_tensor", "puts out no tensor")
            continue
        large = many.calls[key][1] if many is not None and key in many.calls else None
        found = _find(few, small, many, large)
        if isinstance(found, Reason):
            skipped[name] = found
            continue
        shape = found.row_shape(small.shape)
        axis = _unit_axis(module, found, shape, unit_axes)
        rule = pool_rule(module, shape, pool, max_features, unit_axis=axis)
        layers[key] = LayerPlan(name, kind_of(module), found, rule, small.dtype)
    skipped.update(_not_called(model, few, wanted, containers))
    if not layers:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:5])
        raise InputError(f"no layer of the model can be recorded ({reasons})")
    output = _output_plan(few, many, max_features)
    seen = frozenset(few.calls) | (frozenset(many.calls) if many else frozenset[CallKey]())
    return CapturePlan(layers, output, skipped, seen)


def _probe(
    model: nn.Module, inputs: Inputs, wanted: Callable[[str], bool], containers: set[str]
) -> tuple[_Pass, _Pass | None]:
    for few, many in _PROBE_SIZES:
        first = [row % inputs.size for row in range(many)]
        try:
            return (
                _pass(model, inputs.rows(first[:few]), wanted, containers),
                # In reverse, so that a model that sorts its samples gives itself away.
                _pass(model, inputs.rows(first[::-1]), wanted, containers),
            )
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception:  # any size may be refused for a reason of the model's own
            continue
    try:
        return _pass(model, inputs, wanted, containers), None
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise model_failure(model, [*inputs.args, dict(inputs.kwargs)], error) from error


def _pass(
    model: nn.Module, inputs: Inputs, wanted: Callable[[str], bool], containers: set[str]
) -> _Pass:
    calls: dict[CallKey, tuple[nn.Module, Outline | None]] = {}

    def observe(key: CallKey, module: nn.Module, tensor: torch.Tensor | None) -> None:
        calls[key] = (module, None if tensor is None else outline(tensor, inputs.size))

    with observed(model, wanted, containers, observe):
        output = call(model, inputs)
    return _Pass(inputs.size, calls, {p: outline(t, inputs.size) for p, t in tensors_in(output)})


def _find(
    few: _Pass, small: Outline, many: _Pass | None, large: Outline | None
) -> SampleAxis | Reason:
    if not small.dtype.is_floating_point:
        kind = str(small.dtype).removeprefix("torch.")
        return Reason("not_floats", "puts out {dtype}, not floats", dtype=kind)
    if many is None:
        return samples_by_length(small, few.size)
    if large is None:
        return SOME_BATCHES
    return find_samples(small, large, (few.size, many.size))


def _unit_axis(
    module: nn.Module,
    found: SampleAxis,
    shape: tuple[int, ...],
    known: dict[tuple[int, ...], int],
) -> int:
    """The axis of units; a module that takes any layout has that of the last output of its shape.

    An activation after a convolution has channels first, after a dense layer channels last.
    """
    axis = unit_axis_of(module, shape, folded=found.folds > 1)
    if axis is None:
        first = int(found.folds > 1)
        return known.setdefault(shape, first if len(shape) - first >= 3 else len(shape) - 1)
    known[shape] = axis
    return axis


def _not_called(
    model: nn.Module, few: _Pass, wanted: Callable[[str], bool], containers: set[str]
) -> dict[str, Reason]:
    """Leaves that no pass called, less those whose weights a module around them used."""
    called = {key.module for key in few.calls}
    opaque = tuple(f"{name}." for name in called - containers)
    return {
        name: Reason("not_called", "was not called in the forward pass")
        for module, name in module_names(model).items()
        if is_leaf(module)
        and wanted(name)
        and name not in called
        and not name.startswith(opaque)
        and "(model)" not in called - containers
    }


def _output_plan(few: _Pass, many: _Pass | None, max_features: int) -> tuple[str, LayerPlan] | None:
    """The model's output when it is one small vector a sample: `logits`, or else the first."""
    for path in sorted(few.output, key=lambda path: "logits" not in path):
        small = few.output[path]
        found = _find(few, small, many, many.output.get(path) if many else None)
        if isinstance(found, Reason):
            continue
        shape = found.row_shape(small.shape)
        rule = PoolRule(shape, max(len(shape) - 1, 0), None)
        plan = LayerPlan("the model's output", "", found, rule, small.dtype)
        return (path, plan) if rule.features <= max_features else None
    return None
