"""The streaming side of a capture: activations to the store, and the range of every unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from immersion.core.errors import InputError
from immersion.learned.batches import Inputs, call
from immersion.learned.plan import CapturePlan, LayerPlan
from immersion.learned.store import RowStore
from immersion.learned.tracing import CallKey, model_failure, tensors_in

_OUTPUT = "the model's output"


@dataclass(frozen=True, eq=False)
class Layer:
    """What one layer put out on n samples.

    Attributes:
        name: qualified module name, `#2` for its second call, `[0]` for a part of a nested output.
        kind: class of the module.
        shape: shape of one sample's output, without the sample axis.
        rule: how it became a vector, in words.
        activations: (n, features); read-only when it lies on disk.
        unit_low: (units,) least value of each unit (channel or feature) over all samples and
            positions, before any averaging.
        unit_high: (units,) greatest value likewise.
        silenced: (units,) units that are constant here although what they are computed from is not.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    rule: str
    activations: NDArray[np.floating]
    unit_low: NDArray[np.floating]
    unit_high: NDArray[np.floating]
    silenced: NDArray[np.bool_]

    @property
    def units(self) -> int:
        """How many units the layer has."""
        return len(self.unit_low)


class _UnitRange:
    """Running least and greatest value of each unit."""

    def __init__(self) -> None:
        self.low: torch.Tensor | None = None
        self.high: torch.Tensor | None = None

    def update(self, low: torch.Tensor, high: torch.Tensor) -> None:
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)

    def constant(self) -> NDArray[np.bool_]:
        assert self.low is not None and self.high is not None
        return (self.low == self.high).cpu().numpy()


class Recorder:
    """Takes what the hooks see, batch by batch, and makes `Layer`s of it."""

    def __init__(self, plan: CapturePlan, store: RowStore) -> None:
        self.store = store
        self.n = 0
        self._plan = plan
        self._size = 0
        self._ranges: dict[CallKey, _UnitRange] = {}
        self._input_ranges: dict[tuple[str, int], _UnitRange] = {}
        self._rows: dict[str, int] = {}
        self._dtypes: dict[str, np.dtype[np.floating]] = {}
        self._failed: dict[str, str] = {}

    def run(self, model: nn.Module, inputs: Inputs) -> int:
        """One batch through the model; returns its number of samples."""
        self._size = inputs.size
        try:
            output = call(model, inputs)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except RuntimeError as error:
            raise model_failure(model, [*inputs.args, dict(inputs.kwargs)], error) from error
        if self._plan.output is not None:
            path, samples, rule = self._plan.output
            tensor = dict(tensors_in(output)).get(path)
            if tensor is not None:
                self._keep(_OUTPUT, rule.apply(samples.to_rows(tensor, self._size)))
        self.n += inputs.size
        return inputs.size

    def observe(self, key: CallKey, module: nn.Module, tensor: torch.Tensor) -> None:
        """Hook target: one output tensor of one call."""
        layer = self._plan.layers.get(key)
        if layer is None or layer.name in self._failed:
            return
        try:
            rows = layer.samples.to_rows(tensor, self._size)
            if rows.shape[1:] != layer.rule.shape:
                raise ValueError(f"shape {tuple(tensor.shape)} is not that of the first batch")
        except ValueError as error:
            self._failed[layer.name] = f"changes its shape between batches: {error}"
            return
        rows = rows.detach()
        self._ranges.setdefault(key, _UnitRange()).update(*layer.rule.unit_range(rows))
        self._keep(layer.name, layer.rule.apply(rows))

    def observe_input(self, module: str, call: int, tensor: torch.Tensor) -> None:
        """Hook target: the input of one call, watched where the module works unit by unit.

        A unit that is constant there already is inherited, not silenced, by the module.
        """
        layer = self._plan.layers.get(CallKey(module, call, ""))
        if layer is None:
            return
        try:
            rows = layer.samples.to_rows(tensor.detach(), self._size)
        except (ValueError, IndexError):
            return
        if rows.shape[1:] == layer.rule.shape:
            unit = self._input_ranges.setdefault((module, call), _UnitRange())
            unit.update(*layer.rule.unit_range(rows))

    def result(self) -> tuple[dict[str, Layer], NDArray[np.floating] | None, list[tuple[str, str]]]:
        """The layers, the model's output and what was skipped on the way.

        Raises:
            InputError: every layer failed.
        """
        layers: dict[str, Layer] = {}
        for key, plan in self._plan.layers.items():
            rows = self._rows.get(plan.name, 0)
            if plan.name not in self._failed and rows != self.n:
                self._failed[plan.name] = f"was called for {rows} of {self.n} samples only"
            if plan.name in self._failed:
                self.store.drop(plan.name)
                continue
            layers[plan.name] = self._layer(key, plan)
        skipped = [*self._plan.skipped, *self._failed.items()]
        if not layers:
            raise InputError("no layer could be recorded: " + "; ".join(map(": ".join, skipped)))
        output = None
        if self._plan.output is not None and self._rows.get(_OUTPUT) == self.n:
            features = self._plan.output[2].features
            output = self.store.finish(_OUTPUT, features, self._dtypes[_OUTPUT])
        return layers, output, skipped

    def _layer(self, key: CallKey, plan: LayerPlan) -> Layer:
        unit = self._ranges[key]
        assert unit.low is not None and unit.high is not None
        given = self._input_ranges.get((key.module, key.call))
        silenced = unit.constant()
        if given is not None:
            silenced = silenced & ~given.constant()
        elif not plan.has_weights:
            # A reshaping or pooling module passes constants on; it cannot silence a unit itself.
            silenced = np.zeros_like(silenced)
        return Layer(
            name=plan.name,
            kind=plan.kind,
            shape=plan.rule.shape,
            rule=str(plan.rule),
            activations=self.store.finish(plan.name, plan.rule.features, self._dtypes[plan.name]),
            unit_low=unit.low.float().cpu().numpy(),
            unit_high=unit.high.float().cpu().numpy(),
            silenced=silenced,
        )

    def _keep(self, name: str, vectors: torch.Tensor) -> None:
        wide = vectors.dtype == torch.float64
        kept = vectors.detach().to("cpu", torch.float64 if wide else torch.float32, copy=True)
        array = kept.contiguous().numpy()
        self._dtypes[name] = array.dtype
        self._rows[name] = self._rows.get(name, 0) + len(array)
        self.store.append(name, array)
