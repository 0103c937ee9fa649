"""Record what every layer of a model puts out on some data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from immersion.core.chunking import DEFAULT_BUDGET
from immersion.core.errors import InputError
from immersion.core.progress import Progress, Silent
from immersion.core.reason import Reason
from immersion.learned.batches import as_batches, sample_count, to_model
from immersion.learned.modules import is_leaf, module_names
from immersion.learned.plan import plan_capture
from immersion.learned.pooling import Pool
from immersion.learned.recorder import Layer, Recorder
from immersion.learned.store import RowStore
from immersion.learned.tracing import evaluating, observed


class Capture(Mapping[str, Layer]):
    """The layers by name, in the order of their first call; a context manager.

    Attributes:
        n: number of samples.
        output: (n, outputs) what the model returned, or None where that is no small vector.
        skipped: (layer, reason) for everything that could not be recorded.
    """

    def __init__(
        self,
        layers: dict[str, Layer],
        output: NDArray[np.floating] | None,
        skipped: tuple[tuple[str, Reason], ...],
        n: int,
        store: RowStore,
    ) -> None:
        self._layers = layers
        self.output = output
        self.skipped = skipped
        self.n = n
        self._store = store

    def __getitem__(self, name: str) -> Layer:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files behind the activations, if there are any."""
        self._store.close()


def capture(
    model: nn.Module,
    batches: torch.Tensor | NDArray[Any] | Iterable[Any],
    layers: str | Sequence[str] | None = None,
    *,
    pool: Pool = "auto",
    max_features: int = 4096,
    memory: int = DEFAULT_BUDGET,
    progress: Progress | None = None,
) -> Capture:
    """Record the output of every leaf module of a model over all batches.

    The model runs in evaluation mode, without gradients, on the device it lies on, and is left in
    its former mode. Outputs are taken at the moment of the call, so a later in-place operation
    cannot change them. A tuple, list, dict or dataclass output gives one layer a tensor. A module
    that is called k times in a pass gives layers `name#1` to `name#k`. What cannot be recorded is
    listed with its reason in `skipped`.

    Args:
        model: any PyTorch module; compiled ones run eagerly here.
        batches: one tensor or array of all samples, or an iterable of batches: a tensor or array is
            passed as it is, of a tuple or list the first item, a mapping as keyword arguments, a
            tuple within a tuple as positional ones. Samples lie on the first axis.
        layers: names or shell patterns (`"conv*"`); a container is recorded when named exactly.
            None records every leaf.
        pool: "auto" flattens up to `max_features` numbers a sample and averages positions beyond;
            "flatten" always flattens; "mean" averages over all positions.
        max_features: bound for "auto".
        memory: bytes of activations to hold; beyond it they are memory-mapped files.
        progress: where to tell how far it is; silent by default.

    Returns:
        The layers by name, in order of their calls. Float64 outputs stay so, other floating outputs
        become float32.

    Raises:
        ModelError: the model fails on the data (shapes met and expected are shown).
        InputError: no batch, or no layer matches `layers` (the names are listed), or no layer can
            be recorded.
        OutputError: activations beyond `memory` do not fit the disk; known before the pass where
            the number of samples is.

    Cost: one forward pass over the data and two over 2 and 3 samples, which tell whose entries are
    whose in every output (`immersion.learned.samples`). Memory: at most `memory`, one batch's
    activations and a copy of the largest layer.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> with capture(model, torch.ones(5, 3)) as layers:
        ...     {name: layer.activations.shape for name, layer in layers.items()}
        {'0': (5, 8), '1': (5, 8), '2': (5, 2)}
    """
    stream = as_batches(batches)
    wanted, containers = select_layers(model, layers)
    total = sample_count(batches)
    with evaluating(model):
        calls = (inputs for batch in stream if (inputs := to_model(model, batch)).size)
        first = next(calls, None)
        if first is None:
            raise InputError("there is no batch to run the model on")
        plan = plan_capture(model, first, wanted, containers, pool, max_features)
        store = RowStore(memory, total)
        store.require_room(plan.bytes_per_sample * (total or 0))
        recorder = Recorder(plan, store)
        hooks = observed(model, wanted, containers, recorder.observe, recorder.observe_input)
        try:
            with hooks as reset, (progress or Silent()).stage("layers", total) as advance:
                for inputs in chain([first], calls):
                    reset()
                    advance(recorder.run(model, inputs))
            recorded, output, skipped = recorder.result()
        except BaseException:
            store.close()
            raise
    return Capture(recorded, output, tuple(skipped), recorder.n, store)


def select_layers(
    model: nn.Module, layers: str | Sequence[str] | None
) -> tuple[Callable[[str], bool], set[str]]:
    """Which module names are wanted, and which of them are containers named exactly.

    Raises:
        InputError: a pattern matches nothing; the layers there are, are listed.
    """
    if layers is None:
        return (lambda name: True), set()
    patterns = [layers] if isinstance(layers, str) else list(layers)
    names = {name: is_leaf(module) for module, name in module_names(model).items()}
    chosen: set[str] = set()
    for pattern in patterns:
        found = {
            name
            for name, leaf in names.items()
            if name == pattern or (leaf and fnmatchcase(name, pattern))
        }
        if not found:
            known = ", ".join(name for name, leaf in names.items() if leaf)
            raise InputError(f"no layer matches {pattern!r}; the layers are: {known}")
        chosen |= found
    return chosen.__contains__, {name for name in chosen if not names[name]}
