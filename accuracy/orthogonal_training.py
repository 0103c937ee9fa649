"""Training with orthogonal weights: what each optimiser reaches, at what cost, how orthogonal.

    python accuracy/orthogonal_training.py [--mnist mnist.npz]

Three parts, written whole to `accuracy/orthogonal_training.json`. "digits": a small network with
orthogonal convolutions and an orthogonal linear layer on handwritten digits. Beside the optimisers
of the package stand nulls: the same network free of constraints, orthogonal layers that stay as
they were drawn, and Adam followed by a projection. "problems": Procrustes and principal components,
whose optima are known; one more null is POGO's step with Euclidean gradients for Adam.
"feasibility": 10,000 float32 steps along noise, and the violation that one step of POGO leaves,
with one term of the series (2602.14656) and with four. The learning rate of each method is the best
of a grid of one size: on validation images for "digits", which the reported runs do not see, and on
a problem of another seed for "problems".
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LinearLR

from immersion.datasets.digits import digits
from immersion.known.constraints import constrain_, constraints
from immersion.known.orthonormal.stiefel import Stiefel
from immersion.layers.orthogonal_conv import OrthogonalConv2d
from immersion.layers.orthogonal_linear import OrthogonalLinear
from immersion.optim.adam import RiemannianAdam
from immersion.optim.muon import ManifoldMuon
from immersion.optim.pogo import POGO, orthogonal_step
from immersion.optim.sgd import RiemannianSGD

ROOT = Path(__file__).resolve().parents[1]
SEEDS = range(4)
TUNING_SEED = 100
BATCH, EPOCHS = 100, 4
PROBLEM_STEPS, PROBLEM_SEEDS = 300, range(3)
FEASIBILITY_STEPS = 10_000


def projected_adam(module: nn.Module, lr: float) -> Optimizer:
    """The obvious way: a step of Adam, then the nearest point of the manifold."""
    optimizer = Adam(module.parameters(), lr)

    def project(*_: object) -> None:
        with torch.no_grad():
            for name, manifold in constraints(module).items():
                parameter = module.get_parameter(name)
                parameter.copy_(manifold.proj(parameter))

    optimizer.register_step_post_hook(project)
    return optimizer


def euclidean_adam(module: nn.Module, lr: float) -> Optimizer:
    """The step of POGO round Adam, which sees the Euclidean gradients of columns."""
    optimizer = Adam(module.parameters(), lr)
    parameters = list(module.parameters())
    before: list[Tensor] = []

    def remember(*_: object) -> None:
        before[:] = [parameter.detach().clone() for parameter in parameters]

    def correct(*_: object) -> None:
        with torch.no_grad():
            for parameter, x in zip(parameters, before, strict=True):
                parameter.copy_(orthogonal_step(x[None], (parameter - x)[None])[0])

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(correct)
    return optimizer


def free_adam(module: nn.Module, lr: float) -> Optimizer:
    """Adam on the parameters that are not constrained."""
    held = constraints(module)
    return Adam([p for name, p in module.named_parameters() if name not in held], lr)


@dataclass(frozen=True)
class Method:
    """How to make an optimiser, the rates to choose from, and whether the layers are orthogonal."""

    make: Callable[[nn.Module, float], Optimizer]
    rates: tuple[float, ...]
    orthogonal: bool = True


LOW, HIGH, HIGHEST = (1e-3, 3e-3, 1e-2, 3e-2), (1e-2, 3e-2, 1e-1, 3e-1), (3e-2, 1e-1, 3e-1, 1.0)
METHODS: dict[str, Method] = {
    "RiemannianSGD (momentum 0.9)": Method(
        lambda m, lr: RiemannianSGD(m, lr=lr, momentum=0.9), HIGHEST
    ),
    "RiemannianAdam": Method(lambda m, lr: RiemannianAdam(m, lr=lr), HIGHEST),
    "POGO (SGD, momentum 0.9)": Method(
        lambda m, lr: POGO(m, partial(SGD, lr=lr, momentum=0.9)), HIGHEST
    ),
    "POGO (Adam)": Method(lambda m, lr: POGO(m, partial(Adam, lr=lr)), HIGH),
    "ManifoldMuon": Method(lambda m, lr: ManifoldMuon(m, lr, adamw_lr=3e-3), HIGH),
}
NULLS: dict[str, Method] = {
    "null: Adam, then projection": Method(projected_adam, HIGH),
    "null: unconstrained Adam": Method(
        lambda m, lr: Adam(m.parameters(), lr), LOW, orthogonal=False
    ),
    "null: orthogonal layers not trained": Method(free_adam, HIGH),
}
PROBLEM_NULLS: dict[str, Method] = {
    "null: Adam, then projection": NULLS["null: Adam, then projection"],
    "null: POGO's step, but Euclidean gradients for Adam": Method(euclidean_adam, HIGH),
}
SMALL, LARGE = (1e-2, 3e-2, 1e-1, 3e-1, 1.0), (1e-1, 3e-1, 1.0, 3.0, 10.0)
PROBLEM_RATES = {
    "RiemannianSGD (momentum 0.9)": SMALL,
    "RiemannianAdam": LARGE,
    "POGO (SGD, momentum 0.9)": SMALL,
    "POGO (Adam)": SMALL,
    "ManifoldMuon": SMALL,
    "null: Adam, then projection": SMALL,
    "null: POGO's step, but Euclidean gradients for Adam": SMALL,
}


def worst_violation(module: nn.Module) -> float:
    """Largest violation of a constrained parameter; NaN where there is none."""
    found = [
        float(manifold.violation(module.get_parameter(name).detach()).max())
        for name, manifold in constraints(module).items()
    ]
    return max(found, default=float("nan"))


def network(seed: int, *, orthogonal: bool) -> nn.Sequential:
    """28 x 28 to 10 classes; without constraints it starts as the same map."""
    torch.manual_seed(seed)
    convolutions = [OrthogonalConv2d(1, 16, 4, stride=2), OrthogonalConv2d(16, 32, 4, stride=2)]
    linear = OrthogonalLinear(32 * 7 * 7, 64)
    head = nn.Linear(64, 10)
    layers: list[nn.Module] = [*convolutions, linear]
    if not orthogonal:
        layers = [plain_convolution(layer) for layer in convolutions] + [nn.Linear(1568, 64)]
        layers[2].load_state_dict(linear.state_dict())
    first, second, third = layers
    relu = nn.ReLU()
    return nn.Sequential(first, relu, second, relu, nn.Flatten(), third, relu, head)


def plain_convolution(layer: OrthogonalConv2d) -> nn.Conv2d:
    """The same map as an ordinary convolution."""
    plain = nn.Conv2d(
        layer.in_channels, layer.out_channels, 4, stride=2, padding=1, padding_mode="circular"
    )
    plain.load_state_dict({"weight": layer.kernel().detach(), "bias": layer.bias})
    return plain


@dataclass(frozen=True)
class Images:
    """Images (n, 1, 28, 28) in [0, 1] and classes, in three parts."""

    source: str
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def read_images(mnist: Path | None) -> Images:
    """The bundled digits in parts of 3500, 500 and 1000; of MNIST 6000, 1000 and the test set."""
    if mnist is None:
        data = digits()
        x, y = torch.from_numpy(data.x).float() / 255, torch.from_numpy(data.y)
        parts = [(x[a:b], y[a:b]) for a, b in ((0, 3500), (3500, 4000), (4000, 5000))]
        return Images(data.source, *parts)
    with np.load(mnist, allow_pickle=False) as stored:
        x, y = torch.from_numpy(stored["train_images"]), torch.from_numpy(stored["train_labels"])
        rows = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:7000]
        test = torch.from_numpy(stored["test_images"]), torch.from_numpy(stored["test_labels"])
    scaled = [
        (images.unsqueeze(1).float() / 255, labels.long())
        for images, labels in (
            (x[rows[:6000]], y[rows[:6000]]),
            (x[rows[6000:]], y[rows[6000:]]),
            test,
        )
    ]
    return Images("MNIST, 7,000 training images", *scaled)


def share_right(model: nn.Module, part: tuple[Tensor, Tensor]) -> float:
    """Share of images put in their class."""
    with torch.no_grad():
        return float((model(part[0]).argmax(1) == part[1]).double().mean())


def train_digits(
    method: Method, rate: float, seed: int, data: Images
) -> tuple[nn.Module, dict[str, float]]:
    """One run, the learning rate falling to zero on a line."""
    model = network(seed, orthogonal=method.orthogonal)
    optimizer = method.make(model, rate)
    x, y = data.train
    total = EPOCHS * len(y) // BATCH
    schedule = LinearLR(optimizer, 1.0, 0.0, total)
    generator = torch.Generator().manual_seed(seed)
    worst, stepping, all_time = 0.0, [], []
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(y), generator=generator).split(BATCH):
            begun = time.process_time()
            optimizer.zero_grad()
            functional.cross_entropy(model(x[rows]), y[rows]).backward()
            middle = time.process_time()
            optimizer.step()
            end = time.process_time()
            schedule.step()
            stepping.append(end - middle)
            all_time.append(end - begun)
            worst = max(worst, worst_violation(model))
    return model, {
        "worst_violation": worst,
        "optimizer_cpu_ms": 1e3 * statistics.median(stepping),
        "step_cpu_ms": 1e3 * statistics.median(all_time),
    }


def measure_digits(data: Images) -> list[dict[str, Any]]:
    """Choose a rate for each method on validation images, then run all seeds."""
    rows: list[dict[str, Any]] = []
    for name, method in (METHODS | NULLS).items():
        tuned = {
            rate: share_right(train_digits(method, rate, TUNING_SEED, data)[0], data.validation)
            for rate in method.rates
        }
        rate = max(tuned, key=lambda one: tuned[one])
        runs = [train_digits(method, rate, seed, data) for seed in SEEDS]
        scores = [share_right(model, data.test) for model, _ in runs]
        rows.append(
            {
                "method": name,
                "test_accuracy": statistics.mean(scores),
                "test_accuracy_stderr": stderr(scores),
                "worst_violation": max(run["worst_violation"] for _, run in runs)
                if method.orthogonal
                else None,
                "optimizer_cpu_ms": statistics.median(run["optimizer_cpu_ms"] for _, run in runs),
                "step_cpu_ms": statistics.median(run["step_cpu_ms"] for _, run in runs),
                "lr": rate,
                "validation_by_lr": {str(one): score for one, score in tuned.items()},
            }
        )
        print_row(rows[-1], "test_accuracy")
    return rows


@dataclass(frozen=True)
class Problem:
    """A loss of an orthonormal matrix (n, p), its least value, and where to start."""

    loss: Callable[[Tensor], Tensor]
    optimum: float
    start: Tensor


def procrustes(seed: int) -> Problem:
    """The rotation of 40 dimensions that best takes 80 points to noisy images of them."""
    generator = torch.Generator().manual_seed(seed)
    random = partial(torch.randn, generator=generator, dtype=torch.float64)
    a = random(80, 40)
    b = a @ torch.linalg.qr(random(40, 40))[0] + 0.5 * random(80, 40)
    left, _, right = torch.linalg.svd(a.mT @ b)
    best = left @ right
    start = torch.linalg.qr(random(40, 40))[0]
    # orthogonal matrices have two components, and no path leads from one to the other
    if torch.det(start) * torch.det(best) < 0:
        start[:, 0] *= -1

    def loss(x: Tensor) -> Tensor:
        return (a @ x - b).square().sum() / (2 * len(a))

    return Problem(loss, float(loss(best)), start)


def principal_components(seed: int) -> Problem:
    """The 5 leading eigenvectors of a covariance of 60 dimensions, with gaps of 20%."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64))[0]
    spectrum = 10 * 0.8 ** torch.arange(60, dtype=torch.float64)
    covariance = basis * spectrum @ basis.mT
    start = torch.linalg.qr(torch.randn(60, 5, generator=generator, dtype=torch.float64))[0]

    def loss(x: Tensor) -> Tensor:
        return -(x * (covariance @ x)).sum() / 2

    return Problem(loss, float(-spectrum[:5].sum() / 2), start)


PROBLEMS: dict[str, Callable[[int], Problem]] = {
    "Procrustes, Stiefel(40,40)": procrustes,
    "principal components, Stiefel(60,5)": principal_components,
}


def solve(problem: Problem, method: Method, rate: float) -> dict[str, float]:
    """Relative gap after all steps, the rate falling to zero on a line."""
    module = nn.Module()
    module.x = nn.Parameter(problem.start.clone())
    constrain_(module, "x", Stiefel)
    optimizer = method.make(module, rate)
    schedule = LinearLR(optimizer, 1.0, 0.0, PROBLEM_STEPS)
    first = problem.loss(module.x).item()
    worst, times = 0.0, []
    for _ in range(PROBLEM_STEPS):
        optimizer.zero_grad()
        problem.loss(module.x).backward()
        begun = time.process_time()
        optimizer.step()
        times.append(time.process_time() - begun)
        schedule.step()
        worst = max(worst, worst_violation(module))
    gap = (problem.loss(module.x).item() - problem.optimum) / (first - problem.optimum)
    return {
        "gap": gap,
        "worst_violation": worst,
        "optimizer_cpu_ms": 1e3 * statistics.median(times),
    }


def measure_problems() -> list[dict[str, Any]]:
    """Gaps of all methods on all problems."""
    rows: list[dict[str, Any]] = []
    for problem_name, make in PROBLEMS.items():
        for name, rates in PROBLEM_RATES.items():
            method = (METHODS | PROBLEM_NULLS)[name]
            tuned = {rate: solve(make(TUNING_SEED), method, rate)["gap"] for rate in rates}
            rate = min(tuned, key=lambda one: tuned[one])
            runs = [solve(make(seed), method, rate) for seed in PROBLEM_SEEDS]
            gaps = [run["gap"] for run in runs]
            rows.append(
                {
                    "problem": problem_name,
                    "method": name,
                    "relative_gap": statistics.mean(gaps),
                    "relative_gap_stderr": stderr(gaps),
                    "worst_violation": max(run["worst_violation"] for run in runs),
                    "optimizer_cpu_ms": statistics.median(run["optimizer_cpu_ms"] for run in runs),
                    "lr": rate,
                    "gap_by_lr": {str(one): gap for one, gap in tuned.items()},
                }
            )
            print_row(rows[-1], "relative_gap")
    return rows


def measure_feasibility() -> dict[str, Any]:
    """Violation over many float32 steps along noise, and after one step of POGO by its size."""
    chosen: dict[str, Callable[[nn.Module], Optimizer]] = {
        "RiemannianAdam": lambda m: RiemannianAdam(m, lr=0.01),
        "POGO (Adam)": lambda m: POGO(m, partial(Adam, lr=0.01)),
        "ManifoldMuon": lambda m: ManifoldMuon(m),
    }
    many: list[dict[str, Any]] = []
    for name, make in chosen.items():
        torch.manual_seed(0)
        layer = OrthogonalLinear(16, 8, bias=False)
        optimizer, worst = make(layer), 0.0
        for _ in range(FEASIBILITY_STEPS):
            layer.weight.grad = torch.randn(8, 16)
            optimizer.step()
            worst = max(worst, worst_violation(layer))
        many.append({"method": name, "worst": worst, "last": worst_violation(layer)})
        print_row(many[-1], "worst")
    torch.manual_seed(0)
    stiefel = Stiefel(64, 32)
    x = stiefel.random(dtype=torch.float64)
    d = torch.randn(64, 32, dtype=torch.float64)
    u = (d - x @ d.mT @ x) / 2
    once: list[dict[str, float]] = []
    for size in (0.02, 0.05, 0.1, 0.2):
        factor = size / float(torch.linalg.matrix_norm(u, 2))
        y = x + factor * u
        one_term = y + y @ (torch.eye(32, dtype=torch.float64) - y.mT @ y) / 2
        once.append(
            {
                "spectral_norm_of_step": size,
                "one_term": float(stiefel.violation(one_term)),
                "four_terms": float(stiefel.violation(orthogonal_step(x[None], factor * d[None]))),
            }
        )
    return {"steps": FEASIBILITY_STEPS, "many_steps": many, "one_step_of_pogo": once}


def stderr(values: list[float]) -> float:
    """Standard error of the mean."""
    return statistics.stdev(values) / len(values) ** 0.5


def print_row(row: dict[str, Any], quantity: str) -> None:
    """One line of progress."""
    error = row.get(f"{quantity}_stderr")
    label = " | ".join(str(row[key]) for key in ("problem", "method") if key in row)
    spread = "" if error is None else f" +- {error:.2g}"
    print(f"{label}: {quantity} {row[quantity]:.4g}{spread}", file=sys.stderr, flush=True)


def cpu_model() -> str:
    """Name of the processor, where the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Measure all and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path, help="npz: train_ and test_ images, labels")
    parser.add_argument("--out", type=Path, default=ROOT / "accuracy" / "orthogonal_training.json")
    options = parser.parse_args()
    begun, load = time.perf_counter(), os.getloadavg()[0]
    data = read_images(options.mnist)
    results: dict[str, Any] = {
        "digits": {
            "data": data.source,
            "images": {
                part: len(getattr(data, part)[1]) for part in ("train", "validation", "test")
            },
            "network": "OrthogonalConv2d(1,16,4,2), OrthogonalConv2d(16,32,4,2), "
            "OrthogonalLinear(1568,64), Linear(64,10), ReLU between",
            "epochs": EPOCHS,
            "batch": BATCH,
            "seeds": len(SEEDS),
            "schedule": "linear to 0",
            "stderr": "of the mean over seeds, all on the same test images",
            "results": measure_digits(data),
        },
        "problems": {
            "steps": PROBLEM_STEPS,
            "seeds": len(PROBLEM_SEEDS),
            "dtype": "float64",
            "gap": "(f - f*) / (f at the start - f*)",
            "results": measure_problems(),
        },
        "feasibility": measure_feasibility(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "times": "CPU time of the process, median over steps",
        "load_at_start": round(load, 1),
        "machine": f"{os.cpu_count()} cores, {cpu_model()}",
    }
    results["seconds"] = round(time.perf_counter() - begun, 1)
    options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
