"""Orthogonal matrices trained by any optimiser of torch, at the cost of a few matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast, final, overload

import torch
from torch.optim import LBFGS, Optimizer

from immersion.core.errors import InputError
from immersion.optim.orthogonal.frames import FramedModule

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from immersion.optim.orthogonal.frames import Frames

#: Spectral norm of the longest step, in radians. The series of the polar factor leaves a violation
#: of half its tenth power, which here is 5e-7.
LONGEST = 0.25


@final
class POGO(Optimizer):
    """Keeps orthogonal weights orthogonal round the steps of another optimiser.

    At each step the base optimiser moves all parameters as it likes, with its own momentum, scaling
    and schedule; of the gradients of orthogonal matrices it sees the tangent parts. Of what it did
    to an orthogonal matrix X only the direction D is kept: X goes to Y = X + skew(D X^T) X, which
    is tangent, and from there to the nearest orthonormal columns, by the series of (Y^T Y)^(-1/2)
    up to the fourth power of Y^T Y - I. Parameters that are not constrained are left where the base
    put them.

    This is the scheme of Javaloy and Vergari ("POGO", 2602.14656), after the landing algorithm of
    Ablin and Peyre and its family of tangent terms (2507.15638), with two changes
    (`accuracy/orthogonal_training.py` has the figures). Theirs gives the base Euclidean gradients,
    which suits bases that treat all entries alike; Adam scales each entry, and then comes to rest
    beside the optimum: on principal components the gap stays at a fifth of what it was, where
    tangent gradients bring it to rounding. And theirs ends the series after its first term,
    Y (3 I - Y^T Y) / 2, which leaves Y^T Y - I of spectral norm 3/4 s^4, where s is that of the
    step; here it is s^10 / 2, for s = 0.1 5e-11 against 8e-5. A step with s above 1/4 radian is cut
    to at most that length, so after every step, however wild the base, it is below 5e-7 plus the
    rounding of the dtype.

    A step costs six products of size (n, p, p) and two of size (p, p, p) beside the base optimiser,
    for all parameters of one shape at once, and no factorisation. As skew(D X^T) X is written
    (D - X D^T X) / 2, the part of D outside of the span of X counts half, as in the canonical
    metric.

    Weight decay does not act on orthogonal matrices when it is decoupled (AdamW), as it points
    away from the manifold. Coupled decay (`Adam(weight_decay=...)`) disturbs the scaling of their
    gradients; set it in the second parameter group alone. `grad` is as it was after the step.

    Args:
        module: a module with parameters on `Stiefel`, `CanonicalStiefel` or `Rotations`, also
            `Viewed`, as `constrain_` records them.
        base: makes the base optimiser from parameter groups: a class such as `torch.optim.Adam`,
            or a function. It gets two groups, the constrained parameters first, and the second
            only where there are others. `param_groups` and `state` are its own, so that
            schedulers and checkpoints see what they would see of it. An optimiser that
            calls the closure many times (LBFGS) cannot serve.

    Raises:
        InputError: no parameter is constrained; one is on another kind of manifold; the base is
            no optimiser, or LBFGS; a gradient of a constrained parameter is sparse.

    Example:
        >>> import immersion as im
        >>> layer = im.constrain_(torch.nn.Linear(4, 4), "weight", im.Stiefel)
        >>> optimizer = im.POGO(layer, lambda params: torch.optim.Adam(params, lr=0.01))
        >>> layer(torch.ones(1, 4)).square().sum().backward()
        >>> optimizer.step()
        >>> float(im.Stiefel(4, 4).violation(layer.weight.detach())) < 1e-6
        True
    """

    def __init__(
        self, module: nn.Module, base: Callable[[list[dict[str, Any]]], Optimizer]
    ) -> None:
        self._framed = FramedModule(module, "POGO")
        groups: list[dict[str, Any]] = [{"params": self._framed.framed}]
        self.base = base([*groups, {"params": free}] if (free := self._framed.free) else groups)
        _require_base(self.base)
        super().__init__(self.base.param_groups, self.base.defaults)
        self._share()

    def _share(self) -> None:
        self.param_groups = self.base.param_groups
        self.state = self.base.state

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict()` of a POGO with the same base and module returned."""
        super().load_state_dict(state_dict)
        self.base.__setstate__({"state": self.state, "param_groups": self.param_groups})
        self._share()

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of all parameters that have a gradient.

        Args:
            closure: computes the loss and its gradients; called once, before the step.

        Returns:
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._framed.require_unchanged()
        moving = [(frames, active) for frames in self._framed.stacks if (active := frames.active)]
        before = [frames.stack(active) for frames, active in moving]
        with ExitStack() as given:
            for (frames, active), x in zip(moving, before, strict=True):
                given.enter_context(_tangent_gradients(frames, active, x))
            self.base.step()
        for (frames, active), x in zip(moving, before, strict=True):
            frames.write_(active, orthogonal_step(x, frames.stack(active) - x))
        return loss


@contextmanager
def _tangent_gradients(
    frames: Frames, active: list[Tensor], x: Float[Tensor, "k n p"]
) -> Generator[None]:
    """Put the tangent parts of the gradients in their place for a while."""
    gradients = [parameter.grad for parameter in active]
    g = frames.stack([gradient for gradient in gradients if gradient is not None])
    inside = x.mT @ g
    g = torch.baddbmm(g, x, inside + inside.mT, alpha=-0.5)
    for parameter, gradient in zip(active, frames.pieces(g, active), strict=True):
        parameter.grad = gradient
    try:
        yield
    finally:
        for parameter, gradient in zip(active, gradients, strict=True):
            parameter.grad = gradient


def orthogonal_step(
    x: Float[Tensor, "k n p"], direction: Float[Tensor, "k n p"]
) -> Float[Tensor, "k n p"]:
    """Orthonormal columns nearest to x + skew(direction x^T) x, that step cut to `LONGEST`.

    The tangent vector is written (D - X D^T X) / 2, which is the same for orthonormal X and saves
    two products; its error is of the order of the violation of X times the step.

    Args:
        x: matrices with orthonormal columns; to 0.1, which one step mends.
        direction: finite ambient vectors, the step length included.
    """
    p = x.shape[-1]
    u = torch.baddbmm(direction, x, direction.mT @ x, beta=0.5, alpha=-0.5)
    # the spectral norm is at least |u| / sqrt(p): cut by that first, so that no square overflows
    length, limit = _frobenius(u), math.sqrt(p) * LONGEST
    u, length = (limit / length).clamp_max(1) * u, length.clamp_max(limit)
    y = x + u
    excess = y.mT @ y
    excess.diagonal(dim1=-2, dim2=-1).sub_(1)
    square = excess @ excess
    # Y^T Y - I = U^T U, whose eigenvalues are at most the root of the sum of their fourth powers
    bound = torch.minimum(_frobenius(square).sqrt().sqrt(), length)
    cut = (LONGEST / bound).clamp_max(1)
    y, excess, square = x + cut * u, cut**2 * excess, cut**4 * square
    # (I + E)^(-1/2) = I - E/2 + 3/8 E^2 - 5/16 E^3 + 35/128 E^4, the last two as one product
    series = torch.baddbmm(3 / 8 * square - excess / 2, square, 35 / 128 * square - 5 / 16 * excess)
    return torch.baddbmm(y, y, series)


def _frobenius(a: Float[Tensor, "k m n"]) -> Float[Tensor, "k 1 1"]:
    return cast("Tensor", torch.linalg.vector_norm(a, dim=(-2, -1), keepdim=True))


def _require_base(base: object) -> None:
    if not isinstance(base, Optimizer):
        raise InputError(
            f"POGO: the base made a {type(base).__name__}; give a torch.optim optimiser class, or "
            "a function of parameters that returns one"
        )
    if isinstance(base, LBFGS):
        raise InputError(
            "POGO: LBFGS moves the parameters many times a step and cannot be a base; take Adam, "
            "SGD or another that steps once, or im.minimize"
        )
