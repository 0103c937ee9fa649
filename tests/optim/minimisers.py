"""The methods that the tests of `minimize` run over, and functions they share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from immersion.optim.conjugate_gradient import ConjugateGradient
from immersion.optim.lbfgs import LBFGS
from immersion.optim.trust_region import TrustRegion

F64 = torch.float64
Method = TrustRegion | ConjugateGradient | LBFGS
METHODS: list[Method] = [
    TrustRegion(),
    LBFGS(),
    ConjugateGradient("hager-zhang"),
    ConjugateGradient("hestenes-stiefel"),
    ConjugateGradient("polak-ribiere"),
]


def named(method: Method) -> str:
    return getattr(method, "direction", type(method).__name__)


every_method = pytest.mark.parametrize("method", METHODS, ids=named)
each_kind = pytest.mark.parametrize("method", ["trust-region", "conjugate-gradient", "lbfgs"])
both_precisions = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["f32", "f64"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def symmetric(n: int, dtype: torch.dtype = F64) -> Tensor:
    B = torch.randn(n, n, generator=generator(), dtype=F64)
    return ((B + B.mT) / 2).to(dtype)


def rosenbrock(x: Tensor) -> Tensor:
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
