"""The errors a user can cause, each one clear line: what is wrong, the value met, what to do.

The command line turns every `ImmersionError` into that line and exit code 2; anything else is a
fault of the library itself (exit code 3).
"""

from __future__ import annotations


class ImmersionError(Exception):
    """Base of every error that the caller can mend."""


class InputError(ImmersionError, ValueError):
    """The data or a parameter cannot be used (shape, type, range, NaN, too few samples)."""


class ReadError(ImmersionError, ValueError):
    """A file cannot be read as data or weights (missing, unknown format, unsafe, damaged)."""


class ModelError(ImmersionError, ValueError):
    """The model cannot be found, built, loaded or run on the data."""


class OutputError(ImmersionError, OSError):
    """The result cannot be written where it was asked to go."""
