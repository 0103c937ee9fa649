"""The report: one HTML file that opens from disk, without a network, in English and Chinese.

`render` turns a `ReportView` (plain data, see `view`) into the page; `thumbnails` packs pictures
into one sprite; `text` reads a sentence in both languages from the message catalogues.
"""

from __future__ import annotations

from immersion.report.catalog import CatalogError, text
from immersion.report.page import render
from immersion.report.sprite import thumbnails
from immersion.report.view import (
    CheckView,
    CurveView,
    Fact,
    FindingView,
    LayerMap,
    ReportView,
    Series,
    Severity,
    Suspect,
    Text,
    Thumbnails,
)

__all__ = [
    "CatalogError",
    "CheckView",
    "CurveView",
    "Fact",
    "FindingView",
    "LayerMap",
    "ReportView",
    "Series",
    "Severity",
    "Suspect",
    "Text",
    "Thumbnails",
    "render",
    "text",
    "thumbnails",
]
