"""Data: the bundled digits and mammals, and readers of users' files."""

from __future__ import annotations

from immersion.datasets.digits import digits, digits_index
from immersion.datasets.readers import read
from immersion.datasets.samples import Samples, as_samples, first_nonfinite, require_finite
from immersion.datasets.wordnet import Taxonomy, read_wordnet, wordnet_mammals

__all__ = [
    "Samples",
    "Taxonomy",
    "as_samples",
    "digits",
    "digits_index",
    "first_nonfinite",
    "read",
    "read_wordnet",
    "require_finite",
    "wordnet_mammals",
]
