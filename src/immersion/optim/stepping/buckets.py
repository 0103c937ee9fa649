"""Parameters on equal manifolds are stepped together, as rows of one batch of points.

A thousand vectors on a sphere are one batch of a thousand points: their gradients are stacked, one
step is computed, and the points are written back, which costs a few dozen kernels and not a
thousand times as many. The state stays stacked from one step to the next; what
`optimizer.state[p]` holds are views of its rows in the shape of the parameter, so `state_dict` has
the format of torch.
"""

from __future__ import annotations

import math
from itertools import accumulate, chain
from operator import is_, methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, final

import torch

from immersion.core.errors import InputError
from immersion.optim.stepping.sparse import Joiner, gradient_by_rows

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, MutableMapping, Sequence

    from torch import Tensor

    from immersion.core.metric import Manifold
    from immersion.known.constraints import Constraint

    State = MutableMapping[Tensor, dict[str, Any]]

#: Numbers stepped at once on a CPU: few enough that all that a step computes in between stays in
#: the cache, many enough that the calls cost little beside the work.
BLOCK = 1 << 17


class Fields(NamedTuple):
    """What an optimiser remembers of each parameter."""

    #: names of tangent vectors, one for each point
    vectors: tuple[str, ...] = ()
    #: names of numbers, one for each point
    numbers: tuple[str, ...] = ()
    #: whether the steps of each parameter are counted, as "step"
    counted: bool = False


class Update(Protocol):
    """One step of a batch of points, by their gradients and their state."""

    def __call__(
        self, manifold: Manifold, x: Tensor, g: Tensor, state: dict[str, Tensor]
    ) -> Tensor:
        """The new points. `state` is changed in place; `x` and `g` are not changed.

        Vectors in the state have the shape of x, numbers that without the point; "step" has one
        entry for each point, or one for all, and counts this step already.
        """
        ...


@final
class Bucket:
    """Points of one or more parameters on one manifold, and their state, as rows."""

    def __init__(self, constraints: Sequence[Constraint], fields: Fields, state: State) -> None:
        self._source = constraints[0]
        self._parameters = [one.parameter for one in constraints]
        self._fields = fields
        self._point = self._source.manifold().point_shape
        size, first = math.prod(self._point), self._parameters[0]
        self._counts = [parameter.numel() // size for parameter in self._parameters]
        self._starts = [0, *accumulate(self._counts)]
        rows = self._starts[-1]
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(fields.vectors, (rows, *self._point))
        shapes |= dict.fromkeys(fields.numbers, (rows,))
        self._tables: dict[str, Tensor] = {
            name: torch.zeros(shape, dtype=first.dtype, device=first.device)
            for name, shape in shapes.items()
        }
        self._one_shape = len({parameter.shape for parameter in self._parameters}) == 1
        # Whether joining along the first axis gives rows of points, without views on the way.
        axes = {parameter.ndim for parameter in self._parameters}
        self._joinable = axes in ({max(1, len(self._point))}, {len(self._point) + 1})
        self._steps = torch.zeros(len(constraints), device=first.device)
        counts = torch.tensor(self._counts)
        self._of_row = torch.arange(len(counts)).repeat_interleave(counts).to(first.device)
        self._views = [self._view(index) for index in range(len(constraints))]
        self._held = [state[parameter] for parameter in self._parameters if self._views[0]]
        for held, views, constraint in zip(self._held, self._views, constraints, strict=False):
            for name, view in views.items():
                if name in held:
                    _restore(view, held[name], f"{constraint.name}: {name}")
            held.update(views)
        # All points are written back through rows with views that are made once: new ones cost more
        # than the copy.
        self._rows = torch.empty(0)
        self._joiner = Joiner()
        self._pieces: Sequence[Tensor] = ()
        self._kept = {name: [views[name] for views in self._views] for name in self._views[0]}

    def is_current(self, state: State) -> bool:
        """Whether the state that the optimiser holds still is the rows kept here."""
        if self._held and state.get(self._parameters[0]) is not self._held[0]:
            return False
        # Loops outside of Python: with a thousand small parameters they are what a step costs.
        return all(
            all(map(is_, map(methodcaller("get", name), self._held), kept))
            for name, kept in self._kept.items()
        )

    def step(self, update: Update) -> None:
        """Step the points that have a gradient."""
        given = [p.grad for p in self._parameters]
        found = [g for g in given if g is not None and not g.is_sparse]
        if len(found) == len(given):
            self._step_all(found, update)
            return
        gradients = [gradient_by_rows(p, len(self._point)) for p in self._parameters]
        dense = [i for i, g in enumerate(gradients) if g is not None and not g.is_sparse]
        if len(dense) == len(gradients):
            self._step_all([g for g in gradients if g is not None], update)
            return
        if dense:
            self._step_some(dense, [g for g in gradients if not (g is None or g.is_sparse)], update)
        for index, gradient in enumerate(gradients):
            if gradient is not None and gradient.is_sparse:
                self._step_touched(index, gradient, update)

    def settle(self) -> None:
        """Bring points and vectors to the manifold where it has moved under them."""
        if self._source.varies:
            manifold = self._source.manifold()
            y = manifold.proj(self._stacked(self._parameters))
            for name in self._fields.vectors:
                self._tables[name].copy_(manifold.to_tangent(y, self._tables[name]))
            self._write(self._parameters, y)

    def _step_all(self, gradients: Sequence[Tensor], update: Update) -> None:
        manifold = self._source.manifold()
        x, g = self._stacked(self._parameters), self._stacked(gradients)
        self._steps += 1
        alone = len(self._parameters) == 1
        state = self._tables | {"step": self._steps if alone else self._steps[self._of_row]}
        block = max(1, BLOCK // math.prod(self._point))
        if len(x) <= block or not (alone and x.is_cpu) or torch.compiler.is_compiling():
            self._write(self._parameters, update(manifold, x, g, state))
            return
        for start in range(0, len(x), block):
            rows = slice(start, start + block)
            part = {name: t[rows] if len(t) == len(x) else t for name, t in state.items()}
            x[rows] = update(manifold, x[rows], g[rows], part)
        if not self._parameters[0].is_contiguous():  # else x is a view of it
            self._write(self._parameters, x)

    def _step_some(self, members: list[int], gradients: Sequence[Tensor], update: Update) -> None:
        """Step some of the parameters: their rows are taken out and put back."""
        parameters = [self._parameters[i] for i in members]
        every = torch.arange(max(self._starts[-1], len(self._counts)), device=self._steps.device)
        rows = torch.cat([every[self._starts[i] : self._starts[i + 1]] for i in members])
        chosen = torch.cat([every[i : i + 1] for i in members])
        self._steps.index_add_(0, chosen, torch.ones_like(self._steps).index_select(0, chosen))
        state = {name: table.index_select(0, rows) for name, table in self._tables.items()}
        state["step"] = self._steps[self._of_row[rows]]
        x, g = self._stacked(parameters), self._stacked(gradients)
        self._write(parameters, update(self._source.manifold(), x, g, state))
        for name, table in self._tables.items():
            table.index_copy_(0, rows, state[name])

    def _step_touched(self, index: int, gradient: Tensor, update: Update) -> None:
        """Step the rows of a table that its sparse gradient touches, and no others."""
        table, views = self._parameters[index].detach(), self._views[index]
        rows = self._joiner.touched(gradient)
        self._steps[index] += 1
        state = {name: rows.take(views[name]) for name in self._tables}
        step = {"step": self._steps[index : index + 1]}
        y = update(self._source.manifold(), rows.take(table), rows.gradient, state | step)
        rows.put(table, y)
        for name, values in state.items():
            rows.put(views[name], values)

    def _view(self, index: int) -> dict[str, Tensor]:
        """State of one parameter, as `optimizer.state` holds it."""
        shape = self._parameters[index].shape
        rows = slice(self._starts[index], self._starts[index + 1])
        batch = shape[: len(shape) - len(self._point)]
        views: dict[str, Tensor] = {}
        for name, table in self._tables.items():
            views[name] = table[rows].view(shape if name in self._fields.vectors else batch)
        return views | ({"step": self._steps[index]} if self._fields.counted else {})

    def _stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        """Points of several tensors as rows; a view where there is one contiguous tensor."""
        if len(tensors) == 1:
            rows = tensors[0].detach().reshape(-1, *self._point)
        else:
            if not self._joinable:
                tensors = [tensor.reshape(-1, *self._point) for tensor in tensors]
            rows = torch.cat(list(tensors)).view(-1, *self._point)
        return rows.to(self._parameters[0].dtype)

    def _write(self, parameters: Sequence[Tensor], y: Tensor) -> None:
        """Write rows back to the parameters that they come from."""
        if len(parameters) == len(self._parameters) > 1 and not torch.compiler.is_compiling():
            if not self._pieces:
                self._rows = torch.empty_like(y)
                self._pieces = self._split(self._rows, parameters)
            self._rows.copy_(y)
            pieces = self._pieces
        else:
            pieces = self._split(y, parameters)
        # torch has no public name for the copy that its own optimisers use.
        torch._foreach_copy_(  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            list(parameters), list(pieces)
        )

    def _split(self, y: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        """Views of rows in the shapes of the parameters that they belong to."""
        if self._one_shape:
            return y.reshape(len(parameters), *parameters[0].shape).unbind()
        size = math.prod(self._point)
        parts = torch.split(y, [parameter.numel() // size for parameter in parameters])
        return [part.reshape(p.shape) for part, p in zip(parts, parameters, strict=True)]


def alike(constraints: Iterable[Constraint], *, apart: bool) -> list[list[Constraint]]:
    """Parameters that are stepped together: equal in manifold, dtype and device.

    With `apart` each is stepped alone. So is one that fills a block by itself, as company would
    only cost copies, and one whose manifold is found anew at each step.
    """
    groups: dict[Hashable, list[list[Constraint]]] = {}
    filled: dict[Hashable, int] = {}
    for one in constraints:
        parameter = one.parameter
        size = parameter.numel()
        if apart or one.varies or size >= BLOCK:
            groups[id(parameter)] = [[one]]
            continue
        key = (_key(one.manifold()), parameter.dtype, parameter.device)
        blocks = groups.setdefault(key, [[]])
        if parameter.is_cpu and filled.get(key, 0) + size > BLOCK:
            blocks.append([])
            filled[key] = 0
        blocks[-1].append(one)
        filled[key] = filled.get(key, 0) + size
    return list(chain.from_iterable(groups.values()))


def _key(manifold: Manifold) -> Hashable:
    """The manifold itself if it is a value, else its identity."""
    try:
        hash(manifold)
    except TypeError:
        return id(manifold)
    return manifold


def _restore(view: Tensor, saved: object, name: str) -> None:
    """Take over state that was loaded, or that other rows held."""
    value = torch.as_tensor(saved)
    if value.shape != view.shape:
        raise InputError(
            f"the state of {name} has shape {tuple(value.shape)} where this optimiser keeps "
            f"{tuple(view.shape)}; it was saved by another kind of optimiser or manifold"
        )
    view.copy_(value)
