"""Riemannian Adam."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, final

import torch
from torch.optim.adam import adam

from immersion.core.errors import InputError
from immersion.optim.stepping.buckets import Fields
from immersion.optim.stepping.shell import ManifoldOptimizer, for_points, rate, require_rates
from immersion.optim.stepping.sparse import Joiner, gradient_by_rows

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from immersion.core.metric import Manifold
    from immersion.optim.stepping.parameters import Parameters


@final
class RiemannianAdam(ManifoldOptimizer):
    r"""Adam for a module some of whose parameters stay on manifolds.

    Put the parameters there with `constrain_` first. At a point x with Riemannian gradient r:

        m <- b1 m + (1 - b1) r,  v <- b2 v + (1 - b2) <r, r>_x
        u  = - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
        x, m <- manifold.carry(x, u, m)

    v is one number for each point: each row of an embedding table, each matrix of a stack. All
    other parameters are stepped as by `torch.optim.AdamW`, by torch itself.

    Points on equal manifolds, of one dtype and device, are stepped together; so a step costs about
    the same for one parameter as for hundreds of small ones. A parameter without a gradient is left
    alone, its state too. Of a table with a sparse gradient (`nn.Embedding(sparse=True)`) only the
    rows touched are stepped, with the step count of the table (as in `torch.optim.SparseAdam`).
    The gradients are never changed. `torch.compile(optimizer.step)` makes one graph of it; on a
    CPU that is slower than the step itself, which works in blocks that stay in the cache.

    Args:
        params: the module; or, with `module`, tensors, named tensors or groups as torch takes them.
        lr: learning rate; a tensor of one element to change it without a new `torch.compile`.
        betas: decay rates b1 of the momentum and b2 of the second moment, each in [0, 1).
        eps: keeps the step finite where v is 0.
        weight_decay: decoupled decay of the parameters of Euclidean space. Points on a manifold
            are not decayed: there is no origin to which they should go.
        amsgrad: divide by the largest v so far.
        module: the module whose constraints apply to `params`.
        maximize: climb.
        foreach: False steps each parameter by itself. For Euclidean parameters it has the meaning
            that it has in torch.
        capturable: that of torch, for Euclidean parameters in a CUDA graph. Nothing in the step of
            constrained ones waits for the device unless their manifold does, or a gradient is
            sparse; the first step has to be outside the graph.

    Raises:
        InputError: a rate out of range; parameters without `module`, or not of it; at a step, a
            constraint made after the optimiser, or loaded state that does not fit.

    `state_dict` has torch's format: "step", "exp_avg" and "exp_avg_sq" ("max_exp_avg_sq") of each
    parameter; where torch has a second moment for each entry, a constrained parameter has one for
    each point. A NaN in a gradient reaches its own points only, as in torch.

    Source: Becigneul and Ganea, "Riemannian adaptive optimization methods", ICLR 2019.

    Example:
        >>> import torch, immersion as im
        >>> model = torch.nn.Linear(3, 1, bias=False)
        >>> torch.nn.init.ones_(model.weight).shape
        torch.Size([1, 3])
        >>> model = im.constrain_(model, "weight", im.Sphere)
        >>> optimizer = im.RiemannianAdam(model, lr=0.1)
        >>> for _ in range(100):
        ...     optimizer.zero_grad()
        ...     model(torch.tensor([0.0, 3.0, 4.0])).neg().backward()
        ...     optimizer.step()
        >>> torch.allclose(model.weight, torch.tensor([[0.0, 0.6, 0.8]]), atol=1e-2)
        True
    """

    def __init__(
        self,
        params: nn.Module | Parameters,
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        module: nn.Module | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
        }
        super().__init__(params, module, defaults)

    def _require_options(self, group: dict[str, Any]) -> None:
        require_rates(group, "RiemannianAdam", "eps", "weight_decay")
        betas = tuple(group["betas"])
        if len(betas) != 2 or not all(isinstance(b, float | int) and 0 <= b < 1 for b in betas):
            raise InputError(f"RiemannianAdam: betas are two numbers in [0, 1), not {betas}")

    def _fields(self, group: dict[str, Any]) -> Fields:
        return Fields(vectors=("exp_avg",), numbers=_names(group)[1:], counted=True)

    def _step_euclidean(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        """AdamW of torch; on the touched rows alone where a gradient is sparse."""
        if not (group["capturable"] or torch.compiler.is_compiling()):
            _require_no_capture(parameters)
        dense: list[Tensor] = []
        gradients: list[Tensor] = []
        for parameter in parameters:
            gradient = gradient_by_rows(parameter, 0)
            if gradient is None:
                continue
            state = _euclidean_state(parameter, self.state[parameter], group)
            if not gradient.is_sparse:
                dense.append(parameter)
                gradients.append(gradient)
                continue
            rows = Joiner().touched(gradient)
            values = {name: rows.take(state[name]) for name in _names(group)}
            point = rows.take(parameter)
            _adamw(group, [point], [rows.gradient], [values | {"step": state["step"]}])
            rows.put(parameter, point)
            for name, value in values.items():
                rows.put(state[name], value)
        _adamw(group, dense, gradients, [self.state[parameter] for parameter in dense])

    def _step_points(
        self,
        group: dict[str, Any],
        manifold: Manifold,
        x: Float[Tensor, "*b *p"],
        g: Float[Tensor, "*b *p"],
        state: dict[str, Tensor],
    ) -> Float[Tensor, "*b *p"]:
        """One step of a batch of points; the whole of the algorithm."""
        beta1, beta2 = group["betas"]
        m, v, t = state["exp_avg"], state["exp_avg_sq"], state["step"].to(x.dtype)
        r = manifold.egrad2rgrad(x, -g if group["maximize"] else g)
        m.lerp_(r, 1 - beta1)
        # Rounding can make the square of an indefinite ambient product, as of Lorentz, negative.
        v.mul_(beta2).add_(manifold.inner(x, r, r).clamp_min(0), alpha=1 - beta2)
        if group["amsgrad"]:
            v = state["max_exp_avg_sq"].copy_(torch.maximum(state["max_exp_avg_sq"], v))
        size = (v / _reached(beta2, t)).sqrt() + group["eps"]
        scale = -rate(group["lr"]) / _reached(beta1, t) / size
        y, carried = manifold.carry(x, for_points(scale, x) * m, m)
        m.copy_(carried)
        return y


def _reached(beta: float, t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """1 - beta^t, the part of its limit that an average has reached, without cancellation."""
    return -torch.expm1(t * (math.log(beta) if beta > 0 else -math.inf))


def _names(group: dict[str, Any]) -> tuple[str, ...]:
    return ("exp_avg", "exp_avg_sq") + (("max_exp_avg_sq",) if group["amsgrad"] else ())


def _euclidean_state(
    parameter: Tensor, state: dict[str, Any], group: dict[str, Any]
) -> dict[str, Any]:
    """The state of torch's Adam, made where it is missing."""
    if not isinstance(state.get("step"), torch.Tensor):
        device = parameter.device if group["capturable"] else None
        state["step"] = torch.tensor(float(state.get("step", 0)), device=device)
    for name in _names(group):
        if name not in state:
            state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    return state


def _adamw(
    group: dict[str, Any],
    parameters: list[Tensor],
    gradients: list[Tensor],
    states: list[dict[str, Any]],
) -> None:
    if not parameters:
        return
    adam(
        parameters,
        gradients,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
        [state["step"] for state in states],
        foreach=group["foreach"],
        capturable=group["capturable"],
        has_complex=any(parameter.is_complex() for parameter in parameters),
        decoupled_weight_decay=True,
        amsgrad=group["amsgrad"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=group["maximize"],
    )


def _require_no_capture(parameters: list[Tensor]) -> None:
    """Raise where step counts, which are read on the host, would be frozen into a CUDA graph."""
    if parameters and torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        raise InputError(
            f"RiemannianAdam: {len(parameters)} Euclidean parameters are in a CUDA graph that is "
            "being captured; make the optimiser with capturable=True"
        )
