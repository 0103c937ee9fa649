"""Audit a model on data: capture, measure, check."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from immersion.auditing.checks import CHECKS
from immersion.auditing.evidence import Evidence
from immersion.auditing.finding import Check, Finding
from immersion.auditing.gates import Gate
from immersion.auditing.geometry import INPUT, LayerGeometry, Surveyor
from immersion.auditing.metrics import metric_names
from immersion.auditing.prepare import Prepared, prepare
from immersion.auditing.result import Audit, ranked
from immersion.auditing.thresholds import Thresholds
from immersion.core.chunking import DEFAULT_BUDGET
from immersion.core.errors import InputError, ModelError
from immersion.core.measurement import Measurement, proportion
from immersion.core.progress import Progress, Silent
from immersion.core.reason import Reason
from immersion.datasets.samples import as_samples, first_nonfinite
from immersion.learned.capture import Capture, capture
from immersion.learned.tracing import evaluating
from immersion.measure.sensitivity import Sensitivity, off_manifold_sensitivity
from immersion.sampled.graph import NeighborGraph

_PROBED = 256


def audit(
    model: nn.Module,
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    samples: int = 10_000,
    neighbors: int = 15,
    seed: int = 0,
    device: str | torch.device | None = None,
    memory: int = DEFAULT_BUDGET,
    gates: Sequence[Gate] = (),
    thresholds: Thresholds | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Measure the geometry of data in every layer of a model and say what calls for action.

    Args:
        model: any PyTorch module; a classifier of the labels gets the full set of checks.
        data: what `immersion.datasets.as_samples` takes: `Samples`, (x, y), an array, a torch
            data set or loader.
        layers: names or patterns as in `immersion.capture`; all leaves by default.
        samples: most samples audited; more are drawn down in proportion to the classes.
        neighbors: k of the neighbour graphs.
        seed: of every random choice; the same seed gives the same result.
        device: where the model runs, and comes back from; where it lies by default.
        memory: bytes of activations held; beyond it they go to memory-mapped files.
        gates: conditions to be judged later; a name that does not exist is refused at once.
        thresholds: where a value becomes a finding.
        progress: where to tell how far it is; silent by default.

    Raises:
        InputError: the data or a parameter cannot be used.
        ModelError: the model fails on the data.

    Cost: one forward pass, then O(n^2 D) a layer of D features for the neighbour graph and as
    much for its control.
    """
    told = progress or Silent()
    if neighbors < 3:
        raise InputError(f"neighbors must be at least 3, not {neighbors}")
    if samples < 2:
        raise InputError(f"samples must be at least 2, not {samples}")
    with _placed(model, device):
        prepared = prepare(model, as_samples(data), most=samples, neighbors=neighbors, seed=seed)
        with capture(model, prepared.inputs, layers, memory=memory, progress=told) as recorded:
            _require_gates(gates, prepared, recorded)
            broken = _broken(recorded)
            evidence = _survey(
                model, prepared, recorded, broken, neighbors, seed, thresholds or Thresholds(), told
            )
            skipped = (*recorded.skipped, *broken.items())
        provenance = _provenance(model, prepared)
    found: list[Finding] = []
    checks: list[Check] = []
    for check in CHECKS:
        outcome = check(evidence)
        checks.append(outcome.check)
        found.extend(outcome.findings)
    settings: dict[str, object] = {
        "layers": [layers] if isinstance(layers, str) else list(layers) if layers else None,
        "samples": samples,
        "neighbors": neighbors,
        "seed": seed,
        "thresholds": vars(evidence.thresholds),
    }
    return Audit(
        findings=ranked(found),
        checks=tuple(checks),
        accuracy=_accuracy(evidence),
        evidence=evidence,
        skipped=skipped,
        provenance={**provenance, "settings": settings},
    )


def _survey(
    model: nn.Module,
    prepared: Prepared,
    recorded: Capture,
    broken: Mapping[str, Reason],
    neighbors: int,
    seed: int,
    thresholds: Thresholds,
    told: Progress,
) -> Evidence:
    """Every measure of every layer, then the sensitivity of the whole."""
    stored = prepared.samples
    surveyor = Surveyor(stored.y, stored.classes, neighbors, seed)
    geometry = graph = None
    with told.stage("geometry", len(recorded) + prepared.has_points) as advance:
        if prepared.has_points:
            points = prepared.inputs.flatten(1).numpy()
            geometry, graph = surveyor.data(points, tuple(prepared.inputs.shape[1:]))
            advance(1)
        surveyed: list[LayerGeometry] = []
        for layer in recorded.values():
            if layer.name not in broken:
                surveyed.append(surveyor.layer(layer))
            advance(1)
    # A copy: what lies in the files of the capture is gone when it is closed.
    output = None if recorded.output is None else np.array(recorded.output)
    predictions = _predictions(output, stored.classes)
    sensitivity, reason = None, "no_points"
    if graph is not None and geometry is not None:
        with told.stage("sensitivity"):
            dimension = geometry.two_nn.value
            sensitivity, reason = _sensitivity(
                model, prepared, graph, dimension, predictions, output, seed
            )
    return Evidence(
        prepared, geometry, tuple(surveyed), output, predictions, sensitivity, reason,
        thresholds,
    )  # fmt: skip


def _broken(recorded: Capture) -> dict[str, Reason]:
    """Layers whose outputs are no points, with the reason; the audit goes on without them.

    Raises:
        ModelError: no layer is left.
    """
    broken: dict[str, Reason] = {}
    for layer in recorded.values():
        found = first_nonfinite(layer.activations)
        if found is not None:
            broken[layer.name] = Reason(
                "not_finite",
                "puts out NaN or infinite values for {rows} of {n} samples, first for audited "
                "sample {first}",
                rows=found[0],
                n=recorded.n,
                first=found[1],
            )
    if len(broken) == len(recorded):
        name, why = next(iter(broken.items()))
        raise ModelError(f"no layer of the model can be measured: {name} {why}")
    return broken


def _sensitivity(
    model: nn.Module,
    prepared: Prepared,
    graph: NeighborGraph,
    dimension: float,
    predictions: NDArray[np.int64] | None,
    output: NDArray[np.floating] | None,
    seed: int,
) -> tuple[Sensitivity | None, str]:
    """The sensitivity, or the reason why there is none."""
    if output is None or output.ndim != 2 or output.shape[1] < 2:
        return None, "no_logits"
    if not math.isfinite(dimension):
        return None, "no_dimension"
    y = prepared.samples.y
    usable = np.arange(prepared.n)
    if predictions is not None and y is not None:
        usable = np.flatnonzero(predictions == y)
    # A point that has a twin has no unit of length.
    usable = usable[graph.distances[usable, 0] > 0]
    if len(usable) < 20:
        return None, "few_right"
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(usable)[:_PROBED])
    dim = int(
        np.clip(round(dimension), 1, min(graph.k // 2, graph.k - 2, graph.points.shape[1] - 1))
    )
    place = next(model.parameters(), None)

    def logits(x: torch.Tensor) -> torch.Tensor:
        moved = x if place is None else x.to(place.device, place.dtype)
        returned = model(moved)
        return returned.to("cpu", x.dtype)

    try:
        with evaluating(model), torch.enable_grad():
            return (
                off_manifold_sensitivity(
                    logits, graph, tuple(prepared.inputs.shape[1:]), rows, dim, seed=seed
                ),
                "",
            )
    except (RuntimeError, AttributeError, NotImplementedError):
        # No derivative, or an output that is no tensor: the audit goes on without this check.
        return None, "failed"


def _predictions(
    output: NDArray[np.floating] | None, classes: Sequence[str]
) -> NDArray[np.int64] | None:
    """Predicted classes as indices into `classes`, -1 for a class that the data do not have.

    Output j stands for the class called "j" when all names are such numbers, so that data with
    only some of the model's classes are matched right; else for the j-th class.
    """
    if output is None or output.ndim != 2 or len(classes) < 2:
        return None
    width = output.shape[1]
    numbers = [int(name) if name.isdecimal() else -1 for name in classes]
    if all(0 <= number < width for number in numbers):
        columns = np.full(width, -1, np.int64)
        columns[numbers] = np.arange(len(classes), dtype=np.int64)
    elif width == len(classes):
        columns = np.arange(width, dtype=np.int64)
    else:
        return None
    return columns[output.argmax(axis=1)]


def _accuracy(evidence: Evidence) -> Measurement | None:
    if evidence.predictions is None or evidence.labels is None:
        return None
    n = evidence.data.n
    right = int(np.count_nonzero(evidence.predictions == evidence.labels))
    most = float(np.bincount(evidence.labels).max()) / n
    null = Measurement("accuracy", most, 0.0, n, {"predictor": "the most frequent class"})
    return proportion("accuracy", right, n, null=null)


def _require_gates(gates: Sequence[Gate], prepared: Prepared, recorded: Capture) -> None:
    """Refuse unknown metrics before the long part: names depend on the layers alone."""
    names = metric_names(
        [*([INPUT] if prepared.has_points else []), *recorded],
        labelled=prepared.samples.y is not None,
    )
    for gate in gates:
        gate.require_known(names)


@contextmanager
def _placed(model: nn.Module, device: str | torch.device | None) -> Generator[None]:
    """The model on another device for a while; it goes back to where it was."""
    if device is None:
        yield
        return
    place = next(chain(model.parameters(), model.buffers()), None)
    try:
        model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        said = str(error).strip().splitlines()[0]
        raise ModelError(f"the model cannot be moved to device {str(device)!r} ({said})") from error
    try:
        yield
    finally:
        if place is not None:
            model.to(place.device)


def _provenance(model: nn.Module, prepared: Prepared) -> dict[str, object]:
    place = next(model.parameters(), None)
    stored = prepared.samples
    return {
        "model": {
            "name": type(model).__name__,
            "parameters": sum(p.numel() for p in model.parameters()),
            "sha256": _model_hash(model),
        },
        "data": {
            "source": stored.source,
            "samples": prepared.n,
            "of": prepared.total,
            "shape": list(stored.shape),
            "dtype": str(stored.x.dtype),
            "range": [float(stored.x.min()), float(stored.x.max())],
            "classes": list(stored.classes),
            "rows": "all" if prepared.n == prepared.total else prepared.rows.tolist(),
            "sha256": stored.sha256(),
        },
        "device": str(place.device) if place is not None else "cpu",
        "versions": _versions(),
    }


def _model_hash(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)  # pyright: ignore[reportUnknownMemberType]
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    names = ("immersion", "torch", "numpy", "scipy", "numba", "faiss-cpu")
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
