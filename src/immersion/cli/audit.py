"""`immersion audit`: a model and data in, a report out."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from immersion.cli import GATE_FAILED, OK

if TYPE_CHECKING:
    from torch import nn

    from immersion.auditing.gates import Gate
    from immersion.auditing.result import Audit
    from immersion.datasets import Samples


_MOST_PRINTED = 7
"""Findings in words on the terminal; the report has them all."""


def audit(
    *,
    model: str | None = None,
    weights: Path | None = None,
    data: Path | None = None,
    layers: Annotated[list[str] | None, Parameter(negative="")] = None,
    out: Path = Path("immersion-report"),
    samples: int = 10_000,
    neighbors: int = 15,
    seed: int = 0,
    device: str | None = None,
    memory: str = "1GB",
    lang: Literal["auto", "en", "zh"] = "auto",
    images: bool = True,
    json: Annotated[bool, Parameter(negative="")] = False,
    fail_if: Annotated[list[str] | None, Parameter(negative="")] = None,
    model_kwargs: str | None = None,
    unsafe_pickle: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(negative="")] = False,
    debug: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Audit a model on data and write a report (report.html, report.json).

    Without --model and --data, the bundled network is audited on the bundled digits.

    Args:
        model: package.module:name of a module, a class or a function that builds one. The current
            folder is on the path. This runs the code it names.
        weights: .safetensors file of the model's weights, or a .pt file of plain tensors.
        data: .npz, .npy, .parquet or .safetensors file, or a folder of images by class.
        layers: names or patterns of layers ('conv*'), repeatable; all layers by default.
        out: folder of the report.
        samples: most samples audited; larger data are drawn down in proportion to the classes.
        neighbors: neighbours a point in the graphs.
        seed: of every random choice.
        device: where the model runs, such as cuda; where it lies by default.
        memory: activations held in memory, such as 800MB; the rest goes to temporary files.
        lang: language of the report and of what is printed; auto is the reader's own.
        images: whether the report holds pictures of the samples.
        json: print report.json to standard output, and nothing else.
        fail_if: exit with 1 where this holds, such as 'accuracy<0.98' or 'findings.high>0',
            repeatable.
        model_kwargs: JSON object of arguments for the class or function that --model names.
        unsafe_pickle: load .pt weights that hold more than tensors. This runs code of the file.
        quiet: no progress.
        debug: show tracebacks.
    """
    from immersion.auditing.gates import Gate
    from immersion.cli.targets import require_pair
    from immersion.cli.terminal import spoken

    require_pair(model, data, weights, model_kwargs)
    gates = [Gate.parse(condition) for condition in fail_if or ()]
    language = spoken(lang)
    # The quick checks are done; torch takes seconds to load.
    if not quiet:
        print("immersion: loading the model and the data", file=sys.stderr, flush=True)

    from dataclasses import replace

    from immersion.auditing.files import require_writable
    from immersion.auditing.run import audit as run_audit
    from immersion.core.chunking import parse_bytes
    from immersion.core.progress import progress_for

    require_writable(out)
    network, inputs = _load(model, weights, data, model_kwargs, unsafe_pickle=unsafe_pickle)
    if not quiet:
        print(f"immersion: {_describe(inputs)}", file=sys.stderr, flush=True)
    result = run_audit(
        network,
        inputs,
        layers=layers or None,
        samples=samples,
        neighbors=neighbors,
        seed=seed,
        device=device,
        memory=parse_bytes(memory),
        gates=gates,
        progress=progress_for("silent" if quiet else "auto"),
    )
    command = shlex.join(["immersion", *sys.argv[1:]])
    result = replace(result, provenance={"command": command, **result.provenance})
    page = result.save(out, lang=lang, images=images)
    _print(result, page, language, as_json=json)
    return _judge(result, gates, language)


def _load(
    model: str | None,
    weights: Path | None,
    data: Path | None,
    model_kwargs: str | None,
    *,
    unsafe_pickle: bool,
) -> tuple[nn.Module, Samples]:
    """The model and the data, the bundled ones when neither is named."""
    from immersion.cli.targets import build_model, load_weights
    from immersion.datasets import digits, read
    from immersion.models import digits_convnet

    if model is None or data is None:
        return digits_convnet(), digits()
    # Reading comes first: it is quick to fail, while building a model may take long.
    samples = read(data)
    network = build_model(model, model_kwargs)
    if weights is not None:
        load_weights(network, weights, unsafe_pickle=unsafe_pickle)
    return network, samples


def _describe(data: Samples) -> str:
    """Shape, type, range and classes as they were detected."""
    classes = f", {len(data.classes)} classes" if data.classes else ", no labels"
    return (
        f"{data.source}: {data.n:,} samples of shape {'x'.join(map(str, data.shape))}, "
        f"{data.x.dtype}, from {data.x.min():g} to {data.x.max():g}{classes}"
    )


def _print(result: Audit, page: Path, language: Literal["en", "zh"], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(result.json())
        return
    from immersion.report.catalog import catalog

    say = catalog(language)
    if not result.findings:
        print(say["cli.no_findings"])
    for number, finding in enumerate(result.findings[:_MOST_PRINTED], 1):
        title, action = (getattr(t, language) for t in (finding.title, finding.action))
        print(f"{number}. [{say[f'page.severity.{finding.severity}']}] {title}")
        print(f"   {say['cli.do']}: {action}")
    if (more := len(result.findings) - _MOST_PRINTED) > 0:
        print(say["cli.more"].format(count=more))
    print(f"{say['cli.report']}: {page}")


def _judge(result: Audit, gates: list[Gate], language: Literal["en", "zh"]) -> int:
    from immersion.report.catalog import text

    failed = [gate for gate in gates if gate.fails(result.metrics)]
    for gate in failed:
        value = result.metrics.get(gate.metric, math.nan)
        said = text("cli.gate_failed", gate=str(gate), value=f"{value:g}")
        print(f"immersion: {getattr(said, language)}", file=sys.stderr)
    return GATE_FAILED if failed else OK
