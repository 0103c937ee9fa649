"""The command line: `immersion audit` and `immersion dimension`.

Commands live in files of their own that load when they run, so that `--help` needs neither torch
nor numpy. Results go to standard output, progress and errors to standard error.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from types import FrameType

OK, GATE_FAILED, USAGE, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 ok, 1 gate failed, 2 usage, 3 internal, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    code = run(given)
    if code == INTERRUPTED:
        # CPython ends with the signal instead of the code when an interrupt ever passed through the
        # execution of a string (numba compiles by it), although it was handled.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command line; every error of the user's is one line."""
    from cyclopts import App, CycloptsError

    from immersion import __version__
    from immersion.core.errors import ImmersionError

    app = App(
        name="immersion",
        help="The geometry of data inside deep networks: measure it, see it, train with it.",
        version=__version__,
        help_format="markdown",
        suppress_keyboard_interrupt=False,
    )
    app.command(
        "immersion.cli.audit:audit",
        help="Audit a model on data and write a report (report.html, report.json).",
    )
    app.command(
        "immersion.cli.dimension:dimension",
        help="Intrinsic dimension of points, with a 95% interval, by estimator, scale and class.",
    )
    interrupts: list[Timer] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        """Stop, and try again soon: a compiler's callback may swallow the exception."""
        again = Timer(1.0, signal.raise_signal, (signal.SIGINT,))
        again.daemon = True
        interrupts.append(again)
        again.start()
        # Whatever the exception leaves half built (a compiler's values) complains as it is freed.
        sys.unraisablehook = _say_nothing
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGINT, interrupt)
    former_hook = sys.unraisablehook
    try:
        code = app(
            list(arguments), exit_on_error=False, print_error=False, result_action="return_value"
        )
        return code if isinstance(code, int) else OK
    except CycloptsError as error:
        return _complain(_one_line(str(error)), USAGE)
    except ImmersionError as error:
        if "--debug" in arguments:
            raise
        return _complain(_one_line(str(error)), USAGE)
    except KeyboardInterrupt:
        return _complain("interrupted; nothing was written", INTERRUPTED)
    except BrokenPipeError:
        return OK
    except Exception as error:
        if interrupts:
            return _complain("interrupted; nothing was written", INTERRUPTED)
        if "--debug" in arguments:
            raise
        said = _one_line(f"{type(error).__name__}: {error}")
        return _complain(f"internal error, please report it with --debug ({said})", INTERNAL)
    finally:
        for again in interrupts:
            again.cancel()
        signal.signal(signal.SIGINT, former)
        sys.unraisablehook = former_hook


def _say_nothing(unraisable: UnraisableHookArgs) -> None:
    """In place of `sys.unraisablehook` once the user has interrupted."""


def _complain(line: str, code: int) -> int:
    print(f"immersion: {line}", file=sys.stderr)
    return code


def _one_line(message: str) -> str:
    """The message without line breaks and control characters, which file names may smuggle in."""
    return " ".join("".join(c if c.isprintable() else " " for c in message).split())
