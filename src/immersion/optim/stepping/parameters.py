"""Which parameters an optimiser has, and on which manifold of its model each one lies."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, final

from torch import nn

from immersion.core.errors import InputError
from immersion.known.constraints import changes, constrained
from immersion.optim.stepping.buckets import Bucket, alike

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor

    from immersion.known.constraints import Constraint
    from immersion.optim.stepping.buckets import Fields, State

    #: What torch's optimisers take: tensors, named tensors, or groups with options of their own.
    Parameters = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]


def read_parameters(
    params: nn.Module | Parameters, module: nn.Module | None
) -> tuple[nn.Module, Parameters]:
    """The model whose constraints apply, and the parameters to step.

    Raises:
        InputError: parameters without their model, whose constraints would be lost in silence.
    """
    if isinstance(params, nn.Module):
        return module or params, list(params.parameters())
    if module is None:
        raise InputError(
            "parameters alone do not tell their manifolds; give the model in their place, or "
            "beside them as module=model"
        )
    return module, params


@final
class Arrangement:
    """The parameters of one group: those of Euclidean space, and buckets of the others.

    A constrained parameter joins a bucket with its first gradient, or with state that was loaded.
    """

    def __init__(
        self,
        group: dict[str, Any],
        constraints: Mapping[int, Constraint],
        fields: Fields,
        state: State,
    ) -> None:
        self._options = (fields, group["foreach"])
        self._state = state
        self.euclidean: list[Tensor] = []
        self._waiting: list[Tensor] = []
        ready: list[Constraint] = []
        for parameter in group["params"]:
            constraint = constraints.get(id(parameter))
            if constraint is None:
                self.euclidean.append(parameter)
            elif parameter.grad is None and parameter not in state:
                self._waiting.append(parameter)
            else:
                ready.append(constraint)
        self.buckets = [
            Bucket(together, fields, state)
            for together in alike(ready, apart=group["foreach"] is False)
        ]

    def is_current(self, group: dict[str, Any], fields: Fields, state: State) -> bool:
        """Whether options, gradients and the optimiser's state ask for no other arrangement."""
        return (
            self._options == (fields, group["foreach"])
            and self._state is state
            and all(parameter.grad is None for parameter in self._waiting)
            and all(bucket.is_current(state) for bucket in self.buckets)
        )


@final
class ModelParameters:
    """The parameters of a module with the constraints on them, arranged for an optimiser.

    Constraints are read when the first step asks for them. A copy, or what comes out of a pickle,
    has the copied module and arranges its parameters anew.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._constraints: dict[int, Constraint] | None = None
        self._changes = 0
        self._arranged: list[Arrangement] = []

    def __reduce__(self) -> tuple[object, tuple[nn.Module]]:
        return ModelParameters, (self._module,)

    def require_owned(self, group: dict[str, Any]) -> None:
        """Raise unless all parameters of a group are parameters of the module.

        Raises:
            InputError: one is not.
        """
        owned = {id(parameter) for parameter in self._module.parameters()}
        for position, parameter in enumerate(group["params"]):
            if id(parameter) not in owned:
                raise InputError(
                    f"parameter {position} of shape {tuple(parameter.shape)} does not belong to "
                    f"the module given, {type(self._module).__name__}; give the model that has it"
                )

    def arranged(
        self,
        groups: Sequence[dict[str, Any]],
        state: State,
        fields: Callable[[dict[str, Any]], Fields],
    ) -> list[Arrangement]:
        """One arrangement for each group; made anew only where something has changed."""
        constraints = self._read(groups)
        del self._arranged[len(groups) :]
        for index, group in enumerate(groups):
            kept = fields(group)
            if index == len(self._arranged):
                self._arranged.append(Arrangement(group, constraints, kept, state))
            elif not self._arranged[index].is_current(group, kept, state):
                self._arranged[index] = Arrangement(group, constraints, kept, state)
        return self._arranged

    def forget(self) -> None:
        """Arrange anew at the next step, from the state that the optimiser then has."""
        self._arranged = []

    def _read(self, groups: Sequence[dict[str, Any]]) -> dict[int, Constraint]:
        if self._constraints is not None and self._changes == changes():
            return self._constraints
        latest = {id(one.parameter): one for one in constrained(self._module)}
        if self._constraints is not None:
            for parameter in chain.from_iterable(group["params"] for group in groups):
                before, now = self._constraints.get(id(parameter)), latest.get(id(parameter))
                if now is not None and (before is None or before.source != now.source):
                    raise InputError(
                        f"{now.name} was put on {now.source} after the optimiser was made; make "
                        "the optimiser after constrain_"
                    )
        else:
            self._constraints = latest
        self._changes = changes()
        return self._constraints
