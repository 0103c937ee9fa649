"""The parameters of a module that are matrices with orthonormal columns, stacked by shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, final

import torch

from immersion.core.errors import InputError
from immersion.known.combined.viewed import Viewed
from immersion.known.constraints import changes, constrained
from immersion.known.orthonormal.canonical_stiefel import CanonicalStiefel
from immersion.known.orthonormal.rotations import Rotations
from immersion.known.orthonormal.stiefel import Stiefel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor, nn

    from immersion.core.metric import Manifold
    from immersion.known.constraints import Source


@final
class Frames:
    """Parameters of one shape, dtype and device on one manifold, stepped as one stack.

    Whatever the shape in which a weight is stored, its stack has shape (count, n, p) with n >= p
    and orthonormal columns. A parameter with leading dimensions is several matrices of the stack.
    """

    def __init__(self, manifold: Manifold, parameters: Sequence[Tensor]) -> None:
        self.manifold, self._transposed = _unwrapped(manifold)
        self.parameters = parameters

    @property
    def active(self) -> list[Tensor]:
        """The parameters that have a gradient.

        Raises:
            InputError: a gradient is sparse.
        """
        found = [parameter for parameter in self.parameters if parameter.grad is not None]
        for parameter in found:
            if parameter.grad is not None and parameter.grad.is_sparse:
                raise InputError(
                    f"a parameter of shape {tuple(parameter.shape)} on {self.manifold} has a "
                    "sparse gradient; a step changes all of an orthogonal matrix, so make the "
                    "layer with sparse=False"
                )
        return found

    def stack(self, tensors: Sequence[Tensor]) -> Float[Tensor, "k n p"]:
        """A copy of tensors that have the shape of the parameters."""
        n, p = self.manifold.point_shape
        rows = torch.stack(list(tensors))
        return rows.reshape(-1, p, n).mT if self._transposed else rows.reshape(-1, n, p)

    def pieces(self, stack: Float[Tensor, "k n p"], tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """The parts of a stack in the shape of the parameters, one for each of `tensors`."""
        rows = stack.mT if self._transposed else stack
        return rows.reshape(len(tensors), *tensors[0].shape).unbind()

    def write_(self, tensors: Sequence[Tensor], stack: Float[Tensor, "k n p"]) -> None:
        """Put a stack back into the tensors that it was made of."""
        for tensor, piece in zip(tensors, self.pieces(stack, tensors), strict=True):
            tensor.copy_(piece)


@final
class FramedModule:
    """A module whose constrained parameters all have orthonormal columns.

    Args:
        module: the module.
        user: name of the optimiser, for errors.

    Raises:
        InputError: a parameter is on a manifold that has no orthonormal columns, or none is.
    """

    def __init__(self, module: nn.Module, user: str) -> None:
        self._module = module
        self._changes = changes()
        # by parameters and not by their ids, so that a copy has those of the copied module
        self._sources: dict[Tensor, Source] = {}
        stacks: dict[tuple[object, ...], tuple[Manifold, list[Tensor]]] = {}
        for one in constrained(module):
            manifold, parameter = one.manifold(), one.parameter
            if not isinstance(_unwrapped(manifold)[0], Stiefel | CanonicalStiefel | Rotations):
                raise InputError(
                    f"{one.name} is on {manifold}; {user} steps matrices with orthonormal "
                    "columns, on Stiefel, CanonicalStiefel or Rotations: use RiemannianAdam"
                )
            self._sources[parameter] = one.source
            key = (manifold, parameter.shape, parameter.dtype, parameter.device)
            stacks.setdefault(key, (manifold, []))[1].append(parameter)
        if not stacks:
            raise InputError(
                f"{type(module).__name__} has no parameter on a manifold, and {user} is for "
                'modules that have: call constrain_(module, "weight", Stiefel) first'
            )
        self.stacks = [Frames(manifold, parameters) for manifold, parameters in stacks.values()]
        self.free = [p for p in module.parameters() if p not in self._sources]

    @property
    def framed(self) -> list[Tensor]:
        """All constrained parameters, in the order of the stacks."""
        return [parameter for frames in self.stacks for parameter in frames.parameters]

    def require_unchanged(self) -> None:
        """Raise if a parameter was constrained, or constrained otherwise, since the start.

        Raises:
            InputError: so it was.
        """
        if self._changes == changes():
            return
        for one in constrained(self._module):
            if self._sources.get(one.parameter) != one.source:
                raise InputError(
                    f"{one.name} was put on {one.source} after the optimiser was made; make the "
                    "optimiser after constrain_"
                )
        self._changes = changes()


def _unwrapped(manifold: Manifold) -> tuple[Manifold, bool]:
    """The manifold of the matrices themselves, and whether they are stored transposed."""
    if isinstance(manifold, Viewed):
        view = cast("Viewed[Manifold]", manifold)
        return view.manifold, view.transposed
    return manifold, False
