"""Riemannian stochastic gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from torch.optim.sgd import sgd

from immersion.core.errors import InputError
from immersion.optim.stepping.buckets import Fields
from immersion.optim.stepping.shell import ManifoldOptimizer, for_points, rate, require_rates

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from immersion.core.metric import Manifold
    from immersion.optim.stepping.parameters import Parameters


@final
class RiemannianSGD(ManifoldOptimizer):
    r"""Gradient descent for a module some of whose parameters stay on manifolds.

    Put the parameters there with `constrain_` first. At a point x with Riemannian gradient r:

        m <- momentum m + (1 - dampening) r        (m = r at the first step)
        u  = - lr m,  or  - lr (r + momentum m) with Nesterov's rule
        x, m <- manifold.carry(x, u, m)

    and x <- manifold.retract(x, - lr r) without momentum. All other parameters are stepped as by
    `torch.optim.SGD`, by torch itself.

    Points on equal manifolds, of one dtype and device, are stepped together; so a step costs about
    the same for one parameter as for hundreds of small ones. A parameter without a gradient is left
    alone, its momentum too. Of a constrained table with a sparse gradient
    (`nn.Embedding(sparse=True)`) only the rows touched are stepped, each with a momentum that
    waits for its next gradient. The gradients are never changed.

    Args:
        params: the module; or, with `module`, tensors, named tensors or groups as torch takes them.
        lr: learning rate; a tensor of one element to change it without a new `torch.compile`.
        momentum: decay rate of the momentum; 0 keeps none.
        nesterov: look ahead by the momentum.
        dampening: part of each gradient but the first that the momentum does not take up.
        weight_decay: of the parameters of Euclidean space, added to their gradient as in torch.
            Points on a manifold are not decayed: there is no origin to which they should go.
        module: the module whose constraints apply to `params`.
        maximize: climb.
        foreach: False steps each parameter by itself. For Euclidean parameters it has the meaning
            that it has in torch.

    Raises:
        InputError: a rate out of range; Nesterov without momentum or with dampening; parameters
            without `module`, or not of it; at a step, a constraint made after the optimiser, or
            loaded state that does not fit.

    `state_dict` has torch's format, "momentum_buffer", and a "step" for constrained parameters.
    A NaN in a gradient reaches its own points only, as in torch.

    Source: Bonnabel, "Stochastic gradient descent on Riemannian manifolds", IEEE Transactions on
    Automatic Control 58 (2013).

    Example:
        >>> import torch, immersion as im
        >>> model = torch.nn.Linear(3, 1, bias=False)
        >>> torch.nn.init.ones_(model.weight).shape
        torch.Size([1, 3])
        >>> model = im.constrain_(model, "weight", im.Sphere)
        >>> optimizer = im.RiemannianSGD(model, lr=0.1, momentum=0.5)
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
        momentum: float = 0.0,
        nesterov: bool = False,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        module: nn.Module | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
        }
        super().__init__(params, module, defaults)

    def _require_options(self, group: dict[str, Any]) -> None:
        require_rates(group, "RiemannianSGD", "momentum", "weight_decay")
        momentum, dampening = group["momentum"], group["dampening"]
        if group["nesterov"] and (momentum == 0 or dampening != 0):
            raise InputError(
                "RiemannianSGD: nesterov needs a momentum above 0 and no dampening, not momentum "
                f"{momentum} and dampening {dampening}"
            )

    def _fields(self, group: dict[str, Any]) -> Fields:
        kept = group["momentum"] != 0
        return Fields(vectors=("momentum_buffer",) if kept else (), counted=kept)

    def _step_euclidean(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        """SGD of torch."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        stepped = [parameter for parameter in parameters if parameter.grad is not None]
        if not stepped:
            return
        kept = group["momentum"] != 0
        momenta: list[Tensor | None] = [
            self.state[parameter].get("momentum_buffer") if kept else None for parameter in stepped
        ]
        sgd(
            stepped,
            gradients,
            momenta,
            has_sparse_grad=any(gradient.is_sparse for gradient in gradients),
            foreach=group["foreach"],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
        )
        if kept:
            for parameter, momentum in zip(stepped, momenta, strict=True):
                self.state[parameter]["momentum_buffer"] = momentum

    def _step_points(
        self,
        group: dict[str, Any],
        manifold: Manifold,
        x: Float[Tensor, "*b *p"],
        g: Float[Tensor, "*b *p"],
        state: dict[str, Tensor],
    ) -> Float[Tensor, "*b *p"]:
        """One step of a batch of points; the whole of the algorithm."""
        momentum, dampening = group["momentum"], group["dampening"]
        r = manifold.egrad2rgrad(x, -g if group["maximize"] else g)
        if momentum == 0:
            return manifold.retract(x, -rate(group["lr"]) * r)
        m = state["momentum_buffer"].mul_(momentum)
        if dampening == 0:
            m.add_(r)
        else:
            # The momentum is zero before the first step, which is not dampened.
            taken = 1 - dampening * (state["step"] > 1).to(x.dtype)
            m.add_(for_points(taken, x) * r)
        ahead = r + momentum * m if group["nesterov"] else m
        y, carried = manifold.carry(x, -rate(group["lr"]) * ahead, m)
        m.copy_(carried)
        return y
