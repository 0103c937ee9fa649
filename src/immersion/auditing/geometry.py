"""Every measure of one layer, on one neighbour graph."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from immersion.core.measurement import Measurement
from immersion.embed.pca import pca
from immersion.learned.recorder import Layer
from immersion.measure.agreement import Agreement, label_agreement
from immersion.measure.dimension import (
    against_shuffled,
    dimension_per_class,
    mle_dimension,
    shuffle_features,
    two_nn,
)
from immersion.measure.spectrum import spectrum
from immersion.sampled.graph import NeighborGraph, neighbor_graph

INPUT = "(input)"
_CONTROL_NEIGHBORS = 10


@dataclass(frozen=True, eq=False)
class LayerGeometry:
    """What was measured in one layer; `layer` is None for the input.

    Attributes:
        name: of the layer, "(input)" for the data themselves.
        kind: class of the module.
        shape: of one sample's output.
        rule: how an output became a vector, in words.
        grid: cells that positions were averaged to, None where nothing was averaged.
        units: number of units (channels, features).
        silenced: indices of the units that the layer itself holds constant.
        same_as: an earlier layer with the same values bit for bit, whose measures these are.
        two_nn, mle: intrinsic dimension, each with the null of shuffled features.
        per_class: `two_nn` of each class alone, with the null of features shuffled in the class.
        participation, directions: linear directions filled.
        neighbors: (n, k) nearest neighbours of every sample.
        agreement: what neighbours say of labels; None without labels.
        map: (n, 2) principal components.
        explained: share of the variance along the two axes of the map.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    rule: str
    grid: tuple[int, ...] | None
    units: int
    silenced: NDArray[np.int64]
    same_as: str | None
    two_nn: Measurement
    mle: Measurement
    per_class: Mapping[str, Measurement]
    participation: Measurement
    directions: Measurement
    neighbors: NDArray[np.int64]
    agreement: Agreement | None
    map: NDArray[np.float32]
    explained: tuple[float, float]

    def to_dict(self) -> dict[str, object]:
        """JSON-ready dictionary; coordinates and votes are left out."""
        disagreement = self.agreement.disagreement.to_dict() if self.agreement else None
        return {
            "name": self.name,
            "kind": self.kind,
            "shape": list(self.shape),
            "vector": self.rule,
            "units": self.units,
            "dead_units": self.silenced.tolist(),
            "same_as": self.same_as,
            "two_nn": self.two_nn.to_dict(),
            "mle_dimension": self.mle.to_dict(),
            "two_nn_per_class": {name: d.to_dict() for name, d in self.per_class.items()},
            "participation_ratio": self.participation.to_dict(),
            "linear_directions": self.directions.to_dict(),
            "label_disagreement": disagreement,
            "map_explained": [round(share, 6) for share in self.explained],
        }


class Surveyor:
    """Measures layers one by one; layers with the same values are measured once.

    Args:
        labels: class indices, or None.
        classes: names of the classes.
        neighbors: k of the graphs.
        seed: of the controls, the spectra and the maps.
    """

    def __init__(
        self,
        labels: NDArray[np.int64] | None,
        classes: tuple[str, ...],
        neighbors: int,
        seed: int,
    ) -> None:
        self._labels = labels
        self._classes = classes
        self._neighbors = neighbors
        self._seed = seed
        self._known: dict[bytes, LayerGeometry] = {}

    def data(
        self, points: NDArray[np.floating], shape: tuple[int, ...]
    ) -> tuple[LayerGeometry, NeighborGraph]:
        """The geometry of the inputs, and their graph with neighbours to spare for tangents."""
        layer = Layer(
            name=INPUT,
            kind="data",
            shape=shape,
            rule="x".join(map(str, shape)) + (", flattened" if len(shape) > 1 else ""),
            grid=None,
            activations=points,
            unit_low=points.min(axis=0),
            unit_high=points.max(axis=0),
            silenced=np.zeros(int(points.shape[1]), dtype=np.bool_),
        )
        graph = neighbor_graph(points, min(len(points) - 1, max(self._neighbors, 40)))
        measured = self._measure(graph, layer)
        self._known[_digest(points)] = measured
        return measured, graph

    def layer(self, layer: Layer) -> LayerGeometry:
        """The geometry of one captured layer."""
        points = np.ascontiguousarray(layer.activations)
        digest = _digest(points)
        known = self._known.get(digest)
        if known is not None:
            return replace(
                known,
                name=layer.name,
                kind=layer.kind,
                shape=layer.shape,
                rule=layer.rule,
                grid=layer.grid,
                units=layer.units,
                silenced=np.flatnonzero(layer.silenced),
                same_as=known.same_as or known.name,
            )
        measured = self._measure(neighbor_graph(points, self._neighbors), layer)
        self._known[digest] = measured
        return measured

    def _measure(self, graph: NeighborGraph, layer: Layer) -> LayerGeometry:
        k = min(_CONTROL_NEIGHBORS, self._neighbors)

        def mle(points: NeighborGraph) -> Measurement:
            return mle_dimension(points, k=k)

        control = neighbor_graph(shuffle_features(graph.points, self._seed), k)
        by_two, by_likelihood = (_with_null(e, graph, control) for e in (two_nn, mle))
        del control
        filled = spectrum(graph.points, seed=self._seed)
        picture = pca(graph.points, 2, random_state=self._seed)
        return LayerGeometry(
            name=layer.name,
            kind=layer.kind,
            shape=layer.shape,
            rule=layer.rule,
            grid=layer.grid,
            units=layer.units,
            silenced=np.flatnonzero(layer.silenced),
            same_as=None,
            two_nn=by_two,
            mle=by_likelihood,
            per_class=self._per_class(graph.points),
            participation=filled.participation,
            directions=filled.directions,
            neighbors=graph.indices[:, : self._neighbors],
            agreement=self._agreement(graph),
            map=picture.coordinates,
            explained=(float(picture.explained[0]), float(picture.explained[1])),
        )

    def _per_class(self, points: NDArray[np.floating]) -> Mapping[str, Measurement]:
        if self._labels is None:
            return {}
        return dimension_per_class(
            lambda members: against_shuffled(two_nn, members, seed=self._seed, k=2),
            points,
            self._labels,
            self._classes,
        )

    def _agreement(self, graph: NeighborGraph) -> Agreement | None:
        if self._labels is None:
            return None
        return label_agreement(graph, self._labels, len(self._classes), k=self._neighbors)


def _with_null(
    estimate: Callable[[NeighborGraph], Measurement], graph: NeighborGraph, control: NeighborGraph
) -> Measurement:
    return replace(estimate(graph), null=estimate(control))


def _digest(points: NDArray[np.floating]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(points).data, digest_size=16).digest()
