"""A taxonomy: names, the direct is-a edges between them, and all that follows from these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """Names and is-a edges, most of the time nearly a tree: a name may have several parents.

    Attributes:
        names: one name a node, distinct.
        parents: (m, 2) int64, the direct edges as rows (child, parent) of positions in `names`.
        source: where it comes from, for reports.

    Raises:
        InputError: names that repeat, or edges that lead outside of `names`.

    Example:
        >>> from immersion.datasets.wordnet import Taxonomy
        >>> pets = Taxonomy(("animal", "dog", "poodle"), np.array([[1, 0], [2, 1]]), "by hand")
        >>> pets.closure.tolist()
        [[1, 0], [2, 0], [2, 1]]
    """

    names: tuple[str, ...]
    parents: NDArray[np.int64]
    source: str

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise InputError(f"Taxonomy: {len(self.names)} names, some of them twice")
        edges = self.parents
        if edges.ndim != 2 or edges.shape[1] != 2 or not np.issubdtype(edges.dtype, np.integer):
            raise InputError(
                f"Taxonomy: parents has shape {edges.shape} and dtype {edges.dtype}; "
                "give rows (child, parent) of whole numbers"
            )
        if edges.size and (edges.min() < 0 or edges.max() >= len(self.names)):
            raise InputError(
                f"Taxonomy: parents holds {edges.min()} to {edges.max()}; "
                f"positions in names are 0 to {len(self.names) - 1}"
            )

    def __len__(self) -> int:
        """Number of names."""
        return len(self.names)

    @cached_property
    def closure(self) -> NDArray[np.int64]:
        """Every pair (node, ancestor), (e, 2), sorted by node, then ancestor.

        The transitive closure of `parents`: what embeddings of taxonomies are trained on and
        measured by. A node is no ancestor of its own. Costs O(e).
        """
        above: list[list[int]] = [[] for _ in self.names]
        for child, parent in self.parents.tolist():
            above[child].append(parent)
        pairs = [
            (node, ancestor)
            for node in range(len(self.names))
            for ancestor in sorted(reached(above, node))
        ]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def reached(steps: Sequence[Sequence[int]], start: int) -> set[int]:
    """All nodes that a walk from `start` can reach, without `start` itself; cycles are safe."""
    found = {start}
    todo = [start]
    while todo:
        new = set(steps[todo.pop()]) - found
        found |= new
        todo.extend(new)
    return found - {start}
