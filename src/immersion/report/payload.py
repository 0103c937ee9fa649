"""A `ReportView` as the page carries it: one JSON object, and packed arrays beside it.

Arrays travel as little-endian numbers, gzipped (with no time stamp, so that equal reports are
equal files) and base64-encoded; the browser unpacks them with `DecompressionStream`.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from immersion.report.view import (
    CheckView,
    CurveView,
    Fact,
    FindingView,
    ReportView,
    Suspect,
    Text,
)

NO_CLASS = 65535
"""The packed label of a sample whose class is unknown (a negative label in the view)."""


@dataclass(frozen=True)
class Payload:
    """`json`: the view as JSON text, safe inside a script element. `blocks`: text by block name."""

    json: str
    blocks: dict[str, str]


@dataclass
class _Packer:
    """Collects the arrays of one page, each under a name of its own."""

    blocks: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, name: str, array: NDArray[np.generic]) -> dict[str, str]:
        """Pack `array` as block `name`; the return value is what the JSON says about it."""
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        squeezed = gzip.compress(little.tobytes(), compresslevel=9, mtime=0)
        self.blocks[name] = base64.b64encode(squeezed).decode("ascii")
        return {"block": name, "dtype": array.dtype.name}


def payload(view: ReportView) -> Payload:
    """Everything the page needs from `view`.

    Raises `ValueError`, naming the field, where the parts of the view do not fit together.
    """
    check(view)
    packer = _Packer()
    data: dict[str, Any] = {
        "title": view.title,
        "n": view.n,
        "headline": [_fact(fact) for fact in view.headline],
        "notes": [_pair(note) for note in view.notes],
        "findings": [_finding(finding) for finding in view.findings],
        "checks": [_checked(outcome) for outcome in view.checks],
        "layers": view.layers,
        "curves": [_curve(curve) for curve in view.curves],
        "maps": [
            {
                "layer": picture.layer,
                "caption": _pair(picture.caption),
                "xy": packer.add(f"map-{index}", picture.xy),
            }
            for index, picture in enumerate(view.maps)
        ],
        "classes": view.classes,
        "labels": _classes_of(packer, "labels", view.labels),
        "predictions": _classes_of(packer, "predictions", view.predictions),
        "ids": packer.add("ids", _smallest(view.sample_ids)),
        "thumbnails": None,
        "suspects": [_suspect(suspect) for suspect in view.suspects],
        "provenance": [_fact(fact) for fact in view.provenance],
    }
    pictures = view.thumbnails
    if pictures is not None and pictures.sprite:
        packer.blocks["sprite"] = pictures.sprite
        data["thumbnails"] = {
            "width": pictures.width,
            "height": pictures.height,
            "columns": pictures.columns,
            "tileOf": packer.add("tiles", pictures.tile_of.astype(np.int32)),
        }
    return Payload(json=script_json(data), blocks=packer.blocks)


def script_json(data: object) -> str:
    """`data` as JSON that no HTML parser can leave: `<`, `>`, `&`, U+2028 and U+2029 escaped."""
    plain = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    return plain


def check(view: ReportView) -> None:
    """Raise `ValueError`, naming the field, where the parts of `view` do not fit together."""
    n = view.n
    for name, values in (("labels", view.labels), ("predictions", view.predictions)):
        if values is not None and values.shape != (n,):
            raise ValueError(f"{name} has shape {values.shape}, expected ({n},)")
    for picture in view.maps:
        if picture.xy.shape != (n, 2) or picture.xy.dtype != np.uint16:
            raise ValueError(
                f"the map of layer {picture.layer!r} is {picture.xy.dtype} {picture.xy.shape}, "
                f"expected uint16 ({n}, 2)"
            )
    for curve in view.curves:
        for series in curve.series:
            if not len(series.values) == len(series.stderr) == len(view.layers):
                raise ValueError(
                    f"series {series.label.en!r} of curve {curve.id!r} has {len(series.values)} "
                    f"values and {len(series.stderr)} standard errors for {len(view.layers)} layers"
                )
            if series.colour is not None and series.colour < 0:
                raise ValueError(
                    f"series {series.label.en!r} of curve {curve.id!r} has the colour of class "
                    f"{series.colour}, which is none"
                )
    for finding in view.findings:
        if finding.samples and not 0 <= min(finding.samples) <= max(finding.samples) < n:
            raise ValueError(f"finding {finding.id!r} names samples outside 0..{n - 1}")
    for suspect in view.suspects:
        if not 0 <= suspect.sample < n:
            raise ValueError(f"suspect {suspect.sample} is outside 0..{n - 1}")
    if view.thumbnails is not None and view.thumbnails.tile_of.shape != (n,):
        raise ValueError(f"tile_of has shape {view.thumbnails.tile_of.shape}, expected ({n},)")


def _pair(text: Text) -> tuple[str, str]:
    return (text.en, text.zh)


def _fact(fact: Fact) -> dict[str, Any]:
    return {
        "label": _pair(fact.label),
        "value": _pair(fact.value),
        "null": None if fact.null is None else _pair(fact.null),
    }


def _finding(finding: FindingView) -> dict[str, Any]:
    return {
        "id": finding.id,
        "severity": finding.severity,
        "title": _pair(finding.title),
        "body": _pair(finding.body),
        "action": _pair(finding.action),
        "evidence": [_fact(fact) for fact in finding.evidence],
        "layer": finding.layer,
        "samples": [int(sample) for sample in finding.samples],
    }


def _checked(outcome: CheckView) -> dict[str, Any]:
    return {
        "verdict": outcome.verdict,
        "name": _pair(outcome.name),
        "says": _pair(outcome.says),
    }


def _curve(curve: CurveView) -> dict[str, Any]:
    return {
        "id": curve.id,
        "title": _pair(curve.title),
        "help": _pair(curve.help),
        "unit": _pair(curve.unit),
        "scale": curve.scale,
        "series": [
            {
                "label": _pair(series.label),
                "kind": series.kind,
                "colour": series.colour,
                "values": [_finite(value) for value in series.values],
                "stderr": [_finite(error) for error in series.stderr],
            }
            for series in curve.series
        ],
    }


def _suspect(suspect: Suspect) -> dict[str, Any]:
    return {
        "sample": int(suspect.sample),
        "label": int(suspect.label),
        "suggested": int(suspect.suggested),
        "score": _finite(suspect.score),
        "why": _pair(suspect.why),
    }


def _finite(value: float | None) -> float | None:
    """JSON has no NaN: an undefined number travels as null, which the page shows as a gap."""
    return None if value is None or not math.isfinite(value) else float(value)


def _classes_of(
    packer: _Packer, name: str, values: NDArray[np.int32] | None
) -> dict[str, str] | None:
    if values is None:
        return None
    known = (values >= 0) & (values < NO_CLASS)
    return packer.add(name, np.where(known, values, NO_CLASS).astype(np.uint16))


def _smallest(ids: NDArray[np.int64]) -> NDArray[np.generic]:
    """Sample ids in 32 bits where they fit; 64-bit ids reach the browser as exact integers too."""
    fits = len(ids) == 0 or (int(ids.min()) >= 0 and int(ids.max()) < 2**32)
    return ids.astype(np.uint32 if fits else np.int64)
