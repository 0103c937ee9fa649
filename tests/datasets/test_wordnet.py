from __future__ import annotations

import hashlib
import importlib.util
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from immersion.core.errors import InputError, ReadError
from immersion.datasets.wordnet import Taxonomy, read_wordnet, wordnet_mammals

ROOT = Path(__file__).resolve().parents[2]
HASH = "d437be9dc88a624438ab648f1b37cd61f899f2d00ef6cb56b80bde0b6404d33e"
NOTICE = "  1 WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved.  \n"
#: A little WordNet: "Rex" is an individual, "lap dog" a second way up, "bank" has a pointer that is
#: no hypernym, "dog" is also a second sense of a word of another synset.
DATA = (
    NOTICE
    + """\
00000100 03 n 01 entity 0 001 ~ 00000200 n 0000 | all
00000200 03 n 02 dog 0 domestic_dog 0 002 @ 00000100 n 0000 ~ 00000300 n 0000 | barks | loudly
00000300 03 n 01 Poodle 0 002 @ 00000200 n 0000 @ 00000500 n 0000 | curly
00000400 03 n 01 Rex 0 001 @i 00000300 n 0000 | a good one
00000500 03 n 01 lap_dog 0 002 @ 00000200 n 0000 + 00000900 v 0101 | small
00000600 03 n 0a frump 0 dog 1 a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 001 @ 00000100 n 0000 | ten words
"""
)
INDEX = (
    NOTICE
    + """\
dog n 2 2 @ ~ 2 1 00000200 00000600
entity n 1 1 ~ 1 0 00000100
frump n 1 1 @ 1 0 00000600
lap_dog n 1 2 @ + 1 0 00000500
poodle n 1 1 @ 1 0 00000300
rex n 2 1 @i 2 0 00000999 00000400
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data.noun").write_text(DATA, encoding="utf-8")
    (tmp_path / "index.noun").write_text(INDEX, encoding="utf-8")
    return tmp_path


def edges(taxonomy: Taxonomy) -> set[tuple[str, str]]:
    return {(taxonomy.names[a], taxonomy.names[b]) for a, b in taxonomy.parents.tolist()}


def bundler():
    spec = importlib.util.spec_from_file_location(
        "bundle_wordnet", ROOT / "tools/bundle_wordnet.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_mammals_are_those_of_nickel_and_kiela() -> None:
    mammals = wordnet_mammals()
    assert len(mammals) == 1180
    assert mammals.closure.shape == (6540, 2)
    assert mammals.closure.dtype == np.int64
    assert {"tusker.n.01", "female_mammal.n.01"}.isdisjoint(mammals.names)
    assert mammals.source == "WordNet 3.0, mammal.n.01 and all below it"


def test_the_mammals_are_a_tree_but_for_the_elephant() -> None:
    mammals = wordnet_mammals()
    above = Counter(mammals.parents[:, 0].tolist())
    assert [mammals.names[i] for i in range(1180) if not above[i]] == ["mammal.n.01"]
    assert [mammals.names[i] for i, count in above.items() if count > 1] == ["elephant.n.01"]
    root = mammals.names.index("mammal.n.01")
    assert (mammals.closure[:, 1] == root).sum() == 1179


def test_the_closure_is_the_squared_closure() -> None:
    mammals = wordnet_mammals()
    one = np.zeros((1180, 1180), dtype=np.float32)
    one[tuple(mammals.parents.T)] = 1
    total, power = one.copy(), one
    while power.any():
        power = power @ one
        total += power
    closure = np.argwhere(total)
    np.testing.assert_array_equal(closure, mammals.closure)


def test_the_data_are_the_ones_that_were_released() -> None:
    stored = (files("immersion.datasets.wordnet") / "mammals.tsv").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == HASH
    assert len(stored) < 40_000


def test_the_licence_comes_with_the_data() -> None:
    folder = files("immersion.datasets.wordnet")
    licence = " ".join((folder / "LICENSE.md").read_text(encoding="utf-8").split())
    for words in (
        "Permission to use, copy, modify and distribute this software and database",
        "WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.",
        'PROVIDED "AS IS"',
    ):
        assert words in licence
    first = (folder / "mammals.tsv").read_text(encoding="utf-8").splitlines()[0]
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in first


def test_two_calls_share_nothing() -> None:
    first = wordnet_mammals()
    first.parents[:] = 0
    assert wordnet_mammals().parents.max() > 0


def test_reads_kinds_and_individuals(folder: Path) -> None:
    found = read_wordnet(folder, "dog.n.01")
    assert found.names == ("dog.n.01", "lap_dog.n.01", "poodle.n.01", "rex.n.02")
    assert edges(found) == {
        ("lap_dog.n.01", "dog.n.01"),
        ("poodle.n.01", "dog.n.01"),
        ("poodle.n.01", "lap_dog.n.01"),
        ("rex.n.02", "poodle.n.01"),
    }
    assert found.source == "WordNet 3.0, dog.n.01 and all below it"
    assert found.closure.tolist() == [[1, 0], [2, 0], [2, 1], [3, 0], [3, 1], [3, 2]]


def test_reads_kinds_alone(folder: Path) -> None:
    assert "rex.n.02" not in read_wordnet(folder, "dog.n.01", instances=False).names


def test_what_is_left_out_takes_its_edges_along(folder: Path) -> None:
    found = read_wordnet(folder, "entity.n.01", leave_out=("lap_dog.n.01",))
    assert edges(found) == {
        ("dog.n.01", "entity.n.01"),
        ("frump.n.01", "entity.n.01"),
        ("poodle.n.01", "dog.n.01"),
        ("rex.n.02", "poodle.n.01"),
    }
    cut = read_wordnet(folder, "entity.n.01", leave_out=("dog.n.01",))
    assert cut.names == ("entity.n.01", "frump.n.01")


def test_a_leaf_is_alone(folder: Path) -> None:
    found = read_wordnet(folder, "rex.n.02")
    assert found.names == ("rex.n.02",)
    assert found.closure.shape == (0, 2)


def test_an_unknown_name_is_told_with_near_ones(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no noun 'Dog'.*near it: dog\.n\.01"):
        read_wordnet(folder, "Dog")
    with pytest.raises(InputError, match=r"near it: lap_dog\.n\.01$"):
        read_wordnet(folder, "lap dog")
    with pytest.raises(InputError, match=r"near it: poodle\.n\.01"):
        read_wordnet(folder, "poodel.n.01")
    with pytest.raises(InputError, match=r"no noun 'xyz'; names look like 'dog\.n\.01'$"):
        read_wordnet(folder, "dog.n.01", leave_out=("xyz",))


def test_a_missing_file_is_told(folder: Path) -> None:
    (folder / "index.noun").unlink()
    with pytest.raises(ReadError, match=r"index\.noun cannot be read: no such file"):
        read_wordnet(folder)


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "00000700 03 v 01 run 0 000 | a verb",
        "00000700 03 n 02 dog 0 000 | too few words",
        "00000700 03 n 01 dog 0 002 @ 00000100 n 0000 | too few pointers",
        "",
    ],
)
def test_a_damaged_line_is_told(folder: Path, line: str) -> None:
    (folder / "data.noun").write_text(DATA + line + "\n", encoding="utf-8")
    with pytest.raises(ReadError, match=r"data\.noun, line 8 is not a noun of WordNet"):
        read_wordnet(folder, "dog.n.01")


@pytest.mark.parametrize("line", ["cat", "cat n 2 0 2 0 00000100", "cat n x 0 2 0", ""])
def test_a_damaged_index_is_told(folder: Path, line: str) -> None:
    (folder / "index.noun").write_text(INDEX + line + "\n", encoding="utf-8")
    with pytest.raises(ReadError, match=r"index\.noun, line 8 is not in WordNet's index"):
        read_wordnet(folder, "dog.n.01")


def test_files_of_two_versions_are_told(folder: Path) -> None:
    (folder / "index.noun").write_text(INDEX.replace("00000300", "00000301"), encoding="utf-8")
    with pytest.raises(ReadError, match=r"no sense of 'poodle' at 00000300; take both files"):
        read_wordnet(folder, "dog.n.01")


def test_binary_files_are_told(folder: Path) -> None:
    (folder / "data.noun").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReadError, match="no UTF-8 text"):
        read_wordnet(folder, "dog.n.01")


def test_cycles_end() -> None:
    ring = Taxonomy(("a", "b"), np.array([[0, 1], [1, 0]]), "ring")
    assert ring.closure.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("names", "parents", "message"),
    [
        (("a", "a"), [[0, 1]], "2 names, some of them twice"),
        (("a", "b"), [0, 1], "shape \\(2,\\)"),
        (("a", "b"), [[0.0, 1.0]], "dtype float64"),
        (("a", "b"), [[0, 2]], "0 to 2; positions in names are 0 to 1"),
        (("a", "b"), [[-1, 0]], "-1 to 0"),
    ],
)
def test_a_wrong_taxonomy_is_told(names: tuple[str, ...], parents: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Taxonomy(names, np.array(parents), "test")


def test_the_bundler_writes_what_the_package_reads(folder: Path) -> None:
    found = read_wordnet(folder, "dog.n.01")
    text = bundler().as_text(found)
    assert text.splitlines()[2:] == [
        "dog.n.01",
        "lap_dog.n.01\tdog.n.01",
        "poodle.n.01\tdog.n.01\tlap_dog.n.01",
        "rex.n.02\tpoodle.n.01",
    ]
    stored = files("immersion.datasets.wordnet") / "mammals.tsv"
    assert bundler().as_text(wordnet_mammals()).encode() == stored.read_bytes()
    assert re.fullmatch(r"(#.*\n){2}([^\s#]+(\t[^\s]+)*\n)+", stored.read_text(encoding="utf-8"))
