"""What a report shows, as plain data: the contract between the audit and the page.

The audit fills a `ReportView`; `immersion.report.page.render` turns it into one HTML file.
Nothing here computes or formats. Every string a person reads comes in English and Chinese
(`Text`), so that the page can switch language without a second computation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Severity = Literal["high", "medium", "info"]


@dataclass(frozen=True)
class Text:
    """One sentence or label in both languages of the report."""

    en: str
    zh: str


@dataclass(frozen=True)
class Fact:
    """One labelled value, already formatted (`"13.1 ± 0.2"`).

    `null` is what its control gives (the same quantity where there is nothing to find).
    """

    label: Text
    value: Text
    null: Text | None = None


@dataclass(frozen=True)
class FindingView:
    """One ranked finding in words.

    `samples` are rows of the report (0 <= row < `ReportView.n`) that the finding is about;
    the page lets the reader highlight them in every map.
    """

    id: str
    severity: Severity
    title: Text
    body: Text
    action: Text
    evidence: tuple[Fact, ...] = ()
    layer: str | None = None
    samples: tuple[int, ...] = ()


@dataclass(frozen=True)
class CheckView:
    """The verdict of one check: what was looked for and what came out, also where nothing was.

    `says` is one sentence that stands without the finding it may have led to.
    """

    verdict: Literal["found", "clear", "undecided", "inapplicable"]
    name: Text
    says: Text


@dataclass(frozen=True)
class Series:
    """One line of a chart: a value a layer (`None` where it was not decidable), its standard error.

    `kind` is "null" for a control (drawn dashed and grey), else "measured". `colour` is the class
    the line is about, for the colour that this class has in the maps; without it the page gives
    every line a colour of its own.
    """

    label: Text
    values: tuple[float | None, ...]
    stderr: tuple[float | None, ...]
    kind: Literal["measured", "null"] = "measured"
    colour: int | None = None


@dataclass(frozen=True)
class CurveView:
    """A chart over the layers; every series has one value for each of `ReportView.layers`.

    `scale` "log" draws values over a logarithmic axis: for quantities whose control is many
    times larger. What is not positive has no place there and is a gap.
    """

    id: str
    title: Text
    help: Text
    unit: Text
    series: tuple[Series, ...]
    scale: Literal["linear", "log"] = "linear"


@dataclass(frozen=True)
class LayerMap:
    """The 2-D picture of one layer.

    `xy` is (n, 2) uint16: both axes scaled into 0..65535 with one common factor, so that the
    aspect ratio is kept.
    """

    layer: str
    xy: NDArray[np.uint16]
    caption: Text


@dataclass(frozen=True)
class Suspect:
    """One row of the table of suspicious samples. `suggested` is the class its neighbours have."""

    sample: int
    label: int
    suggested: int
    score: float
    why: Text


@dataclass(frozen=True)
class Thumbnails:
    """Small pictures of the samples as one sprite.

    `sprite` is a data URI (WebP); tile `t` stands at column `t % columns`, row `t // columns`;
    each tile is `width` x `height` pixels. `tile_of[row]` is the tile of a row, or -1 where the
    row has none.
    """

    sprite: str
    width: int
    height: int
    columns: int
    tile_of: NDArray[np.int32]


@dataclass(frozen=True)
class ReportView:
    """Everything one page shows. `sample_ids[row]` is the row's index in the user's own data."""

    title: str
    headline: tuple[Fact, ...]
    notes: tuple[Text, ...]
    findings: tuple[FindingView, ...]
    checks: tuple[CheckView, ...]
    layers: tuple[str, ...]
    curves: tuple[CurveView, ...]
    maps: tuple[LayerMap, ...]
    labels: NDArray[np.int32] | None
    predictions: NDArray[np.int32] | None
    classes: tuple[str, ...]
    sample_ids: NDArray[np.int64]
    thumbnails: Thumbnails | None
    suspects: tuple[Suspect, ...]
    provenance: tuple[Fact, ...]

    @property
    def n(self) -> int:
        """How many samples the page shows."""
        return len(self.sample_ids)
