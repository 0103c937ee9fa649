"""Does a taxonomy fit into five dimensions?

Idea: hyperbolic space, hierarchies.

WordNet's 1,180 mammals and the 6,540 pairs (noun, more general noun) of its closure are embedded so
that of each pair the distance is less than to nouns that are no generalisation of it: the softmax
loss of Nickel and Kiela (2017), on batches of edges with 50 random nouns each, by Riemannian Adam.
Each noun's generalisations are then ranked among all nouns by distance. Mean rank 1 and mean
average precision (MAP) 1 are perfect; Nickel and Kiela (their figure 2) report 1.26 and 0.927 in
five hyperbolic dimensions. `accuracy/wordnet_mammals.py` is the full run, with several seeds; this
one is short.

The nulls: Euclidean space of the same dimension, trained in the same way; and the same edges with
the general nouns permuted, which keeps how often each occurs and leaves no taxonomy.

The claim holds if the hyperbolic embedding is at least as good as published, and beats both nulls.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

import immersion as im
from immersion.datasets.wordnet import wordnet_mammals

SEED, DIMENSION, EPOCHS = 0, 5, 60
PUBLISHED_RANK, PUBLISHED_MAP = 1.26, 0.927


def related(edges: Tensor, n: int) -> Tensor:
    """Whether column is a generalisation of row, (n, n)."""
    table = torch.zeros(n, n, dtype=torch.bool)
    table[edges[:, 0], edges[:, 1]] = True
    return table


def train(
    manifold: im.GeodesicManifold,
    edges: Tensor,
    n: int,
    *,
    epochs: int,
    lr: float = 0.3,
    batch: int = 512,
    negatives: int = 50,
    temperature: float = 0.5,
    burn_in: float = 0.2,
    seed: int = SEED,
) -> Tensor:
    """Points (n, d) in float64, whose distances tell the edges.

    The loss of an edge (u, v) is that of picking v among `negatives` nouns that are no
    generalisations of u, by a softmax of -distance / temperature. The first part of the epochs is
    a "burn-in", in which the order round the origin forms: a tenth of the rate, and those nouns are
    drawn as often as they are general ones of edges. In the second half the rate falls to a
    twentieth.
    """
    generator = torch.Generator().manual_seed(seed)
    table = nn.Embedding(n, *manifold.point_shape, dtype=torch.float64)
    with torch.no_grad():
        near = manifold.wrapped_normal(origin(manifold).expand(n, -1), 1e-3, generator)
        table.weight.copy_(near)
    im.constrain_(table, "weight", manifold)
    optimizer = im.RiemannianAdam(table, lr)
    wrong = related(edges, n) | torch.eye(n, dtype=torch.bool)
    for epoch in range(epochs):
        early, done = epoch < burn_in * epochs, epoch / epochs
        optimizer.param_groups[0]["lr"] = lr * (0.1 if early else min(1, 1.95 - 1.9 * done))
        for rows in torch.randperm(len(edges), generator=generator).split(batch):
            u, v = edges[rows].split(1, 1)
            size = len(rows), negatives
            if early:
                others = edges[torch.randint(len(edges), size, generator=generator), 1]
            else:
                others = torch.randint(n, size, generator=generator)
            away = manifold.dist(table(u), table(torch.cat([v, others], 1))) / temperature
            away[:, 1:] = away[:, 1:].masked_fill(wrong[u, others], torch.inf)
            loss = nn.functional.cross_entropy(-away, torch.zeros(len(rows), dtype=torch.long))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return table.weight.detach()


def origin(manifold: im.GeodesicManifold) -> Tensor:
    """A point in the middle."""
    return manifold.proj(torch.zeros(manifold.point_shape, dtype=torch.float64))


def distances(manifold: im.GeodesicManifold, points: Tensor) -> Tensor:
    """All distances, (n, n)."""
    return torch.cat([manifold.dist(rows[:, None], points) for rows in points.split(128)])


def reconstruction(away: Tensor, edges: Tensor) -> tuple[float, float]:
    """Mean rank and mean average precision of the edges by distance, as Nickel and Kiela measure.

    The rank of an edge (u, v) is 1 + the number of nouns at most as far from u as v that are
    neither u nor a generalisation of u; its mean is over the edges. The average precision of u is
    over its generalisations, as scikit-learn has it; its mean is over the nouns that have any.
    """
    n = len(away)
    positive = related(edges, n)
    away = away.clone().fill_diagonal_(torch.inf)
    u, v = edges.unbind(1)
    limit = away[u, v][:, None]

    def closer(of: Tensor) -> Tensor:
        ordered = away.masked_fill(~of, torch.inf).sort(1).values
        return torch.searchsorted(ordered[u], limit, right=True).squeeze(1)

    right, wrong = closer(positive), closer(~positive)
    precision = right.double() / (right + wrong)
    count = positive.sum(1)
    mean = torch.zeros(n, dtype=precision.dtype).index_add_(0, u, precision) / count
    return float((1 + wrong).double().mean()), float(mean[count > 0].mean())


def permuted(edges: Tensor, seed: int) -> Tensor:
    """Edges with the general nouns permuted, without loops and copies."""
    order = torch.randperm(len(edges), generator=torch.Generator().manual_seed(seed))
    mixed = torch.stack([edges[:, 0], edges[order, 1]], 1)
    return mixed[mixed[:, 0] != mixed[:, 1]].unique(dim=0)


def nearest(away: Tensor, edges: Tensor, names: tuple[str, ...], name: str) -> str:
    """As many of the nearest nouns as there are generalisations, these marked."""
    row = names.index(name)
    true = set(edges[edges[:, 0] == row, 1].tolist())
    order = [other for other in away[row].argsort().tolist() if other != row][: len(true)]
    return ", ".join(names[other] + ("" if other in true else " (wrong)") for other in order)


def main() -> None:
    torch.set_num_threads(1)
    mammals = wordnet_mammals()
    n, edges = len(mammals), torch.from_numpy(mammals.closure)
    mixed = permuted(edges, SEED)
    ball, flat = im.PoincareBall(DIMENSION), im.Euclidean(DIMENSION)
    print(f"claim: {DIMENSION} hyperbolic dimensions hold a taxonomy")
    print(f"{mammals.source}: {n} nouns, {len(edges)} edges; {len(mixed)} permuted")
    print(f"{'space':<34}{'mean rank':>10}{'MAP':>8}{'CPU s':>7}")
    found = {}
    for name, manifold, given in (
        ("hyperbolic", ball, edges),
        ("Euclidean (null)", flat, edges),
        ("hyperbolic, permuted (null)", ball, mixed),
    ):
        begin = time.process_time()
        points = train(manifold, given, n, epochs=EPOCHS)
        seconds = time.process_time() - begin
        away = distances(manifold, points)
        found[name] = rank, precision = reconstruction(away, given)
        print(f"{name:<34}{rank:>10.2f}{precision:>8.3f}{seconds:>7.1f}")
        if name == "hyperbolic":
            shown = nearest(away, edges, mammals.names, "siamese_cat.n.01")
    print(f"{'Nickel and Kiela (2017)':<34}{PUBLISHED_RANK:>10.2f}{PUBLISHED_MAP:>8.3f}")
    print(f"nearest to siamese_cat.n.01: {shown}")

    (rank, precision), *nulls = found.values()
    published = rank <= PUBLISHED_RANK and precision >= PUBLISHED_MAP
    beaten = all(rank < null[0] / 2 and precision > null[1] + 0.2 for null in nulls)
    print(f"outcome: {'holds' if published and beaten else 'does not hold'}")


if __name__ == "__main__":
    main()
