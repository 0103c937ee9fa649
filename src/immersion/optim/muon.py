"""Steepest descent under the spectral norm, for matrices with orthonormal columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final, overload

import torch
from torch.optim import AdamW, Optimizer

from immersion.core.errors import InputError
from immersion.optim.orthogonal.frames import FramedModule
from immersion.optim.orthogonal.matrix_sign import matrix_sign

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from immersion.optim.orthogonal.frames import Frames


@final
class ManifoldMuon(Optimizer):
    """Muon for orthogonal weights, and AdamW for all others.

    Muon moves a matrix by the step that lowers the loss most among those of one spectral norm: no
    input can change the output by more than `lr` times its length. On the Stiefel manifold the step
    must be tangent besides. That problem ("manifold Muon": J. Bernstein, "Modular manifolds",
    2025) is known as a dual problem to be iterated; it has the closed solution that
    `spectral_direction` computes, so that one matrix sign of a skew-symmetric matrix is all.
    The momentum is an average of gradients, as in Muon, here of their tangent parts; what of it is
    not tangent any more later drops out of the solution, so nothing has to be transported. The step
    ends with the retraction of the parameter's own manifold.

    Parameters that are not constrained are stepped by `torch.optim.AdamW` with a learning rate of
    their own: one optimiser trains a whole network. (Plain Muon for free matrices is
    `torch.optim.Muon`.) `param_groups[0]` holds the constrained parameters, with "lr",
    "momentum", "nesterov" and "iterations"; `param_groups[1]` the others, with the options of
    AdamW ("lr", "betas", "eps", "weight_decay" ...). Parameters added later join AdamW.

    Cost beside the step of the manifold: with m = min(n, 2 p), 3 m^3 for each iteration and 2 m n p
    in all; for n > 2 p another 2 n p^2 + p^3 for each iteration. All parameters of one shape are
    stepped together.

    Args:
        module: a module with parameters on `Stiefel`, `CanonicalStiefel` or `Rotations`, also
            `Viewed`, as `constrain_` records them.
        lr: spectral norm of a step, in radians: the largest angle by which a weight turns.
        momentum: share of the average that is kept, in [0, 1).
        nesterov: whether the step looks ahead along the momentum.
        iterations: polynomials of the matrix sign. 5 come within 1% of the optimum unless most of
            the gradient is in singular values below 1% of the largest, where the step is shorter.
        adamw_lr: learning rate of all other parameters.
        weight_decay: decoupled decay of all other parameters.

    Raises:
        InputError: no parameter is constrained; one is on another kind of manifold; an option is
            out of range; a gradient of a constrained parameter is sparse.

    Example:
        >>> import immersion as im
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 2))
        >>> _ = im.constrain_(model, "0.weight", im.Stiefel)
        >>> optimizer = im.ManifoldMuon(model, lr=0.05, adamw_lr=1e-2)
        >>> model(torch.ones(1, 8)).square().sum().backward()
        >>> optimizer.step()
        >>> float(im.Stiefel(8, 8).violation(model[0].weight.detach())) < 1e-5
        True
    """

    def __init__(
        self,
        module: nn.Module,
        lr: float | Tensor = 0.02,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        iterations: int = 5,
        adamw_lr: float | Tensor = 1e-3,
        weight_decay: float = 0.0,
    ) -> None:
        _require_options(lr=lr, momentum=momentum, iterations=iterations)
        self._framed = FramedModule(module, "ManifoldMuon")
        own = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "iterations": iterations}
        self._adamw = AdamW([{"params": self._framed.free}], lr=adamw_lr, weight_decay=weight_decay)
        super().__init__([{"params": self._framed.framed}], own)
        # what is added later joins AdamW, so its options are the defaults
        self.param_groups += self._adamw.param_groups
        self.defaults = self._adamw.defaults
        self._adamw.state = self.state

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict()` of a ManifoldMuon of the same module returned."""
        super().load_state_dict(state_dict)
        self._adamw.__setstate__({"state": self.state, "param_groups": self.param_groups[1:]})

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
        for frames in self._framed.stacks:
            if active := frames.active:
                self._step(frames, active)
        self._adamw.param_groups = self.param_groups[1:]
        self._adamw.step()
        return loss

    def _step(self, frames: Frames, active: list[Tensor]) -> None:
        group = self.param_groups[0]
        buffers = [self._buffer(parameter) for parameter in active]
        x = frames.stack(active)
        g = frames.stack([p.grad for p in active if p.grad is not None])
        # averages of Euclidean gradients hold parts that were normal where they were taken, which
        # leaves a gap 1000 times larger on Procrustes after 300 steps
        g = frames.manifold.to_tangent(x, g)
        average = frames.stack(buffers).lerp_(g, 1 - group["momentum"])
        frames.write_(buffers, average)
        ahead = g.lerp_(average, group["momentum"]) if group["nesterov"] else average
        u = spectral_direction(x, ahead, group["iterations"])
        step = frames.manifold.to_tangent(x, group["lr"] * u)
        frames.write_(active, frames.manifold.retract(x, step))

    def _buffer(self, parameter: Tensor) -> Tensor:
        held: dict[str, Tensor] = self.state[parameter]
        if "momentum_buffer" not in held:
            held["momentum_buffer"] = torch.zeros_like(parameter)
        return held["momentum_buffer"]


def spectral_direction(
    x: Float[Tensor, "*b n p"], g: Float[Tensor, "*b n p"], iterations: int = 5
) -> Float[Tensor, "*b n p"]:
    r"""The tangent vector A of spectral norm at most 1 that minimises <g, A>.

    It is A = -sign(K) x with K = (g x^T - x g^T) / 2 and sign(U S V^T) = U V^T, and
    <g, A> is minus the sum of the singular values of K. For if Z is skew-symmetric of spectral norm
    at most 1, then Z x is tangent, no longer than Z, and <g, Z x> = <K, Z>, which is at least minus
    that sum and reaches it at Z = -sign(K). And every admissible A is such a Z x: in a basis where
    x is the first columns of the identity, A is a skew block over another block, and by the
    dilation theorem of Davis, Kahan and Weinberger (1982), for the Hermitian matrix i Z, the rest
    of Z can be chosen so that Z is no longer than A; the imaginary part keeps it real.

    K has rank 2 p at most. For n > 2 p its sign is computed in an orthonormal basis of x and of the
    part of g outside of it.

    The sign is that of `matrix_sign`: A is tangent to rounding, its norm exceeds 1 by 2.3e-5 at
    most (5e-3 in bfloat16, on CUDA), and <g, A> misses the minimum by what singular values of K
    below 1% of the largest contribute to the sum. Where K is zero, A is zero.

    Args:
        x: matrices with orthonormal columns.
        g: ambient vectors, such as Euclidean gradients.
        iterations: polynomials of the matrix sign.

    Example:
        >>> from immersion.optim.muon import spectral_direction
        >>> x = torch.eye(3)[:, :2]
        >>> spectral_direction(x, torch.tensor([[0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])).round()
        tensor([[ 0., -1.],
                [ 1.,  0.],
                [ 0.,  0.]])
    """
    n, p = x.shape[-2:]
    if n <= 2 * p:
        return -_skew(matrix_sign(_skew(g @ x.mT), iterations)) @ x
    inside = x.mT @ g
    beyond = g - x @ inside
    basis = matrix_sign(beyond, iterations)
    lower = basis.mT @ beyond / 2
    upper = torch.cat([_skew(inside), -lower.mT], -1)
    k = torch.cat([upper, torch.cat([lower, torch.zeros_like(lower)], -1)], -2)
    z = _skew(matrix_sign(k, iterations))
    return -(x @ z[..., :p, :p] + basis @ z[..., p:, :p])


def _skew(a: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    return (a - a.mT) / 2


def _require_options(*, lr: float | Tensor, momentum: float, iterations: int) -> None:
    if not lr >= 0:
        raise InputError(f"ManifoldMuon: lr is {lr}; a step has a length of at least 0")
    if not 0 <= momentum < 1:
        raise InputError(f"ManifoldMuon: momentum is {momentum}; it is at least 0 and below 1")
    if iterations < 1:
        raise InputError(f"ManifoldMuon: iterations is {iterations}; at least 1 is needed")
