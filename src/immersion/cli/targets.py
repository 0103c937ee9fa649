"""Models and weights as they are named on a command line."""

from __future__ import annotations

import importlib
import json
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from immersion.core.errors import ImmersionError, InputError, ModelError, ReadError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

_SHOWN = 4


def require_pair(
    model: str | None, data: Path | None, weights: Path | None, model_kwargs: str | None
) -> None:
    """A model needs data and data need a model; the demo has neither.

    Raises:
        InputError: says which is missing.
    """
    if model is None and (weights is not None or model_kwargs is not None):
        raise InputError("--weights and --model-kwargs need --model package.module:name")
    if model is None and data is not None:
        raise InputError("--data needs --model package.module:name")
    if model is not None and data is None:
        raise InputError("--model needs --data with the samples to audit it on")
    if model is not None and ":" not in model:
        raise InputError(f"--model {model!r} is not of the form package.module:name")


def build_model(target: str, kwargs: str | None = None) -> nn.Module:
    """The module that `package.module:name` names: an instance, or what a class or function builds.

    Args:
        target: the name; the current folder is searched first.
        kwargs: JSON object of keyword arguments for the class or function.

    Raises:
        ModelError: no such module or name (close ones are shown), it fails, or it is no model.
    """
    from torch import nn

    place, _, name = target.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(place)
    except ModuleNotFoundError as error:
        missing = error.name or place
        whose = (
            "" if place == missing or place.startswith(f"{missing}.") else f" (imported by {place})"
        )
        raise ModelError(
            f"--model {target!r}: there is no module {missing!r}{whose} on the path, which starts "
            "with the current folder"
        ) from error
    except Exception as error:
        raise ModelError(f"--model {target!r}: importing {place} failed: {_said(error)}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            close = get_close_matches(part, dir(found), n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ModelError(f"--model {target!r}: {place} has no {part!r}{hint}")
        found = getattr(found, part)
    arguments = _arguments(kwargs)
    if isinstance(found, nn.Module):
        if arguments:
            raise ModelError(f"--model {target!r} is built already and takes no --model-kwargs")
        return found
    if not callable(found):
        raise ModelError(f"--model {target!r} is a {type(found).__name__}, no model or builder")
    try:
        model: object = found(**arguments)
    except ImmersionError:
        raise
    except Exception as error:
        raise ModelError(
            f"--model {target!r}: building the model failed: {_said(error)}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"--model {target!r} built a {type(model).__name__}, no torch Module")
    return model


def load_weights(model: nn.Module, path: Path, *, unsafe_pickle: bool = False) -> None:
    """Load weights into a model; every tensor must have its place and shape.

    A prefix that wrapping adds to all names (`module.`, `_orig_mod.`) is taken off.

    Raises:
        ReadError: the file is missing, damaged, or would run code.
        ModelError: the weights do not fit; the keys and shapes are named.
    """
    state = _read_state(path, unsafe_pickle=unsafe_pickle)
    own = model.state_dict()
    for prefix in ("module.", "_orig_mod.", "model."):
        if not state.keys() <= own.keys() and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    problems = [
        *_named("missing", own.keys() - state.keys()),
        *_named("unexpected", state.keys() - own.keys()),
        *_named(
            "of another shape",
            {
                f"{key} {tuple(state[key].shape)} (the model has {tuple(own[key].shape)})"
                for key in own.keys() & state.keys()
                if state[key].shape != own[key].shape
            },
        ),
    ]
    if problems:
        raise ModelError(
            f"the weights in {str(path)!r} do not fit {type(model).__name__}: {'; '.join(problems)}"
        )
    model.load_state_dict(dict(state))


def _read_state(path: Path, *, unsafe_pickle: bool) -> Mapping[str, Tensor]:
    import torch

    if not path.is_file():
        raise ReadError(f"--weights: there is no file {str(path)!r}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

            return cast("Mapping[str, Tensor]", load_file(path))
        if path.suffix not in (".pt", ".pth", ".bin", ".ckpt"):
            raise ReadError(
                f"--weights {str(path)!r}: {path.suffix or 'no'} suffix is not known; "
                "give a .safetensors file"
            )
        loaded: Any = torch.load(path, map_location="cpu", weights_only=not unsafe_pickle)
    except ReadError:
        raise
    except Exception as error:
        advice = (
            "; if you trust it, --unsafe-pickle loads it and runs the code in it"
            if "weights_only" in str(error).lower() or "unpickl" in str(error).lower()
            else ""
        )
        raise ReadError(
            f"--weights {str(path)!r} cannot be read: {_said(error)}{advice}"
        ) from error
    state = _dictionary(loaded)
    for key in ("state_dict", "model_state_dict", "model"):
        state = _dictionary(state.get(key)) or state
    if not state or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise ReadError(f"--weights {str(path)!r} holds no dictionary of tensors")
    return state


def _dictionary(value: object) -> dict[str, Any]:
    """`value` if it is a dictionary, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _arguments(kwargs: str | None) -> dict[str, Any]:
    if kwargs is None:
        return {}
    try:
        arguments: Any = json.loads(kwargs)
    except json.JSONDecodeError as error:
        raise InputError(f"--model-kwargs is no JSON ({error}): {kwargs!r}") from error
    if not isinstance(arguments, dict):
        raise InputError(f"--model-kwargs must be a JSON object, not {kwargs!r}")
    return arguments  # pyright: ignore[reportUnknownVariableType]


def _named(what: str, keys: set[str]) -> list[str]:
    if not keys:
        return []
    listed = ", ".join(sorted(keys)[:_SHOWN])
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return [f"{what}: {listed}{more}"]


def _said(error: Exception) -> str:
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
