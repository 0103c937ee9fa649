"""What a capture will record, found out on two tiny batches before the data flows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from immersion.core.errors import InputError
from immersion.learned.batches import Inputs, call
from immersion.learned.pooling import Pool, PoolRule, pool_rule
from immersion.learned.tracing import (
    CallKey,
    model_failure,
    module_names,
    observed,
    tensors_in,
)

_PROBE_SIZES = (2, 3)


@dataclass(frozen=True)
class SampleAxis:
    """Where the samples lie in an output: on `axis`, each with `folds` consecutive entries.

    `folds` is above 1 where a model folds windows or heads into the batch axis.
    """

    axis: int
    folds: int

    def to_rows(self, output: torch.Tensor, size: int) -> torch.Tensor:
        """The output with the sample axis first, folded entries as a position axis behind it.

        Raises:
            ValueError: the output does not hold `size` samples.
        """
        rows = output.movedim(self.axis, 0)
        if len(rows) != size * self.folds:
            raise ValueError(f"shape {tuple(output.shape)} does not hold {size} samples")
        return rows if self.folds == 1 else rows.reshape(size, self.folds, *rows.shape[1:])


@dataclass(frozen=True)
class LayerPlan:
    """How one layer will be recorded."""

    name: str
    kind: str
    samples: SampleAxis
    rule: PoolRule
    has_weights: bool


@dataclass(frozen=True)
class CapturePlan:
    """All layers that will be recorded, in the order of their calls."""

    layers: dict[CallKey, LayerPlan]
    output: tuple[str, SampleAxis, PoolRule] | None
    skipped: tuple[tuple[str, str], ...]

    @property
    def features(self) -> int:
        """Numbers that one sample leaves, over all layers."""
        return sum(layer.rule.features for layer in self.layers.values())


@dataclass(frozen=True)
class _Probe:
    tensors: dict[CallKey, tuple[nn.Module, tuple[int, ...], torch.dtype]]
    output: list[tuple[str, torch.Tensor]]


def plan_capture(
    model: nn.Module,
    inputs: Inputs,
    wanted: Callable[[str], bool],
    containers: set[str],
    pool: Pool,
    max_features: int,
) -> CapturePlan:
    """Run the model on 2 and on 3 samples and read the sample axes off the shapes.

    Raises:
        ModelError: the model fails on the samples.
        InputError: nothing can be recorded (the reasons are listed).
    """
    probes = [_probe(model, inputs, size, wanted, containers) for size in _PROBE_SIZES]
    small, large = probes
    calls: dict[tuple[str, str], int] = {}
    parts: dict[tuple[str, int], int] = {}
    for key in small.tensors:
        calls[key.module, key.part] = max(calls.get((key.module, key.part), 0), key.call)
        parts[key.module, key.call] = parts.get((key.module, key.call), 0) + 1
    layers: dict[CallKey, LayerPlan] = {}
    skipped: list[tuple[str, str]] = []
    for key, (module, shape, dtype) in small.tensors.items():
        number = f"#{key.call}" if calls[key.module, key.part] > 1 else ""
        name = f"{key.module}{number}{key.part}"
        found = _samples(shape, large.tensors[key][1]) if key in large.tensors else None
        if not dtype.is_floating_point:
            skipped.append((name, f"puts out {str(dtype).removeprefix('torch.')}, not floats"))
        elif found is None:
            skipped.append((name, f"its output {shape} does not follow the number of samples"))
        else:
            rule = pool_rule(module, _row_shape(shape, found), pool, max_features)
            weighted = next(module.parameters(), None) is not None
            layers[key] = LayerPlan(name, type(module).__name__, found, rule, weighted)
    seen = {key.module for key in small.tensors}
    for module, name in module_names(model).items():
        leaf = next(module.children(), None) is None
        inside_seen = any(name.startswith(f"{outer}.") for outer in seen)
        if leaf and wanted(name) and name not in seen and not inside_seen:
            skipped.append((name, "was not called in the forward pass"))
    if not layers:
        reasons = "; ".join(f"{name}: {why}" for name, why in skipped[:5])
        raise InputError(f"no layer of the model can be recorded ({reasons})")
    return CapturePlan(layers, _output_plan(small, large, max_features), tuple(skipped))


def _probe(
    model: nn.Module,
    inputs: Inputs,
    size: int,
    wanted: Callable[[str], bool],
    containers: set[str],
) -> _Probe:
    tensors: dict[CallKey, tuple[nn.Module, tuple[int, ...], torch.dtype]] = {}

    def observe(key: CallKey, module: nn.Module, tensor: torch.Tensor) -> None:
        tensors[key] = (module, tuple(tensor.shape), tensor.dtype)

    probe = inputs.rows([row % inputs.size for row in range(size)])
    with observed(model, wanted, containers, observe) as reset:
        reset()
        try:
            output = call(model, probe)
        except Exception as error:
            raise model_failure(model, [*inputs.args, dict(inputs.kwargs)], error) from error
    return _Probe(tensors, tensors_in(output))


def _samples(small: tuple[int, ...], large: tuple[int, ...]) -> SampleAxis | None:
    """The one axis that grew from 2 to 3 samples in proportion."""
    if len(small) != len(large):
        return None
    grown = [axis for axis in range(len(small)) if small[axis] != large[axis]]
    few, many = _PROBE_SIZES
    if len(grown) != 1 or small[grown[0]] * many != large[grown[0]] * few:
        return None
    return SampleAxis(grown[0], small[grown[0]] // few)


def _row_shape(shape: tuple[int, ...], samples: SampleAxis) -> tuple[int, ...]:
    rest = tuple(size for axis, size in enumerate(shape) if axis != samples.axis)
    return rest if samples.folds == 1 else (samples.folds, *rest)


def _output_plan(
    small: _Probe, large: _Probe, max_features: int
) -> tuple[str, SampleAxis, PoolRule] | None:
    """The model's output when it is one small vector a sample: `logits`, or else the first."""
    sizes = dict(large.output)
    by_preference = sorted(small.output, key=lambda item: "logits" not in item[0])
    for path, tensor in by_preference:
        samples = _samples(tuple(tensor.shape), tuple(sizes[path].shape)) if path in sizes else None
        if samples is None or not tensor.is_floating_point():
            continue
        shape = _row_shape(tuple(tensor.shape), samples)
        rule = PoolRule(shape, max(len(shape) - 1, 0), None)
        return (path, samples, rule) if rule.features <= max_features else None
    return None
