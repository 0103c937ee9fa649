"""Values, gradients and Hessian-vector products of a function on a manifold, by autograd.

With E = egrad2rgrad, P = to_tangent, Gamma = christoffel, g the Euclidean gradient and r = E(x) g
the Riemannian one, the Hessian is Hess f(x)[u] = P(D_x(E(x) g(x))[u] + Gamma(x, u, r)).

It is evaluated in its transposed form. A covector c stands for the tangent vector u = E(x) c, and
<c, v> = inner(x, u, v) for all tangent v. As the Hessian is symmetric, that of Hess f(x)[u] is

    D^2 f(x) u + (D_x E(x) g + Gamma(x, ., r))^T P^T c,

one reverse pass over two graphs that are built once a point and kept: that of g, and that of
P(E(x) g + Gamma) with g held. Reverse passes ask the manifold's methods for first derivatives only,
where the direct form needs forward mode or a second derivative of E, and evaluates E anew for every
u. Where the metric is that of the ambient space, c is u itself and Gamma and P drop out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch

from immersion.core.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from immersion.core.metric import Manifold

Function = Callable[["Tensor"], "Tensor"]

TWICE = (
    "f cannot be differentiated twice, as a Hessian and the trust region need it; "
    'minimize(..., method="lbfgs") does not'
)


def hessian_operator(
    f: Function, manifold: Manifold, x: Float[Tensor, "*b *p"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "*b *p"], Callable[[Tensor], Tensor]]:
    """Value, Riemannian gradient and Hessian of `f` at `x`.

    The Hessian is a function u -> Hess f(x)[u] = nabla_u grad f of tangent vectors u, symmetric in
    the metric. Its graph is built here, once: each product then costs about two gradients of `f`,
    and the memory is that of one gradient with its graph, until the function is let go.

    Args:
        f: scalar function of a point, twice differentiable by autograd.
        manifold: where `x` lies.
        x: a point (*point_shape); or a batch, for an `f` that sums over it.

    Raises:
        InputError: `f` is not a scalar, or not differentiable in `x`, or not twice.

    Source: Boumal, An introduction to optimization on smooth manifolds (2023), section 5.5.

    Example:
        >>> import immersion as im
        >>> sphere, x = im.Sphere(2), torch.tensor([1.0, 0.0, 0.0])
        >>> A = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
        >>> value, rgrad, hessian = hessian_operator(lambda x: x @ A @ x, sphere, x)
        >>> value, rgrad, hessian(torch.tensor([0.0, 1.0, 0.0]))
        (tensor(3.), tensor([0., 0., 0.]), tensor([ 0., -2.,  0.]))
    """
    trial = _taped(f, x)
    _require_twice(trial)
    graph = HessianGraph(manifold, trial.leaf, _egrad(trial, create_graph=True))

    def hessian(u: Tensor) -> Tensor:
        return graph.sharp(graph.product(u, graph.flat(u)))

    return trial.taped.detach(), graph.rgrad, hessian


@dataclass(frozen=True)
class Evaluations:
    """How often each thing was computed: the cost of a run, whatever the machine.

    Attributes:
        values: calls of f.
        gradients: reverse passes for a gradient.
        products: Hessian-vector products, each about the cost of two gradients.
    """

    values: int
    gradients: int
    products: int


@dataclass(frozen=True, eq=False)
class Trial:
    """f at a point, with the graph that a gradient needs."""

    leaf: Tensor
    taped: Tensor
    value: float


@dataclass(frozen=True, eq=False)
class Iterate:
    """A point with the value and the gradient of f there, all detached."""

    x: Tensor
    value: float
    egrad: Tensor
    rgrad: Tensor
    gradient_norm: float


@final
class HessianGraph:
    """The Hessian of f at one point: graphs built once, products by one reverse pass each.

    Args:
        manifold: where x lies.
        x: the leaf that `egrad` was computed from.
        egrad: Euclidean gradient of f, with the graph of its own derivative where it has one.
    """

    def __init__(
        self, manifold: Manifold, x: Float[Tensor, "*b *p"], egrad: Float[Tensor, "*b *p"]
    ) -> None:
        here = x.detach()
        self._manifold, self._x, self._here = manifold, x, here
        with torch.enable_grad():
            image = manifold.egrad2rgrad(x, egrad.detach())
            self.rgrad = image.detach()
            # Gamma asks for tangent vectors: r moved by x - x is one, with derivative 1 in x.
            gamma = manifold.christoffel(here, self.rgrad + (x - here), self.rgrad)
        #: Whether tangent vectors are covectors of themselves: seen on one vector in general
        #: position, to the last bit.
        self.ambient = False
        if not gamma.requires_grad:
            ramp = torch.arange(1, x.numel() + 1, dtype=x.dtype, device=x.device)
            probe = manifold.to_tangent(here, ramp.sin().reshape(x.shape))
            self.ambient = torch.equal(self.flat(probe), probe)
        with torch.enable_grad():
            field = image if self.ambient else manifold.to_tangent(here, image + gamma)
        # f may be linear, and then its gradient has no graph; flat space has no field.
        self._parts = [part.requires_grad for part in (egrad, field)]
        self._roots = [part for part in (egrad, field) if part.requires_grad]

    def product(
        self, u: Float[Tensor, "*b *p"], covector: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Covector of Hess f(x)[u], for tangent u given with a covector of its own.

        Raises:
            InputError: f cannot be differentiated twice.
        """
        if not self._roots:
            return torch.zeros_like(u)
        seeds = [seed for seed, part in zip((u, covector), self._parts, strict=True) if part]
        try:
            return torch.autograd.grad(
                self._roots,
                self._x,
                seeds,
                retain_graph=True,
                materialize_grads=True,
            )[0]
        except RuntimeError as error:
            if not any(word in str(error) for word in ("derivative", "differentia", "double back")):
                raise
            raise InputError(f"{TWICE}. torch says: {error}") from error

    def sharp(self, covector: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """Tangent vector of a covector: egrad2rgrad."""
        return self._manifold.egrad2rgrad(self._here, covector)

    def flat(self, u: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """A covector of the tangent vector u."""
        if self.ambient:
            return u
        v = u.detach().requires_grad_()
        with torch.enable_grad():
            pairing = self._manifold.inner(self._here, u.detach(), v).sum()
        return torch.autograd.grad(pairing, v)[0]


@final
class Objective:
    """f on a manifold, with what counts as solved, and a count of all that was computed.

    Args:
        f: the function.
        manifold: where its points lie.
        tolerance: gradient norm at which f is solved; None: eps^(2/3) max(1, |grad f|) of the
            first gradient that is asked for.
        deadline: `time.perf_counter()` at which to stop.
    """

    def __init__(
        self, f: Function, manifold: Manifold, tolerance: float | None, deadline: float = math.inf
    ) -> None:
        self.manifold = manifold
        self._f, self._tolerance, self._deadline = f, tolerance, deadline
        self._values = self._gradients = self._products = 0
        self._bottom = -math.inf
        self._twice = False

    @property
    def evaluations(self) -> Evaluations:
        """All that was computed until now."""
        return Evaluations(self._values, self._gradients, self._products)

    @property
    def tolerance(self) -> float:
        """Gradient norm at which f is solved."""
        return math.nan if self._tolerance is None else self._tolerance

    def bottomless(self, value: float) -> bool:
        """Whether f fell to -max(1, |f|) / eps^2 of its first value, and so has no minimum."""
        return value <= self._bottom

    def expired(self) -> bool:
        """Whether the time is over."""
        return time.perf_counter() >= self._deadline

    def trial(self, x: Float[Tensor, "*p"]) -> Trial:
        """f at x."""
        self._values += 1
        return _taped(self._f, x)

    def gradient(self, trial: Trial) -> Iterate:
        """The gradient where f was tried; the graph of the trial is spent."""
        self._gradients += 1
        egrad = _egrad(trial, create_graph=False)
        return self._iterate(trial, egrad, self.manifold.egrad2rgrad(trial.leaf.detach(), egrad))

    def second_order(self, trial: Trial) -> tuple[Iterate, HessianGraph]:
        """The gradient where f was tried, and the Hessian."""
        if not self._twice:
            _require_twice(trial)
            self._twice = True
        self._gradients += 1
        egrad = _egrad(trial, create_graph=True)
        graph = HessianGraph(self.manifold, trial.leaf, egrad)
        return self._iterate(trial, egrad.detach(), graph.rgrad), graph

    def product(self, graph: HessianGraph, u: Tensor, covector: Tensor) -> Tensor:
        """`graph.product`, counted."""
        self._products += 1
        return graph.product(u, covector)

    def _iterate(self, trial: Trial, egrad: Tensor, rgrad: Tensor) -> Iterate:
        x = trial.leaf.detach()
        norm = self.manifold.norm(x, rgrad).item()
        eps = torch.finfo(x.dtype).eps
        if self._tolerance is None:
            self._tolerance = eps ** (2 / 3) * max(1.0, norm)
        if self._bottom == -math.inf:
            self._bottom = -max(1.0, abs(trial.value)) / eps**2
        return Iterate(x, trial.value, egrad, rgrad, norm)


def dot(a: Float[Tensor, "*p"], b: Float[Tensor, "*p"]) -> float:
    """Sum of the products of all entries."""
    return torch.dot(a.reshape(-1), b.reshape(-1)).item()


def _taped(f: Function, x: Float[Tensor, "*p"]) -> Trial:
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        value = f(leaf)
    if not isinstance(value, torch.Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]: users
        raise InputError(f"f must return a scalar tensor, not a {type(value).__name__}")
    if value.ndim != 0 or not value.is_floating_point():
        raise InputError(
            f"f must return a scalar tensor, not {value.dtype} of shape {tuple(value.shape)}; "
            "end it with .sum() or .mean()"
        )
    if not value.requires_grad:
        raise InputError(
            "f returned a tensor without a graph: compute it from x by torch operations, without "
            ".detach(), .item(), numpy or torch.no_grad()"
        )
    return Trial(leaf, value, value.item())


def _egrad(trial: Trial, *, create_graph: bool) -> Tensor:
    with torch.enable_grad():
        (egrad,) = torch.autograd.grad(
            trial.taped, trial.leaf, create_graph=create_graph, allow_unused=True
        )
    if egrad is None:  # pyright: ignore[reportUnnecessaryComparison]: it is, where f ignores x
        raise InputError("f does not depend on x: its graph leads to other tensors only")
    return egrad


def _require_twice(trial: Trial) -> None:
    """Raise if a part of f is written to be differentiated once.

    Products would pass it by in silence, as a constant: it marks its gradient only where the seed
    of the reverse pass has a graph, and no way leads from that mark to x.
    """
    seed = torch.ones_like(trial.taped, requires_grad=True)
    with torch.enable_grad():
        (egrad,) = torch.autograd.grad(
            trial.taped, trial.leaf, seed, create_graph=True, materialize_grads=True
        )
    todo, seen = [egrad.grad_fn], set[object]()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            if node.name() == "torch::autograd::Error":
                raise InputError(f"{TWICE}: it has a function marked @once_differentiable")
            todo += [following for following, _ in node.next_functions]
