"""Neighbour graphs in safetensors files, written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from immersion.core.errors import InputError, OutputError, ReadError
from immersion.core.metric import GeodesicManifold
from immersion.sampled.graph import NeighborGraph
from immersion.sampled.points import as_points
from immersion.sampled.search.kinds import KINDS

if TYPE_CHECKING:
    from immersion.sampled.points import Points

_FORMAT = "immersion.NeighborGraph/1"


def write_graph(graph: NeighborGraph, path: str | os.PathLike[str], points: bool) -> None:
    """Write to a file beside `path`, bring it to the disk, and only then give it the name.

    Raises:
        OutputError: the file cannot be written; what was at `path` is as it was.
    """
    from safetensors import numpy as files

    write: Any = files.save_file  # pyright: ignore[reportUnknownVariableType]
    target = Path(path)
    small = graph.n < 2**31
    tensors = {
        "indices": graph.indices.astype(np.int32) if small else graph.indices,
        "distances": np.ascontiguousarray(graph.distances),
    }
    if points and graph.has_points:
        tensors["points"] = np.ascontiguousarray(graph.points)
    described = {
        "metric": graph.metric,
        "manifold": graph.manifold is not None,
        "search": {"kind": graph.search.__class__.__name__, **asdict(graph.search)},
        "recall": [_word(graph.recall), _word(graph.recall_stderr), graph.recall_n],
        "has_points": graph.has_points,
    }
    metadata = {"format": _FORMAT, "graph": json.dumps(described)}
    draft: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        os.close(handle)
        draft = Path(name)
        write(tensors, draft, metadata)
        with draft.open("rb+") as written:
            os.fsync(written.fileno())
        draft.chmod(0o666 & ~_umask())
        draft.replace(target)
    except Exception as error:
        # safetensors raises an error of its own for a full disk, beside OSError.
        raise OutputError(f"{target} cannot be written: {error}") from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


def read_graph(
    path: str | os.PathLike[str], points: Points | None, manifold: GeodesicManifold | None
) -> NeighborGraph:
    """Read and check what `write_graph` wrote.

    Raises:
        ReadError: missing, damaged, or not a graph.
        InputError: points or manifold that do not go with the file.
    """
    import safetensors

    opened: Any = safetensors.safe_open  # its types are not stated
    damaged: type[Exception] = safetensors.SafetensorError
    try:
        with opened(path, framework="numpy") as stored:
            metadata: dict[str, str] = stored.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ReadError(f"{path} is no neighbour graph; write one with graph.save(path)")
            tensors: dict[str, Any] = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            described: dict[str, Any] = json.loads(metadata["graph"])
    except (OSError, damaged, json.JSONDecodeError) as error:
        raise ReadError(f"{path} cannot be read as a neighbour graph: {error}") from error
    try:
        indices = np.asarray(tensors["indices"], np.int64)
        distances = np.asarray(tensors["distances"], np.float32)
        chosen = dict(described["search"])
        search = KINDS[chosen.pop("kind")](**chosen)
        recall, stderr, sample = described["recall"]
        metric, curved = str(described["metric"]), bool(described["manifold"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(f"{path} is a damaged neighbour graph: {error!r}") from error
    n = len(indices)
    in_range = indices.ndim == 2 and indices.size and indices.min() >= 0 and indices.max() < n
    if not in_range or indices.shape != distances.shape:
        raise ReadError(
            f"{path} is a damaged neighbour graph: indices {indices.shape}, distances "
            f"{distances.shape}, or an index outside 0..n-1"
        )
    if manifold is not None and (not curved or str(manifold) != metric):
        raise InputError(f"{path} has the metric {metric}, not {manifold}")
    held = tensors.get("points", np.empty((n, 0), np.float32))
    if points is not None:
        held = as_points(points)
    if len(held) != n:
        raise InputError(f"{len(held)} points for the graph of {n} in {path}")
    return NeighborGraph(
        held, indices, distances, metric, search, _number(recall), _number(stderr), sample,
        manifold,
    )  # fmt: skip


def _word(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _umask() -> int:
    # The mask can only be read by setting it; it is put back at once.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
