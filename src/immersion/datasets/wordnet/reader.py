"""Taxonomies of nouns out of WordNet's database files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from immersion.core.errors import InputError, ReadError
from immersion.datasets.wordnet.taxonomy import Taxonomy, reached

#: wndb(5WN)'s pointers from a noun to its hypernym, and from an individual to its kind.
_KIND, _INSTANCE = "@", "@i"


@dataclass(frozen=True)
class _Synset:
    """One line of data.noun: the first of its words, and where its hypernyms start."""

    word: str
    hypernyms: tuple[str, ...]


def read_wordnet(
    folder: str | Path,
    root: str = "mammal.n.01",
    *,
    instances: bool = True,
    leave_out: Sequence[str] = (),
) -> Taxonomy:
    """The nouns below `root` in a local copy of WordNet, with their is-a edges.

    Reads `data.noun` and `index.noun` in the format of wndb(5WN), which WordNet 1.6 to 3.1 share.
    Debian's package `wordnet-base` carries them, and so does WordNet's own `dict` folder. Names are
    NLTK's: first word in lower case, ".n.", and the number of the sense in two digits or more.
    The whole of WordNet 3.0 takes about two seconds: 82,115 nouns whose closure has 743,241 edges,
    as Nickel and Kiela (2017) count them.

    Args:
        folder: where `data.noun` and `index.noun` are.
        root: the name to start from; "entity.n.01" is above every noun.
        instances: also follow the pointers of individuals ("Secretariat" is a racehorse).
        leave_out: names to drop, with all their edges; what lies below them stays where another
            way leads up.

    Raises:
        ReadError: a file is missing or not in that format; names the file and the line.
        InputError: no such name as `root` or in `leave_out`; names the nearest ones.

    Example:
        >>> from immersion.datasets.wordnet import read_wordnet
        >>> read_wordnet("nowhere")
        Traceback (most recent call last):
        immersion.core.errors.ReadError: nowhere/data.noun cannot be read: no such file or directory
    """
    here = Path(folder)
    version, synsets = _read_data(here / "data.noun", instances=instances)
    senses = _read_index(here / "index.noun")
    places = {name: offset for offset, name in _names(synsets, senses, here / "index.noun")}
    _require_known(root, places)
    for name in leave_out:
        _require_known(name, places)
    names = sorted(places)
    number = {places[name]: position for position, name in enumerate(names)}
    above = [
        [number[offset] for offset in synsets[places[name]].hypernyms if offset in number]
        for name in names
    ]
    dropped = {number[places[name]] for name in leave_out}
    below: list[list[int]] = [[] for _ in names]
    for child, parents in enumerate(above):
        for parent in parents:
            if not {child, parent} & dropped:
                below[parent].append(child)
    start = number[places[root]]
    kept = sorted((reached(below, start) | {start}) - dropped)
    position = {node: place for place, node in enumerate(kept)}
    edges = sorted(
        (position[child], position[parent])
        for child in kept
        for parent in set(above[child])
        if parent in position
    )
    return Taxonomy(
        names=tuple(names[node] for node in kept),
        parents=np.array(edges, dtype=np.int64).reshape(-1, 2),
        source=f"{version}, {root} and all below it",
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a database file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ReadError(f"{path.as_posix()} cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise ReadError(f"{path.as_posix()} is not a file of WordNet: no UTF-8 text") from error
    yield from enumerate(text.splitlines(), 1)


def _read_data(path: Path, *, instances: bool) -> tuple[str, dict[str, _Synset]]:
    """The version, and the synsets by their offset.

    A line is: offset, file number, type, number of words (hexadecimal), pairs of word and lexical
    id, number of pointers, four fields a pointer (symbol, offset, part of speech, words), a bar.
    """
    followed = {_KIND, _INSTANCE} if instances else {_KIND}
    synsets: dict[str, _Synset] = {}
    version = "WordNet"
    for number, line in _lines(path):
        if line.startswith("  "):
            stated = re.search(r"WordNet \d+(\.\d+)*", line)
            version = stated.group() if stated else version
            continue
        try:
            fields = line.partition(" | ")[0].split(" ")
            offset, after = fields[0], 4 + 2 * int(fields[3], 16)
            pointers = fields[after + 1 : after + 1 + 4 * int(fields[after])]
            hypernyms = [
                target
                for symbol, target, part in zip(
                    pointers[::4], pointers[1::4], pointers[2::4], strict=True
                )
                if symbol in followed and part == "n"
            ]
            if fields[2] != "n" or len(pointers) != 4 * int(fields[after]):
                raise ValueError
        except (IndexError, ValueError) as error:
            raise ReadError(
                f"{path.as_posix()}, line {number} is not a noun of WordNet: {line[:60]!r}"
            ) from error
        synsets[offset] = _Synset(fields[4].lower(), tuple(hypernyms))
    return version, synsets


def _read_index(path: Path) -> dict[str, list[str]]:
    """The offsets of each word's synsets, first sense first.

    A line is: word, part of speech, number of synsets, number of kinds of pointer, these kinds,
    number of senses, number of tagged senses, offsets.
    """
    senses: dict[str, list[str]] = {}
    for number, line in _lines(path):
        if line.startswith("  "):
            continue
        fields = line.split()
        try:
            offsets = fields[4 + int(fields[3]) + 2 :]
            if len(offsets) != int(fields[2]):
                raise ValueError
        except (IndexError, ValueError) as error:
            raise ReadError(
                f"{path.as_posix()}, line {number} is not in WordNet's index: {line[:60]!r}"
            ) from error
        senses[fields[0]] = offsets
    return senses


def _names(
    synsets: dict[str, _Synset], senses: dict[str, list[str]], index: Path
) -> Iterator[tuple[str, str]]:
    """Offset and name of each synset."""
    for offset, synset in synsets.items():
        offsets = senses.get(synset.word, [])
        if offset not in offsets:
            raise ReadError(
                f"{index.as_posix()} has no sense of {synset.word!r} at {offset}; "
                "take both files from one version of WordNet"
            )
        yield offset, f"{synset.word}.n.{offsets.index(offset) + 1:02d}"


def _require_known(name: str, places: dict[str, str]) -> None:
    if name not in places:
        word = name.strip().lower().replace(" ", "_")
        senses = [known for known in places if known.startswith(f"{word}.n.")]
        near = sorted(senses) or get_close_matches(word, places, 3)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise InputError(f"WordNet has no noun {name!r}; names look like 'dog.n.01'{hint}")
