"""The shell of a Riemannian optimiser; its algorithm is a function of a batch of points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, final

import torch
from torch.optim import Optimizer

from immersion.core.errors import InputError
from immersion.optim.stepping.parameters import ModelParameters, read_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float
    from torch import Tensor, nn

    from immersion.core.metric import Manifold
    from immersion.optim.stepping.buckets import Fields
    from immersion.optim.stepping.parameters import Parameters


class ManifoldOptimizer(Optimizer, ABC):
    """Holds parameters and state; steps points in buckets, and the other parameters by torch."""

    def __init__(
        self,
        params: nn.Module | Parameters,
        module: nn.Module | None,
        defaults: dict[str, Any],
    ) -> None:
        model, params = read_parameters(params, module)
        self._parameters = ModelParameters(model)
        super().__init__(params, defaults)

    @abstractmethod
    def _require_options(self, group: dict[str, Any]) -> None:
        """Raise InputError where an option of a group is out of range."""

    @abstractmethod
    def _fields(self, group: dict[str, Any]) -> Fields:
        """What is remembered of each constrained parameter."""

    @abstractmethod
    def _step_points(
        self,
        group: dict[str, Any],
        manifold: Manifold,
        x: Float[Tensor, "*b *p"],
        g: Float[Tensor, "*b *p"],
        state: dict[str, Tensor],
    ) -> Float[Tensor, "*b *p"]:
        """New points, the whole of the algorithm; see `buckets.Update`."""

    @abstractmethod
    def _step_euclidean(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        """Step the parameters that are not constrained and have a gradient."""

    @final
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters of the module, with options of their own."""
        super().add_param_group(param_group)
        try:
            self._parameters.require_owned(param_group)
            self._require_options(param_group)
        except InputError:
            self.param_groups.pop()
            raise

    @final
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step all parameters that have a gradient.

        Args:
            closure: evaluates the model again and returns the loss, which is returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        arranged = self._parameters.arranged(self.param_groups, self.state, self._fields)
        for group, arrangement in zip(self.param_groups, arranged, strict=True):
            update = partial(self._step_points, group)
            for bucket in arrangement.buckets:
                bucket.step(update)
        # After the points, since a learnable curvature is among these.
        for group, arrangement in zip(self.param_groups, arranged, strict=True):
            self._step_euclidean(group, arrangement.euclidean)
        for arrangement in arranged:
            for bucket in arrangement.buckets:
                bucket.settle()
        return loss

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_parameters": self._parameters}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)
        self._parameters.forget()


def rate(lr: float | Tensor) -> float | Tensor:
    """A learning rate that keeps the dtype and shape of what it multiplies."""
    return lr.reshape(()) if isinstance(lr, torch.Tensor) else lr


def for_points(numbers: Float[Tensor, "*b"], x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
    """Numbers, one for each point or one for all, in a shape that multiplies points."""
    return numbers.reshape(*numbers.shape, *(1,) * (x.ndim - numbers.ndim))


def require_rates(group: dict[str, Any], kind: str, *names: str) -> None:
    """Raise unless the learning rate and the named options are numbers, zero or above.

    Raises:
        InputError: one is not; a tensor as learning rate is looked at in shape only.
    """
    lr = group["lr"]
    if lr.numel() != 1 if isinstance(lr, torch.Tensor) else not lr >= 0:
        raise InputError(f"{kind}: lr is a number >= 0, or a tensor of one, not {lr}")
    for name in names:
        if not group[name] >= 0:
            raise InputError(f"{kind}: {name} is a number >= 0, not {group[name]}")
