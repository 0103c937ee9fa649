"""Is the neighbour graph exact, whatever computes it?

Idea: computation.

Distances in float32 round, and near ties then come out in another order from each library. On
three clouds of points the graphs of the two engines (faiss, torch) are compared with brute force in
float64. The null is the short way, a float32 matrix product ranked as it is.

The claim holds if both engines agree with brute force in every neighbour on every cloud, and the
null does not on at least one.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch

import immersion as im

SEED, K = 0, 15


def clouds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(SEED)
    normal = rng.normal(size=(1500, 32)).astype(np.float32)
    grid = np.stack(np.meshgrid(*[np.arange(11)] * 3), -1).reshape(-1, 3).astype(np.float32)
    return {
        "digits": im.datasets.digits().x[:1500].reshape(1500, -1) / np.float32(255),
        "normal, far from 0": normal + np.float32(1000),
        "grid, full of ties": grid,
    }


def brute_force(points: np.ndarray) -> np.ndarray:
    """Neighbours by (distance, index) from differences in float64, one point at a time."""
    x = points.astype(np.float64)
    nearest = []
    for i, point in enumerate(x):
        squared = ((x - point) ** 2).sum(axis=1)
        squared[i] = np.inf
        nearest.append(np.argsort(squared, kind="stable")[:K])
    return np.array(nearest)


def short_way(points: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(points)
    norms = (x * x).sum(1)
    squared = norms[:, None] - 2 * x @ x.T + norms
    squared.fill_diagonal_(torch.inf)
    return squared.topk(K, largest=False).indices.numpy()


def main() -> None:
    engines = ["torch", "faiss"] if find_spec("faiss") else ["torch"]
    columns = [*engines, "float32 (null)"]
    print("claim: the graph is that of brute force, whatever the engine; rows that differ:")
    print(f"{'points':<20}{'n':>6}" + "".join(f"{column:>16}" for column in columns))
    ours, null = 0, 0
    for name, points in clouds().items():
        exact = brute_force(points)
        wrong = []
        for engine in engines:
            graph = im.neighbor_graph(points, K, search=im.Exact(engine))
            wrong.append(int((graph.indices != exact).any(axis=1).sum()))
        ours += sum(wrong)
        wrong.append(int((short_way(points) != exact).any(axis=1).sum()))
        null += wrong[-1]
        print(f"{name:<20}{len(points):>6}" + "".join(f"{count:>16}" for count in wrong))
    print("a count has no sampling error: every row was compared")
    if ours:
        print("outcome: does not hold")
    elif null and len(engines) == 2:
        print("outcome: holds")
    else:
        print("outcome: not decidable")


if __name__ == "__main__":
    main()
