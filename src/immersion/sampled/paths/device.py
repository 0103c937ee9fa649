"""Min-plus sweeps in torch, for a CUDA device: the same labels to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from immersion.core.chunking import row_chunks

if TYPE_CHECKING:
    from immersion.sampled.paths.plan import Plan


def solve(
    plan: Plan,
    places: NDArray[np.int64],
    rows: NDArray[np.int64],
    distances: NDArray[np.floating],
    budget: int,
    device: str | torch.device,
    advance: Callable[[int], None],
) -> None:
    """Write the distances from the `places` of the plan to the `rows` of `distances`.

    Points are sorted by descending number of neighbours. The s-th neighbours of the points that
    have so many then are one gather and one minimum over the leading rows of the labels, without
    atomic operations. A sweep is done when every neighbour has had its turn; sweeps end when no
    label falls.

    Memory: four arrays of one label for each point and source of a block, 32 n bytes a source.
    """
    where = torch.device(device)
    degrees = np.diff(plan.starts)
    by_degree = np.argsort(-degrees, kind="stable")
    rank = np.empty(plan.n, np.int64)
    rank[by_degree] = np.arange(plan.n)
    slots: list[tuple[torch.Tensor, torch.Tensor]] = []
    # degrees sorted ascending: how many points have more than s neighbours, for every s
    every = np.arange(int(degrees.max(initial=0)))
    more = plan.n - np.searchsorted(np.sort(degrees), every, "right")
    for slot, count in enumerate(more.tolist()):
        edges = plan.starts[by_degree[:count]] + slot
        slots.append(
            (
                torch.from_numpy(rank[plan.indices[edges]]).to(where),
                torch.from_numpy(plan.lengths[edges])[:, None].to(where),
            )
        )
    columns = torch.from_numpy(rank[plan.position])
    for part in row_chunks(len(places), 32 * plan.n, budget):
        sources = torch.from_numpy(rank[places[part]]).to(where)
        labels = torch.full((plan.n, len(sources)), torch.inf, dtype=torch.float64, device=where)
        labels[sources, torch.arange(len(sources), device=where)] = 0
        while True:
            before = labels.clone()
            for neighbours, lengths in slots:
                head = labels[: len(neighbours)]
                torch.minimum(head, labels[neighbours].add_(lengths), out=head)
            if torch.equal(before, labels):
                break
        distances[rows[part]] = labels.cpu()[columns].T.numpy()
        advance(len(sources))
