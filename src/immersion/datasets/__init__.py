"""Data to audit: the bundled digits and readers of users' files."""

from __future__ import annotations

from immersion.datasets.digits import digits, digits_index
from immersion.datasets.readers import read
from immersion.datasets.samples import Samples, as_samples, first_nonfinite, require_finite

__all__ = [
    "Samples",
    "as_samples",
    "digits",
    "digits_index",
    "first_nonfinite",
    "read",
    "require_finite",
]
