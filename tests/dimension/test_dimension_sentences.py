"""Every reason and caveat of a dimension exists in both languages, and says the same."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from string import Formatter

import numpy as np
import pytest

import immersion.cli.dimension
import immersion.measure.dimension
from immersion.core.reason import Reason
from immersion.measure.dimension import gride, intrinsic_dimension, two_nn
from immersion.measure.dimension.uncertainty import Sentence
from immersion.report.catalog import catalog

SOURCES = [
    *Path(immersion.measure.dimension.__file__).parent.glob("*.py"),
    Path(immersion.cli.dimension.__file__),
]
WRITTEN = {
    found[1]: "".join(re.findall(r'"([^"]*)"', found[2]))
    for source in SOURCES
    for found in re.finditer(
        r'\b(?:Sentence|Reason)\(\s*"(\w+)",((?:\s*"[^"]*")+)', source.read_text()
    )
    if "coincide" not in found[1] or "left out" in found[2]
}
TITLES = re.compile(
    r"dimension\.(?:loading|stage|data|drawn|result|none|range|control|undecided|column|method|"
    r"not_resolved|plot|(?:two_nn|mle|local_pca|angles|correlation)(?:\.sees)?$)"
)


def test_the_catalogue_has_the_sentences_that_are_written_and_no_others() -> None:
    assert len(WRITTEN) == 18
    known = {key for key in catalog("en") if key.startswith("dimension.")}
    sentences = {key for key in known if not TITLES.match(key)}
    assert sentences == {f"dimension.{name}" for name in WRITTEN}


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_sentence_is_the_same_in_english_and_as_full_in_chinese(name: str) -> None:
    english, chinese = (catalog(lang)[f"dimension.{name}"] for lang in ("en", "zh"))
    assert english == WRITTEN[name]
    fields = [
        sorted((field, form) for _, field, form, _ in Formatter().parse(text) if field)
        for text in (english, chinese)
    ]
    assert fields[0] == fields[1]
    assert re.search(r"[\u4e00-\u9fff]", chinese)


def test_measurements_with_sentences_can_be_copied_and_pickled() -> None:
    x = np.random.default_rng(0).normal(size=(300, 20))
    for found in (two_nn(x), gride(x), intrinsic_dimension(x)):
        for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
            assert again == found
    caveat = pickle.loads(pickle.dumps(two_nn(x).caveats[0]))
    assert isinstance(caveat, Reason)
    assert caveat.id == "lower_bound" and caveat.params["n"] == 300


def test_braces_of_a_parameter_survive() -> None:
    odd = Sentence("odd", "{what} and {{}}", what="{0}")
    again = pickle.loads(pickle.dumps(odd))
    assert again == odd == "{0} and {}"
    assert again.params == {"what": "{0}"}
