"""Singular points, boundaries and noise levels against the truth of synthetic manifolds.

False alarms: share of points with p <= 0.05 and share of samples with any place, on manifolds
without boundary (exact 95% interval of Clopper and Pearson over the samples). Detection: AUROC of
the score, points within the radius of the middle scale's patch of a singular point (or of the
boundary) against all others. Points within two such radii of the other kind of place are left out,
and planes that cross at an angle are looked for within radius / sin(angle), where the other sheet
enters the patch. Errors of a mean are over the samples. Noise: mean, and how many 95% intervals
hold the truth. Results are written after each part, so an interrupted run keeps what it has.

    python benchmarks/singularity.py [--seeds 20] [--data mnist.npz] [--only alarms] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
from scipy.stats import beta, rankdata

from immersion.datasets import synthetic
from immersion.datasets.synthetic import SyntheticManifold
from immersion.measure.singular import boundary, noise_level, singularity
from immersion.sampled.graph import neighbor_graph

ALPHA = 0.05
Maker = Callable[[int, int], np.ndarray]
LIMITS = {"auroc_at_least": 0.95, "false_alarms_below": ALPHA}


def uneven_sphere(n: int, seed: int, dim: int, strength: float) -> np.ndarray:
    """A sphere with density proportional to exp(strength z), by rejection."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n * 40, dim + 1))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kept = rng.uniform(size=len(x)) < np.exp(strength * (x[:, -1] - 1))
    if kept.sum() < n:
        raise SystemExit("too few draws were accepted")
    return x[kept][:n]


def ellipsoid(n: int, seed: int) -> np.ndarray:
    """A sphere stretched by 1, 2 and 3, with the density that this gives."""
    return synthetic.sphere(n, 2, random_state=seed).points * np.array([1.0, 2.0, 3.0])


def closed_manifolds() -> dict[str, tuple[int, Maker]]:
    """Name, size and maker of every manifold without boundary."""
    found: dict[str, tuple[int, Maker]] = {}
    for n in (1000, 3000, 10_000):
        for d in (1, 2, 3):
            for noise, wide in ((0.0, None), (0.01, None), (0.01, 20)):
                if (wide and n > 1000) or (d == 1 and n == 10_000):
                    continue
                name = f"sphere d={d} n={n} noise={noise}" + (f" D={wide}" if wide else "")

                def sphere(
                    n: int, seed: int, d: int = d, noise: float = noise, wide: int | None = wide
                ) -> np.ndarray:
                    return synthetic.sphere(
                        n, d, noise=noise, ambient_dim=wide, random_state=seed
                    ).points

                found[name] = (n, sphere)
    found["torus n=3000"] = (3000, lambda n, s: synthetic.torus(n, random_state=s).points)
    found["klein bottle n=3000"] = (
        3000, lambda n, s: synthetic.klein_bottle(n, random_state=s).points
    )  # fmt: skip
    found["ellipsoid 1:2:3 n=3000"] = (3000, ellipsoid)
    for d in (1, 2, 3):
        found[f"uneven sphere d={d} n=3000"] = (
            3000, lambda n, s, d=d: uneven_sphere(n, s, d, 1.5)
        )  # fmt: skip
    return found


def false_alarms(seeds: int, match: str, known: dict[str, Any]) -> dict[str, Any]:
    """Rates on the closed manifolds whose names contain `match`, and on all with those known."""
    rates = {name: row for name, row in known.items() if name != "all"}
    for name, (n, maker) in closed_manifolds().items():
        if match not in name:
            continue
        shares, hits, open_ = [], 0, 0
        for seed in range(seeds):
            found = singularity(maker(n, seed))
            if found.verdict == "not decidable":
                open_ += 1
                continue
            shares.append(float(np.nanmean(found.p_values <= ALPHA)))
            hits += bool(found.places)
        low, high = clopper_pearson(hits, len(shares))
        rates[name] = {
            **mean_and_error(shares, "points_alarmed"),
            "samples_alarmed": hits,
            "samples": len(shares),
            "samples_alarmed_interval": [low, high],
            "samples_not_decidable": open_,
        }
        print(name, json.dumps(rates[name]), flush=True)
    means = [r["points_alarmed"] for r in rates.values() if "points_alarmed" in r]
    hits = sum(r["samples_alarmed"] for r in rates.values())
    count = sum(r["samples"] for r in rates.values())
    rates["all"] = {
        "largest_points_alarmed": max(means),
        "samples_alarmed": hits,
        "samples": count,
        "samples_alarmed_interval": list(clopper_pearson(hits, count)),
    }
    return rates


def auroc(score: np.ndarray, truth: np.ndarray) -> float:
    """Probability that a positive ranks above a negative, ties half."""
    rank = rankdata(score)
    ones = int(truth.sum())
    return float((rank[truth].sum() - ones * (ones + 1) / 2) / (ones * (len(truth) - ones)))


def singular_sets() -> dict[str, Callable[[int], SyntheticManifold]]:
    """What is to be found."""
    make = synthetic
    return {
        "crossing planes n=2000": lambda s: make.crossing_planes(2000, random_state=s),
        "crossing planes n=10000": lambda s: make.crossing_planes(10_000, random_state=s),
        "crossing planes, noise .005 n=3000": lambda s: make.crossing_planes(
            3000, noise=0.005, random_state=s
        ),
        "planes at 30 degrees n=3000": lambda s: make.crossing_planes(
            3000, angle=math.pi / 6, random_state=s
        ),
        "crossing lines n=1000": lambda s: make.crossing_planes(1000, 1, random_state=s),
        "crossing 3-discs n=10000": lambda s: make.crossing_planes(10_000, 3, random_state=s),
        "cone n=3000": lambda s: make.cone(3000, random_state=s),
        "flat cone (half angle 60) n=3000": lambda s: make.cone(
            3000, half_angle=math.pi / 3, random_state=s
        ),
        "cuspidal edge n=3000": lambda s: make.cuspidal_edge(3000, random_state=s),
        "pierced disc n=3000": lambda s: make.pierced_disc(3000, random_state=s),
        "disc n=2000": lambda s: make.hyperball(2000, 2, ambient_dim=5, random_state=s),
        "3-ball n=10000": lambda s: make.hyperball(10_000, 3, ambient_dim=5, random_state=s),
        "Mobius band n=3000": lambda s: make.mobius_band(3000, random_state=s),
        "swiss roll n=3000": lambda s: make.swiss_roll(3000, random_state=s),
    }


def detection(seeds: int) -> dict[str, object]:
    """AUROC on every singular set and boundary."""
    rates: dict[str, object] = {}
    for name, maker in singular_sets().items():
        singular, edge, kinds, apart = [], [], {}, []
        for seed in range(seeds):
            m = maker(seed)
            found = singularity(m.points)
            scores = np.nan_to_num(found.scores)
            middle = found.scales[min(1, len(found.scales) - 1)]
            d = m.dim
            radius = float(np.median(found.radii)) * (middle / found.scales[-1]) ** (1 / d)
            # At an angle the other sheet comes within a patch at radius / sin(angle).
            reach = radius / math.sin(float(m.settings.get("angle", math.pi / 2)))
            far_from_edge = ~(m.boundary_distance < 2 * radius)
            if np.isfinite(m.singular_distance).any():
                near = m.singular_distance[far_from_edge] < reach
                singular.append(auroc(scores[far_from_edge], near))
            inside = ~(m.singular_distance < 2 * reach)
            if np.isfinite(m.boundary_distance).all():
                edge.append(auroc(scores[inside], m.boundary_distance[inside] < radius))
            for place in found.places:
                kinds[place.kind] = kinds.get(place.kind, 0) + 1
            nearest = np.minimum(m.singular_distance, m.boundary_distance)
            wide = 1.5 * float(np.median(found.radii))
            apart.append(float(np.mean(nearest[found.flagged] > wide)))
        rates[name] = {
            **(mean_and_error(singular, "singular_auroc") if singular else {}),
            **(mean_and_error(edge, "boundary_auroc") if edge else {}),
            "places_per_sample": {kind: count / seeds for kind, count in sorted(kinds.items())},
            "flagged_beyond_1.5_radii": float(np.mean(apart)),
        }
        print(name, json.dumps(rates[name]), flush=True)
    return rates


def noise(seeds: int) -> dict[str, object]:
    """Noise levels and the coverage of their intervals."""
    make = synthetic
    cases: dict[str, Callable[[float, int], SyntheticManifold]] = {
        "circle n=2000": lambda s, r: make.sphere(2000, 1, noise=s, random_state=r),
        "sphere n=3000": lambda s, r: make.sphere(3000, 2, noise=s, random_state=r),
        "sphere in 20 dimensions n=3000": lambda s, r: make.sphere(
            3000, 2, noise=s, ambient_dim=20, random_state=r
        ),
        "torus n=3000": lambda s, r: make.torus(3000, noise=s, random_state=r),
        "swiss roll n=3000": lambda s, r: make.swiss_roll(3000, noise=s, random_state=r),
    }
    rates: dict[str, object] = {}
    for name, maker in cases.items():
        for sigma in (0.0, 0.005, 0.02):
            scale = 10.0 if name.startswith("swiss") else 1.0
            truth = sigma * scale
            dim = 1 if name.startswith("circle") else 2
            found = [noise_level(maker(truth, seed).points, dim) for seed in range(seeds)]
            covered = [abs(f.value - truth) <= 1.96 * f.stderr for f in found]
            rates[f"{name} sigma={truth}"] = {
                **mean_and_error([f.value for f in found], "sigma"),
                "stderr_reported": float(np.mean([f.stderr for f in found])),
                "covered": sum(covered),
                "samples": seeds,
            }
            print(name, truth, json.dumps(rates[f"{name} sigma={truth}"]), flush=True)
    return rates


def distances(seeds: int) -> dict[str, object]:
    """Distances to the boundary at flagged points, in radii of the patches."""
    make = synthetic
    cases: dict[str, Callable[[int], SyntheticManifold]] = {
        "disc n=3000": lambda s: make.hyperball(3000, 2, ambient_dim=3, random_state=s),
        "cube n=10000": lambda s: make.hypercube(10_000, 3, random_state=s),
        "Mobius band n=3000": lambda s: make.mobius_band(3000, random_state=s),
        "swiss roll n=3000": lambda s: make.swiss_roll(3000, random_state=s),
    }
    rates: dict[str, object] = {}
    for name, maker in cases.items():
        errors, zs, powers = [], [], []
        for seed in range(seeds):
            m = maker(seed)
            found = boundary(m.points)
            own = found.flagged
            error = found.distance[own] - m.boundary_distance[own]
            radius = float(np.median(found.radii))
            errors.append(math.sqrt(float((error**2).mean())) / radius)
            zs.append(math.sqrt(float(((error / found.stderr[own]) ** 2).mean())))
            powers.append(float(own[m.boundary_distance < radius / 2].mean()))
        rates[name] = {
            **mean_and_error(errors, "rms_error_over_radius"),
            **mean_and_error(zs, "rms_error_over_stderr"),
            **mean_and_error(powers, "found_within_half_a_radius"),
        }
        print(name, json.dumps(rates[name]), flush=True)
    return rates


def costs(data: str | None) -> dict[str, object]:
    """CPU seconds by size, the graph apart, and what is said of real data."""
    rates: dict[str, object] = {}
    singularity(synthetic.sphere(1000, 2).points)  # compiles, or loads what is compiled
    for n, wide in ((10_000, 3), (70_000, 3), (70_000, 50)):
        x = synthetic.sphere(n, 2, ambient_dim=wide).points
        start = time.process_time()
        graph = neighbor_graph(x, 64)
        middle = time.process_time()
        singularity(graph)
        end = time.process_time()
        rates[f"sphere n={n} D={wide}"] = {"graph_cpu_s": middle - start, "cpu_s": end - middle}
        print(n, wide, rates[f"sphere n={n} D={wide}"], flush=True)
    if data:
        images = np.load(data)["train_images"][:10_000].reshape(10_000, -1).astype(np.float32)
        start = time.process_time()
        found = singularity(images)
        rates["MNIST, first 10,000 training images"] = {
            "verdict": found.verdict, "caveats": list(found.caveats),
            "cpu_s": time.process_time() - start,
        }  # fmt: skip
        print(found, flush=True)
    return rates


def mean_and_error(values: list[float], name: str) -> dict[str, float]:
    """Mean, its standard error, and nothing where there is no value."""
    if not values:
        return {}
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {name: float(np.mean(values)), f"{name}_error": error}


def clopper_pearson(hits: int, n: int) -> tuple[float, float]:
    """Exact 95% interval of a share."""
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--data")
    parser.add_argument("--only", choices=["alarms", "detection", "noise", "distances", "costs"])
    default = record.RESULTS / "singularity.json"
    parser.add_argument("--match", default="", help="of the alarms only those of such names")
    parser.add_argument("--output", type=Path, default=default)
    asked = parser.parse_args()
    written = json.loads(asked.output.read_text()) if asked.only and asked.output.exists() else {}
    parts: dict[str, Callable[[], dict[str, object]]] = {
        "costs": lambda: costs(asked.data),
        "detection": lambda: detection(asked.seeds),
        "noise": lambda: noise(asked.seeds),
        "distances": lambda: distances(asked.seeds),
        "alarms": lambda: false_alarms(asked.seeds, asked.match, written.get("alarms", {})),
    }
    written.update(
        limits=LIMITS,
        seeds=asked.seeds,
        versions=record.versions("numpy", "scipy", "numba"),
        machine=record.machine(),
    )
    for name, part in parts.items():
        if asked.only in (None, name):
            written[name] = part()
            record.write(written, asked.output)


if __name__ == "__main__":
    main()
