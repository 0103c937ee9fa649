"""`immersion dimension`: an array of points in, its intrinsic dimension out."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zipfile import BadZipFile

from cyclopts import Parameter

from immersion.cli import OK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from immersion.cli.terminal import Language
    from immersion.core.measurement import Measurement
    from immersion.core.progress import Progress
    from immersion.datasets import Samples
    from immersion.measure.dimension import IntrinsicDimension, ScaleCurve

    Null = Literal["shuffled", "gaussian"]

_FEWEST = 60
"""Points of a class below which no dimension is measured: a relative error above 1/8."""

_PLOT = 44
"""Most columns of the scale plot, between its axes."""

_LABELS = ("y", "labels", "label", "targets", "target", "classes", "class")
"""Names of labels in an archive of several arrays."""


def dimension(
    data: Path,
    /,
    *,
    labels: Path | None = None,
    null: Literal["shuffled", "gaussian"] | None = None,
    samples: int = 20_000,
    seed: int = 0,
    lang: Literal["auto", "en", "zh"] = "auto",
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(negative="")] = False,
    debug: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Intrinsic dimension of points, with a 95% interval, by estimator, scale and class.

    Args:
        data: .npy, .npz, .parquet or .safetensors file of points, or a folder of images. Labels
            that it holds give rows by class.
        labels: .npy or .npz file of one class a point.
        null: also measure a control: every feature shuffled by itself, or a Gaussian of the same
            covariance.
        samples: most points used; more are drawn down at random, which lowers the dimension that
            can be resolved.
        seed: of every random choice.
        lang: language of what is printed; auto is the reader's own.
        json: print the result as JSON, and nothing else.
        quiet: no progress; there is none without a terminal, nor within the first two seconds.
        debug: show tracebacks.
    """
    from immersion.cli.terminal import Late, spoken
    from immersion.core.errors import InputError

    if samples < _FEWEST:
        raise InputError(f"--samples must be at least {_FEWEST}, not {samples}")
    language = spoken(lang)

    from immersion.report.catalog import catalog

    say = catalog(language)
    watched = sys.stderr.isatty() and not quiet
    if watched:
        # torch takes seconds to load.
        print(f"immersion: {say['dimension.loading']}", file=sys.stderr, flush=True)

    from immersion.core.progress import Silent, progress_for
    from immersion.measure.dimension import intrinsic_dimension

    stages = {name: say[f"dimension.stage.{name}"] for name in ("neighbours", "control", "classes")}
    progress = Late(progress_for("bars"), stages) if watched else Silent()
    read, given = _read(data, labels, samples, seed)
    found = intrinsic_dimension(read.x, null=null, seed=seed, progress=progress)
    classes = _by_class(read, null, seed, progress)
    if json:
        sys.stdout.write(_as_json(read, given, found, classes, null, seed))
    else:
        lines = _lines(read, given, found, classes, null, language)
        print("\n".join(lines))
    return OK


def _read(data: Path, labels: Path | None, samples: int, seed: int) -> tuple[Samples, int]:
    """The points that are used, with their classes, and how many were given."""
    import numpy as np

    from immersion.core.errors import InputError
    from immersion.datasets import Samples, read

    found = read(data)
    if labels is not None:
        y, names = _read_labels(labels)
        if len(y) != found.n:
            raise InputError(
                f"--labels {str(labels)!r} has {len(y)} labels and {str(data)!r} {found.n} points"
            )
        found = Samples(found.x, y, names, found.source, found.notes)
    if found.n <= samples:
        return found, found.n
    rows = np.sort(np.random.default_rng(seed).choice(found.n, samples, replace=False))
    return found.subset(rows), found.n


def _read_labels(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Class indices and names of a .npy or .npz file; nothing is unpickled."""
    import numpy as np

    from immersion.core.errors import InputError, ReadError
    from immersion.datasets.arrays import to_labels

    if not path.is_file():
        raise ReadError(f"--labels: there is no file {str(path)!r}")
    if path.suffix not in (".npy", ".npz"):
        raise ReadError(f"--labels {str(path)!r}: give a .npy or .npz file; np.save writes one")
    try:
        with path.open("rb") as file:
            stored: Any = np.load(file, allow_pickle=False)
            archived = type(stored) is not np.ndarray
            array: Any = stored[_label_array(stored.files, path)] if archived else stored
            return to_labels(array, "labels")
    except (InputError, ReadError):
        raise
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ReadError(f"--labels {str(path)!r} cannot be read: {error}") from error


def _label_array(names: list[str], path: Path) -> str:
    """Which array of an archive holds the labels: the only one, or one that is called so."""
    from immersion.core.errors import ReadError

    called = [name for name in names if name.lower() in _LABELS]
    if len(names) == 1 or len(called) == 1:
        return (called or names)[0]
    raise ReadError(
        f"--labels {str(path)!r} holds {', '.join(map(repr, names)) or 'no array'}; call the "
        "array of labels 'labels'"
    )


def _by_class(
    data: Samples, null: Null | None, seed: int, progress: Progress
) -> dict[str, IntrinsicDimension | Measurement]:
    """The dimension of each class on its own; too small a class says so."""
    import numpy as np

    from immersion.core.measurement import Measurement
    from immersion.measure.dimension import intrinsic_dimension
    from immersion.measure.dimension.uncertainty import Sentence

    found: dict[str, IntrinsicDimension | Measurement] = {}
    if data.y is None or len(data.classes) < 2:
        return found
    with progress.stage("classes", total=len(data.classes)) as advance:
        for index, name in enumerate(data.classes):
            rows = np.flatnonzero(data.y == index)
            if len(rows) < _FEWEST:
                why = Sentence(
                    "small_class",
                    "the class has {n} samples and {fewest} are needed",
                    n=len(rows),
                    fewest=_FEWEST,
                )
                found[name] = Measurement(
                    "intrinsic_dimension", math.nan, math.nan, len(rows), {}, None, (why,)
                )
            else:
                found[name] = intrinsic_dimension(data.x[rows], null=null, seed=seed)
            advance(1)
    return found


def _as_json(
    data: Samples,
    given: int,
    found: IntrinsicDimension,
    classes: Mapping[str, IntrinsicDimension | Measurement],
    null: Null | None,
    seed: int,
) -> str:
    import json

    from immersion import __version__

    described = {
        "schema": "immersion.dimension/1",
        "version": __version__,
        "command": shlex.join(["immersion", *sys.argv[1:]]),
        "data": {
            "source": data.source,
            "points_given": given,
            "points": data.n,
            "shape": list(data.shape),
            "dtype": str(data.x.dtype),
        },
        "settings": {"null": null, "seed": seed},
        "all": found.to_dict(),
        "classes": {
            name: {"dimension": one.to_dict(), "interval": None}
            if _is_measurement(one)
            else one.to_dict()
            for name, one in classes.items()
        },
    }
    return json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _is_measurement(one: object) -> bool:
    from immersion.core.measurement import Measurement

    return isinstance(one, Measurement)


def _lines(
    data: Samples,
    given: int,
    found: IntrinsicDimension,
    classes: Mapping[str, IntrinsicDimension | Measurement],
    null: Null | None,
    language: Language,
) -> list[str]:
    """What is printed, in one language, no line wider than the terminal."""
    from immersion.cli.terminal import columns, printable, wrapped
    from immersion.report.catalog import catalog

    say, width = catalog(language), columns()
    which = "drawn" if given > data.n else "data"
    described = {
        "source": printable(data.source),
        "n": f"{data.n:,}",
        "given": f"{given:,}",
        "shape": "x".join(map(str, data.shape)),
        "dtype": data.x.dtype,
    }
    lines = [wrapped(say[f"dimension.{which}"].format(**described), width)]
    for key, fields in data.notes:
        if key == "memory_mapped":
            continue
        shown = {name: printable(text) for name, text in fields.items()}
        lines.append(wrapped(say[f"note.{key}"].format(**shown), width))
    if found.dimension.decidable:
        value, interval = _numbers(found, say)
        which = "dimension.result" if found.resolved else "dimension.result.flat"
        result = say[which].format(value=value, interval=interval)
    else:
        result = say["dimension.none"]
    lines += ["", result]
    if found.dimension.null is not None:
        value = _shown(found.dimension.null, say)
        lines.append(say[f"dimension.control.{null}"].format(value=value))
    lines += ["", wrapped(_said(found.why, say), width)]
    lines += [wrapped(_said(c, say), width, "! ") for c in found.caveats if c != found.why]
    lines += ["", _estimators(found, say), *_plot(found.curve, say, width)]
    if classes:
        lines += ["", *_classes(classes, say, width)]
    return lines


def _estimators(found: IntrinsicDimension, say: Mapping[str, str]) -> str:
    from immersion.cli.terminal import table

    titles = ["estimator", "dimension", "sees"]
    rows = [
        [say[f"dimension.{name}"], _shown(one, say), say[f"dimension.{name}.sees"]]
        for name, one in found.estimates.items()
    ]
    nulls = [one.null for one in found.estimates.values()]
    if any(nulls):
        titles.append("control")
        for row, control in zip(rows, nulls, strict=True):
            row.append(_shown(control, say) if control else "")
    return table([say[f"dimension.column.{title}"] for title in titles], rows, right={1, 3})


def _classes(
    classes: Mapping[str, IntrinsicDimension | Measurement], say: Mapping[str, str], width: int
) -> list[str]:
    """The table by class, and what its asterisks and dashes mean."""
    from immersion.cli.terminal import printable, table, wrapped
    from immersion.core.measurement import Measurement

    rows: list[list[str]] = []
    remarks: list[str] = []
    for name, one in classes.items():
        measured = one if isinstance(one, Measurement) else one.dimension
        shown = [printable(name), f"{measured.n:,}"]
        if isinstance(one, Measurement) or not measured.decidable:
            rows.append([*shown, "–", say["dimension.undecided"], ""])
            remarks.append(
                wrapped(_said(measured.caveats[0], say), width, f"– {printable(name)}: ")
            )
        else:
            method = say[f"dimension.method.{one.method}"] + (" *" if not one.resolved else "")
            value, interval = _numbers(one, say)
            rows.append([*shown, value, interval, method])
    if any(row[-1].endswith("*") for row in rows):
        remarks.append(wrapped(say["dimension.not_resolved"], width, "* "))
    titles = ("class", "points", "dimension", "interval", "reason")
    return [table([say[f"dimension.column.{t}"] for t in titles], rows, right={1, 2}), *remarks]


def _plot(curve: ScaleCurve, say: Mapping[str, str], width: int) -> list[str]:
    """One line a scale: the dimension as a point on a common axis, its 95% interval as a bar."""
    from immersion.cli.terminal import cells

    known = [
        (scale, radius, one, *one.interval())
        for scale, radius, one in zip(curve.scales, curve.radii, curve.estimates, strict=True)
        if one.decidable
    ]
    if not known:
        return []
    low, high = min(row[3] for row in known), max(row[4] for row in known)
    span = high - low or 1.0
    titles = [say["dimension.plot.neighbours"], say["dimension.plot.distance"]]
    sizes = [max(cells(title), 8) for title in titles]
    shown = [_shown(row[2], say) for row in known]
    room = width - sum(sizes) - 7 - max(map(cells, shown))
    places = max(12, min(_PLOT, room))

    def column(value: float) -> int:
        return round((value - low) / span * (places - 1))

    padded = [" " * (s - cells(title)) + title for title, s in zip(titles, sizes, strict=True)]
    lines = ["", "  ".join([*padded, say["dimension.plot.title"]])]
    for (scale, radius, one, begin, end), value in zip(known, shown, strict=True):
        bar = [" "] * places
        for place in range(column(begin), column(end) + 1):
            bar[place] = "─"
        bar[column(one.value)] = "●"
        left = f"{scale:>{sizes[0]}}  {radius:>{sizes[1]}.3g}"
        lines.append(f"{left}  │{''.join(bar)}│ {value}")
    first, last = f"{low:.3g}", f"{high:.3g}"
    lines.append(" " * (sum(sizes) + 5) + first + last.rjust(places - len(first)))
    return lines


def _said(sentence: str, say: Mapping[str, str]) -> str:
    """A caveat or reason in the catalogue's language."""
    from immersion.core.reason import Reason

    if not isinstance(sentence, Reason):
        return sentence
    return say[f"dimension.{sentence.id}"].format(**sentence.params)


def _numbers(one: IntrinsicDimension, say: Mapping[str, str]) -> tuple[str, str]:
    """The value and its interval with as many decimals."""
    low, high = one.interval
    places = 2 if high < 10 else 1 if high < 100 else 0
    value, low, high = (f"{number:.{places}f}" for number in (one.value, low, high))
    return value, say["dimension.range"].format(low=low, high=high)


def _shown(one: Measurement, say: Mapping[str, str]) -> str:
    from immersion.core.measurement import with_error

    return with_error(one.value, one.stderr) if one.decidable else say["dimension.undecided"]
