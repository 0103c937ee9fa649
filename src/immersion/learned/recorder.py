"""The streaming side of a capture: activations to the store, and the range of every unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from immersion.core.errors import ImmersionError, InputError
from immersion.core.reason import Reason
from immersion.learned.batches import Inputs, call
from immersion.learned.plan import SOME_BATCHES, CapturePlan, LayerPlan
from immersion.learned.pooling import pool_rule, unit_axis_of
from immersion.learned.store import RowStore
from immersion.learned.tracing import CallKey, model_failure, tensors_in
from immersion.learned.units import UnitRange, silenced_units


@dataclass(frozen=True, eq=False)
class Layer:
    """What one layer put out on n samples.

    Attributes:
        name: qualified module name, `#2` for its second call, `[0]` for a part of a nested output.
        kind: class of the module.
        shape: shape of one sample's output, without the sample axis.
        rule: how it became a vector, in words.
        grid: cells that positions were averaged to, None where nothing was averaged.
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
    grid: tuple[int, ...] | None
    activations: NDArray[np.floating]
    unit_low: NDArray[np.floating]
    unit_high: NDArray[np.floating]
    silenced: NDArray[np.bool_]

    @property
    def units(self) -> int:
        """How many units the layer has."""
        return len(self.unit_low)


class Recorder:
    """Takes what the hooks see, batch by batch, and makes `Layer`s of it."""

    def __init__(self, plan: CapturePlan, store: RowStore) -> None:
        self.store = store
        self.n = 0
        self._plan = plan
        self._size = 0
        self._modules: dict[CallKey, nn.Module] = {}
        self._ranges: dict[CallKey, UnitRange] = {}
        # The first recorded part of a call stands for the call: it tells where samples lie.
        self._watched = {(key.module, key.call): plan.layers[key] for key in reversed(plan.layers)}
        self._given: dict[tuple[str, int], UnitRange] = {}
        self._rows: dict[str, int] = {}
        self._failed: dict[str, Reason] = {}
        self._late: set[str] = set()

    def run(self, model: nn.Module, inputs: Inputs) -> int:
        """One batch through the model; returns its number of samples.

        Raises:
            ModelError: the model fails on the batch.
        """
        self._size = inputs.size
        try:
            output = call(model, inputs)
        except (ImmersionError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            raise model_failure(model, [*inputs.args, dict(inputs.kwargs)], error) from error
        if self._plan.output is not None:
            path, plan = self._plan.output
            for met, tensor in tensors_in(output):
                if met == path:
                    self._keep(plan, tensor)
        self.n += inputs.size
        return inputs.size

    def observe(self, key: CallKey, module: nn.Module, tensor: torch.Tensor | None) -> None:
        """Hook target: one output tensor of one call."""
        if tensor is None:
            return
        layer = self._plan.layers.get(key)
        if layer is None:
            if key not in self._plan.seen:
                self._late.add(key.module + (f"#{key.call}" if key.call > 1 else ""))
            return
        rows = self._keep(layer, tensor)
        if rows is not None:
            self._modules[key] = module
            low, high = layer.rule.unit_range(rows)
            self._ranges.setdefault(key, UnitRange(low, high)).widen(low, high)

    def observe_input(self, name: str, call: int, module: nn.Module, tensor: torch.Tensor) -> None:
        """Hook target: the input of one call.

        A unit that is computed from constants only is inherited, not silenced, by the module.
        """
        layer = self._watched.get((name, call))
        if layer is None or not tensor.numel() or tensor.is_complex():
            return
        found = _input_range(layer, module, tensor.detach(), self._size)
        known = self._given.get((name, call))
        if found is None or (known is not None and known.low.shape != found.low.shape):
            del self._watched[name, call]
            self._given.pop((name, call), None)
        else:
            self._given.setdefault((name, call), found).widen(found.low, found.high)

    def result(
        self,
    ) -> tuple[dict[str, Layer], NDArray[np.floating] | None, list[tuple[str, Reason]]]:
        """The layers, the model's output and what was skipped on the way.

        Raises:
            InputError: every layer failed.
        """
        layers: dict[str, Layer] = {}
        for key, plan in self._plan.layers.items():
            if self._complete(plan):
                layers[plan.name] = self._layer(key, plan)
        output = None
        if self._plan.output is not None and self._complete(plan := self._plan.output[1]):
            output = self.store.finish(plan.name, plan.rule.features)
        late = dict.fromkeys(sorted(self._late), SOME_BATCHES)
        skipped = {**self._plan.skipped, **late, **self._failed}
        if not layers:
            raise InputError(
                "no layer could be recorded: " + "; ".join(map(": ".join, skipped.items()))
            )
        return layers, output, list(skipped.items())

    def _complete(self, plan: LayerPlan) -> bool:
        """Whether every sample has its row; what is not complete is dropped."""
        rows = self._rows.get(plan.name, 0)
        if plan.name not in self._failed and rows != self.n:
            self._failed[plan.name] = Reason(
                "some_samples", "was called for {rows} of {n} samples only", rows=rows, n=self.n
            )
        if plan.name in self._failed:
            self.store.drop(plan.name)
        return plan.name not in self._failed

    def _layer(self, key: CallKey, plan: LayerPlan) -> Layer:
        unit = self._ranges[key]
        given = self._given.get((key.module, key.call))
        return Layer(
            name=plan.name,
            kind=plan.kind,
            shape=plan.rule.shape,
            rule=str(plan.rule),
            grid=plan.rule.grid,
            activations=self.store.finish(plan.name, plan.rule.features),
            unit_low=unit.low.cpu().numpy(),
            unit_high=unit.high.cpu().numpy(),
            silenced=silenced_units(self._modules[key], given, unit),
        )

    def _keep(self, plan: LayerPlan, tensor: torch.Tensor) -> torch.Tensor | None:
        """The rows of one batch, float32 at least, once their vectors are in the store."""
        if plan.name in self._failed:
            return None
        try:
            rows = plan.samples.to_rows(tensor.detach(), self._size)
            if rows.shape[1:] != plan.rule.shape:
                raise ValueError(f"shape {tuple(tensor.shape)} is not that of the first batch")
        except ValueError as error:
            self._failed[plan.name] = Reason(
                "shape_changes", "changes its shape between batches: {what}", what=error
            )
            self.store.drop(plan.name)
            return None
        wide = torch.float64 if plan.dtype == torch.float64 else torch.float32
        rows = rows.to(wide)
        vectors = plan.rule.apply(rows).to("cpu", copy=True).contiguous().numpy()
        self._rows[plan.name] = self._rows.get(plan.name, 0) + len(vectors)
        self.store.append(plan.name, vectors)
        return rows


def _input_range(
    layer: LayerPlan, module: nn.Module, tensor: torch.Tensor, size: int
) -> UnitRange | None:
    """Range of the units of an input; None where it tells nothing of the units of the output.

    A module without weights that changes the shape makes nothing constant by itself.
    """
    try:
        rows = layer.samples.to_rows(tensor, size)
    except ValueError:
        return None
    shape, axis = tuple(rows.shape[1:]), layer.rule.unit_axis
    if shape != layer.rule.shape:
        if next(module.parameters(), None) is None:
            return None
        axis = unit_axis_of(module, shape, folded=layer.samples.folds > 1)
    return UnitRange(*pool_rule(module, shape, "flatten", unit_axis=axis).unit_range(rows))
