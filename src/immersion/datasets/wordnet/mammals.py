"""The bundled taxonomy: the mammals of WordNet 3.0."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from immersion.datasets.wordnet.taxonomy import Taxonomy


def wordnet_mammals() -> Taxonomy:
    """The mammals of WordNet 3.0: 1,180 nouns, 1,180 direct edges, 6,540 edges in the closure.

    These are the nouns and the closure that Nickel and Kiela (Poincaré Embeddings for Learning
    Hierarchical Representations, 2017) embed: mammal.n.01 and all below it, individuals included,
    but for two names without descendants that their filter drops, tusker.n.01 and
    female_mammal.n.01. `read_wordnet` finds 1,182 nouns and 6,542 edges with these two. Nearly a
    tree: all but the root have one parent, and elephant.n.01 has two.

    WordNet is by Princeton University (`LICENSE.md` beside the data).

    Example:
        >>> from immersion.datasets.wordnet import wordnet_mammals
        >>> mammals = wordnet_mammals()
        >>> len(mammals), mammals.closure.shape
        (1180, (6540, 2))
        >>> dog = mammals.names.index("dog.n.01")
        >>> [mammals.names[above] for node, above in mammals.closure.tolist() if node == dog]
        ['canine.n.02', 'carnivore.n.01', 'mammal.n.01', 'placental.n.01']
    """
    text = (files("immersion.datasets.wordnet") / "mammals.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    names = tuple(row[0] for row in rows)
    number = {name: position for position, name in enumerate(names)}
    edges = [(number[name], number[above]) for name, *parents in rows for above in parents]
    return Taxonomy(
        names=names,
        parents=np.array(edges, dtype=np.int64),
        source="WordNet 3.0, mammal.n.01 and all below it",
    )
