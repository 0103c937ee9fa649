"""WordNet's taxonomies of nouns: the bundled mammals and a reader of WordNet's own files."""

from __future__ import annotations

from immersion.datasets.wordnet.mammals import wordnet_mammals
from immersion.datasets.wordnet.reader import read_wordnet
from immersion.datasets.wordnet.taxonomy import Taxonomy

__all__ = ["Taxonomy", "read_wordnet", "wordnet_mammals"]
