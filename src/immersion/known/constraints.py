"""The manifold of a parameter is recorded on its module; the parameter itself stays plain.

The record is an attribute of the module that owns the parameter. It is no tensor and no hook, so
`state_dict`, `load_state_dict(assign=True)`, `deepcopy`, pickling, `.to()`, meta devices, `vmap`,
DDP and `torch.compile` see an ordinary `torch.nn.Parameter`, and a copy of the module has a copy of
the record. What reads it is an optimiser, such as `RiemannianAdam`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, final

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from immersion.core.errors import InputError
from immersion.core.metric import Manifold
from immersion.known.combined.viewed import Viewed

if TYPE_CHECKING:
    from torch import Tensor

    #: A manifold, or what finds it from the module that owns the parameter, at each step.
    Source = Manifold | Callable[[nn.Module], Manifold]

#: Name of the attribute in which a module keeps the manifolds of its own parameters.
RECORD = "_manifolds"

#: How many names an error lists.
LISTED = 12


@final
class _Changes:
    """Counts the calls of `constrain_`, so that an optimiser made earlier notices them."""

    number = 0


@final
@dataclass(frozen=True, eq=False)
class Constraint:
    """One parameter and where its manifold comes from."""

    name: str
    parameter: Tensor
    owner: nn.Module
    source: Source

    @property
    def varies(self) -> bool:
        """Whether the manifold is found anew at each step, as with a learnable curvature."""
        return not isinstance(self.source, Manifold)

    def manifold(self) -> Manifold:
        """The manifold as it is now."""
        return _resolved(self.source, self.owner, self.name)


def constrain_(
    module: nn.Module,
    name: str,
    manifold: Manifold | type[Manifold] | Callable[[nn.Module], Manifold],
    *,
    project: bool = True,
    tolerance: float | None = None,
) -> nn.Module:
    """Keep a parameter of `module` on a manifold: bring it there now, and record it.

    The last dimensions of the parameter are the point, those before them count points: an embedding
    table (100000, 16) on `PoincareBall(16)` is 100000 points. The manifold is recorded on the
    sub-module that owns the parameter, and it takes effect in an optimiser made after this call.

    A call with the manifold that is recorded already projects again. That is what to do after
    `to_empty()` and `reset_parameters()` of a module made on the meta device, where there were no
    values to project, and after any change of the values from outside:
    `for name, m in im.constraints(model).items(): im.constrain_(model, name, m)`.

    Args:
        module: the module that owns the parameter, or one that contains it.
        name: of the parameter as in `module.named_parameters()`, such as "encoder.0.weight".
        manifold: an instance; or a class whose arguments follow from the shape of the parameter
            (`im.Stiefel` for a tall weight (64, 32) is `im.Stiefel(64, 32)`, and for a wide one
            (32, 64) the same, `Viewed` transposed); or a function of the module that owns the
            parameter, for a manifold with a learnable curvature: it is called at each step, and
            after the step the points are projected to the manifold as it then is. A function at
            the top of a file keeps the module picklable, a lambda does not.
        project: whether to bring the value to the manifold by `proj`, in place; False to insist
            that it is there.
        tolerance: largest violation accepted, after projection if there is one; by default that of
            `Manifold.check`.

    Returns:
        `module`.

    Raises:
        InputError: there is no such parameter; it is not float32 or float64, has a shape that does
            not fit, is computed by a parametrisation or is on another manifold already; its value
            is off the manifold (with `project=False`) or NaN. Nothing is changed then.

    Example:
        >>> import immersion as im
        >>> layer = im.constrain_(torch.nn.Linear(8, 3), "weight", im.Sphere)
        >>> im.constraints(layer)
        {'weight': Sphere(n=7, retraction='polar')}
        >>> bool((im.Sphere(7).violation(layer.weight.detach()) < 1e-6).all())
        True
    """
    owner, parameter = _find(module, name)
    shape = tuple(parameter.shape)
    _require_dtype(name, parameter)
    source = _inferred(manifold, name, shape) if isinstance(manifold, type) else manifold
    resolved = _resolved(source, owner, name)
    _require_shape(resolved, name, shape)
    if source is resolved and _learns(resolved):
        raise InputError(
            f"{name}: {resolved} holds a parameter, which this record would lose when the module "
            "is copied or loaded; give a function of the module that makes the manifold"
        )
    for one in constrained(module):
        if one.parameter is parameter and one.source != source and one.manifold() != resolved:
            raise InputError(
                f"{name} of shape {shape} is on another manifold already: {one.source}"
            )
    if not parameter.is_meta:
        _bring(parameter, resolved, name, project, tolerance)
    record: dict[str, Source] = vars(owner).setdefault(RECORD, {})
    if record.setdefault(name.rpartition(".")[2], source) is source:
        _Changes.number += 1
    return module


def constraints(module: nn.Module) -> dict[str, Manifold]:
    """Manifolds of the parameters of a module and all its sub-modules, by name of the parameter.

    The names are those of `module.named_parameters()`; a parameter that several modules share is
    named once. Wrappers such as `DistributedDataParallel` and `torch.compile` are seen through, and
    the names keep their prefixes. A manifold that a function finds is given as it is now.

    Raises:
        InputError: a constrained parameter is gone, as parametrisation and pruning replace it; or
            modules that share a parameter put it on different manifolds.

    Example:
        >>> import immersion as im
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
        >>> im.constraints(im.constrain_(model, "1.weight", im.Sphere))
        {'1.weight': Sphere(n=3, retraction='polar')}
    """
    return {one.name: one.manifold() for one in constrained(module)}


def constrained(module: nn.Module) -> Iterator[Constraint]:
    """Each constrained parameter of a module and its sub-modules, once."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    first: dict[int, Source] = {}
    modules = cast("Iterator[tuple[str, nn.Module]]", module.named_modules())
    for prefix, owner in modules:
        record: dict[str, Source] = vars(owner).get(RECORD, {})
        for leaf, source in record.items():
            parameter = _own(owner).get(leaf)
            if parameter is None:
                raise InputError(
                    f"{prefix}{'.' if prefix else ''}{leaf} should stay on {source} and is no "
                    "parameter any more; undo the parametrisation or pruning that replaced it"
                )
            name, key = names[id(parameter)], id(parameter)
            if key not in first:
                first[key] = source
                yield Constraint(name, parameter, owner, source)
            elif first[key] != source:
                raise InputError(
                    f"{name} of shape {tuple(parameter.shape)} is shared by modules that put it on "
                    f"different manifolds: {first[key]} and {source}"
                )


def changes() -> int:
    """A number that grows whenever `constrain_` records a manifold."""
    return _Changes.number


def _own(owner: nn.Module) -> dict[str, nn.Parameter]:
    return dict(owner.named_parameters(recurse=False, remove_duplicate=False))


def _find(module: nn.Module, name: str) -> tuple[nn.Module, nn.Parameter]:
    prefix, _, leaf = name.rpartition(".")
    owner: nn.Module | None = None
    with suppress(AttributeError):
        owner = module.get_submodule(prefix)
    parameter = None if owner is None else _own(owner).get(leaf)
    if owner is not None and parameter is not None:
        if is_lazy(parameter):
            raise InputError(f"{name} has no shape yet; run the module on a batch first")
        return owner, parameter
    if owner is not None and is_parametrized(owner, leaf):
        raise InputError(
            f"{name} is computed by a parametrisation; take it away with torch.nn.utils.parametrize"
            ".remove_parametrizations before you put the parameter on a manifold"
        )
    names = [known for known, _ in module.named_parameters(remove_duplicate=False)]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    raise InputError(
        f"{type(module).__name__} has no parameter {name!r}; it has "
        f"{', '.join(names[:LISTED]) or 'none'}{more}"
    )


def _require_dtype(name: str, parameter: Tensor) -> None:
    if parameter.dtype in (torch.float16, torch.bfloat16):
        raise InputError(
            f"{name} of shape {tuple(parameter.shape)} is {parameter.dtype}, too coarse to stay on "
            "a manifold; keep the parameter in float32 and compute under torch.autocast"
        )
    if parameter.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"{name} of shape {tuple(parameter.shape)} is {parameter.dtype}; points of a manifold "
            "are torch.float32 or torch.float64"
        )


def _require_shape(manifold: Manifold, name: str, shape: tuple[int, ...]) -> None:
    if not _fits(manifold, shape):
        raise InputError(
            f"{name} has shape {shape}; points of {manifold} have shape "
            f"(..., {', '.join(map(str, manifold.point_shape))})"
        )


def _fits(manifold: Manifold, shape: tuple[int, ...]) -> bool:
    points = len(shape) - len(manifold.point_shape)
    return points >= 0 and shape[points:] == manifold.point_shape


def _resolved(source: Source, owner: nn.Module, name: str) -> Manifold:
    found: object = source
    if not isinstance(source, Manifold) and callable(source):
        found = source(owner)
    if isinstance(found, Manifold):
        return found
    raise InputError(
        f"{name} needs a manifold, its class, or a function that returns one; not "
        f"{type(found).__name__}"
    )


def _learns(value: object) -> bool:
    """Whether a manifold, or one of those that it is made of, has a tensor that is learnt."""
    if isinstance(value, torch.Tensor):
        return value.requires_grad
    parts = cast("tuple[object, ...]", value) if isinstance(value, tuple) else ()
    return any(map(_learns, vars(value).values() if isinstance(value, Manifold) else parts))


def _inferred(kind: type[Manifold], name: str, shape: tuple[int, ...]) -> Manifold:
    """The manifold of this class whose points have the last dimensions of `shape`."""
    guesses = [(shape[-1] - 1,), (shape[-1],), shape[-2:]] if shape else []
    for guess in guesses:
        manifold = _made(kind, guess)
        if manifold is not None and _fits(manifold, shape):
            return manifold
    matrix = shape[-2:]
    wide = _made(kind, matrix[::-1])
    if wide is not None and len(matrix) == 2 and wide.point_shape == matrix[::-1]:
        return Viewed(wide, matrix, transposed=True)
    raise InputError(
        f"{name} has shape {shape}, from which the arguments of {kind.__name__} do not follow; "
        f"give an instance, {kind.__name__}(...)"
    )


def _made(kind: type[Manifold], arguments: tuple[int, ...]) -> Manifold | None:
    with suppress(TypeError, InputError):
        return kind(*arguments)
    return None


def _bring(
    parameter: Tensor, manifold: Manifold, name: str, project: bool, tolerance: float | None
) -> None:
    with torch.no_grad():
        value = manifold.proj(parameter) if project else parameter
        try:
            manifold.check(value, tolerance)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        if project:
            parameter.copy_(value)
