"""Make the bundled mammals out of WordNet's files, the same bytes every time.

python tools/bundle_wordnet.py --wordnet FOLDER

FOLDER holds data.noun and index.noun of WordNet 3.0 (Debian's package `wordnet-base`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from immersion.datasets.wordnet import Taxonomy, read_wordnet

ROOT = Path(__file__).resolve().parents[1]
#: Nickel and Kiela (2017) leave out these two nouns, which have nothing below them.
LEFT_OUT = ("tusker.n.01", "female_mammal.n.01")
HEADER = (
    "# WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved. See LICENSE.md\n"
    "# noun, then its direct hypernyms\n"
)


def as_text(taxonomy: Taxonomy) -> str:
    """One line a noun: its name and its parents, with tabs between them."""
    rows = [[name] for name in taxonomy.names]
    for child, parent in taxonomy.parents.tolist():
        rows[child].append(taxonomy.names[parent])
    return HEADER + "".join("\t".join(row) + "\n" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordnet", type=Path, required=True, help="data.noun and index.noun")
    target = ROOT / "src/immersion/datasets/wordnet/mammals.tsv"
    parser.add_argument("--out", type=Path, default=target)
    options = parser.parse_args()
    mammals = read_wordnet(options.wordnet, "mammal.n.01", leave_out=LEFT_OUT)
    options.out.write_text(as_text(mammals), encoding="utf-8", newline="\n")
    print(f"{len(mammals)} nouns, {len(mammals.parents)} edges, {len(mammals.closure)} in closure")


if __name__ == "__main__":
    main()
