"""Divided differences of scalar functions, without cancellation and without NaN at equal nodes.

f[a] = f(a), f[a, b] = (f(a) - f(b)) / (a - b), and so on: f[a, ..., b, c] is the difference of
f[..., b, c] and f[a, ..., b] over c - a. Where all k + 1 nodes meet it is f^(k) / k!. They are
the coefficients of the derivatives of matrix functions (Daleckii and Krein 1965), where a
repeated eigenvalue is a repeated node.

First differences have closed forms here. Higher ones are taken by Newton's scheme on sorted nodes,
and by a Taylor series where the nodes lie close together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: "clip" is max(x, 1); "tail" is x where |x| >= 1 and 0 elsewhere; "root" of one group of nodes is
#: the square root, and of two groups s and t the function sqrt(s + t) of two variables.
Kind = Literal["log", "log1p", "exp", "inverse", "root", "clip", "tail"]

#: Nodes within this fraction of the function's scale are summed as a series. The quotient loses
#: eps / NEAR there, and the first term of the series left out is below 1e-12 for second
#: differences.
NEAR, TERMS = 0.004, 5


@dataclass(frozen=True)
class _Scalar:
    """A function, its first difference, f^(p) / p!, and the length on which it varies."""

    value: Callable[[Tensor], Tensor]
    secant: Callable[[Tensor, Tensor], Tensor]
    coefficient: Callable[[Tensor, int], Tensor]
    scale: Callable[[Tensor], Tensor]


def divided_difference(
    kind: Kind, s: Sequence[Float[Tensor, "*n"]], t: Sequence[Float[Tensor, "*n"]] = ()
) -> Float[Tensor, "*n"]:
    """f[s_0, ..., s_p], or f[s_0, ..., s_p; t_0, ..., t_q] for a function of two variables.

    The nodes broadcast against each other. Only "root" takes a second group.
    """
    if kind == "root":
        return _root(s, t or [torch.zeros_like(s[0])])
    if kind == "inverse":
        return math.prod(s[1:], start=s[0]).reciprocal() * (-1) ** (len(s) - 1)
    scalar = SCALARS[kind]
    if len(s) == 1:
        return scalar.value(s[0])
    if len(s) == 2:
        return scalar.secant(s[0], s[1])
    same = cast("tuple[Tensor, ...]", torch.broadcast_tensors(*s))
    nodes = torch.stack(same).sort(0).values
    return _newton(scalar, list(nodes.unbind()))


def _newton(scalar: _Scalar, x: list[Tensor]) -> Tensor:
    """Divided difference of ascending nodes."""
    if len(x) == 2:
        return scalar.secant(x[1], x[0])
    spread, centre = x[-1] - x[0], torch.stack(x).mean(0)
    near = spread <= NEAR * scalar.scale(centre)
    change = _newton(scalar, x[1:]) - _newton(scalar, x[:-1])
    return torch.where(near, _taylor(scalar, x, centre), change / torch.where(near, 1, spread))


def _taylor(scalar: _Scalar, x: list[Tensor], centre: Tensor) -> Tensor:
    """Sum over j of f^(k+j) / (k+j)! at the centre times h_j, k + 1 the number of nodes.

    h_j is the complete homogeneous polynomial of degree j in the deviations from the centre, built
    up one node after the other.
    """
    homogeneous = [torch.ones_like(centre), *(torch.zeros_like(centre) for _ in range(1, TERMS))]
    for node in x:
        for j in range(1, TERMS):
            homogeneous[j] = homogeneous[j] + (node - centre) * homogeneous[j - 1]
    order = len(x) - 1
    terms = (h * scalar.coefficient(centre, order + j) for j, h in enumerate(homogeneous))
    return sum(terms, start=torch.zeros_like(centre))


def _root(s: Sequence[Tensor], t: Sequence[Tensor]) -> Tensor:
    """sqrt(s + t) by Leibniz's rule for g g = s + t, whose own differences are 1 and then 0.

    All terms of the sum have one sign, so that nothing cancels at any order.
    """
    known: dict[tuple[int, int, int, int], Tensor] = {}
    for p, q in itertools.product(range(len(s)), range(len(t))):
        for i, k in itertools.product(range(len(s) - p), range(len(t) - q)):
            j, m = i + p, k + q
            if p == q == 0:
                known[i, j, k, m] = torch.sqrt(s[i] + t[k])
                continue
            total = torch.ones_like(s[i]) if p + q == 1 else torch.zeros_like(s[i])
            for a, b in itertools.product(range(i, j + 1), range(k, m + 1)):
                if (a, b) not in ((i, k), (j, m)):
                    total = total - known[i, a, k, b] * known[a, j, b, m]
            known[i, j, k, m] = total / (known[i, i, k, k] + known[j, j, m, m])
    return known[0, len(s) - 1, 0, len(t) - 1]


def _quotient(above: Tensor, below: Tensor, limit: Tensor) -> Tensor:
    """above / below, and the limit where below is zero."""
    zero = below == 0
    return torch.where(zero, limit, above / torch.where(zero, 1, below))


def _log1p_secant(a: Tensor, b: Tensor) -> Tensor:
    low = torch.minimum(a, b)
    ratio = (a - b).abs() / (1 + low)
    return _quotient(torch.log1p(ratio), ratio, torch.ones_like(ratio)) / (1 + low)


def _log_secant(a: Tensor, b: Tensor) -> Tensor:
    low = torch.minimum(a, b)
    ratio = (a - b).abs() / low
    return _quotient(torch.log1p(ratio), ratio, torch.ones_like(ratio)) / low


def _exp_secant(a: Tensor, b: Tensor) -> Tensor:
    gap = (a - b).abs()
    fall = _quotient(-torch.expm1(-gap), gap, torch.ones_like(gap))
    return torch.exp(torch.maximum(a, b)) * fall


def _piecewise_linear(
    value: Callable[[Tensor], Tensor], kept: Callable[[Tensor], Tensor]
) -> _Scalar:
    """f(x) with slope 1 where kept and 0 elsewhere; differences across the corner stay finite.

    It varies on no length, so that only equal nodes are summed as a series, and that is zero.
    """
    return _Scalar(
        value,
        lambda a, b: _quotient(value(a) - value(b), a - b, kept(a).to(a.dtype) + 0 * b),
        lambda x, p: torch.zeros_like(x),
        torch.zeros_like,
    )


SCALARS: dict[str, _Scalar] = {
    "log": _Scalar(torch.log, _log_secant, lambda x, p: (-1) ** (p + 1) / (p * x**p), lambda x: x),
    "log1p": _Scalar(
        torch.log1p,
        _log1p_secant,
        lambda x, p: (-1) ** (p + 1) / (p * (1 + x) ** p),
        lambda x: 1 + x,
    ),
    "exp": _Scalar(
        torch.exp, _exp_secant, lambda x, p: torch.exp(x) / math.factorial(p), torch.ones_like
    ),
    "clip": _piecewise_linear(lambda x: x.clamp_min(1), lambda x: x >= 1),
    "tail": _piecewise_linear(lambda x: torch.where(x.abs() >= 1, x, 0), lambda x: x.abs() >= 1),
}
