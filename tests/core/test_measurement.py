"""Numbers with errors: what is printed never says more or less than what is known."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement, proportion, with_error

NAN = math.nan


def test_interval() -> None:
    d = Measurement("two_nn", 10.0, 2.0, 100)
    assert d.interval() == pytest.approx((10 - 2 * 1.959963985, 10 + 2 * 1.959963985))
    assert d.interval(0.6826894921) == pytest.approx((8, 12))
    for level in (0, 1, -1, 95):
        with pytest.raises(InputError, match="between 0 and 1"):
            d.interval(level)


@pytest.mark.parametrize(
    ("stderr", "null", "z"),
    [
        (3.0, Measurement("d", 4.0, 4.0, 9), 1.2),
        (3.0, None, NAN),
        (0.0, Measurement("d", 4.0, 0.0, 9), NAN),
        (NAN, Measurement("d", 4.0, 4.0, 9), NAN),
    ],
)
def test_z_from_null(stderr: float, null: Measurement | None, z: float) -> None:
    found = Measurement("d", 10.0, stderr, 9, null=null).z_from_null
    assert found == pytest.approx(z, nan_ok=True)


def test_dictionary_is_json() -> None:
    null = Measurement("d", math.inf, 1.0, 3)
    whole = Measurement("d", 2.5, NAN, 4, {"k": 5, "scale": NAN, "how": None}, null, ("few",))
    text = json.dumps(whole.to_dict(), allow_nan=False)
    assert json.loads(text) == {
        "name": "d", "value": 2.5, "stderr": None, "n": 4,
        "settings": {"k": 5, "scale": None, "how": None}, "caveats": ["few"],
        "null": {"name": "d", "value": None, "stderr": 1.0, "n": 3, "settings": {}, "null": None,
                 "caveats": []},
    }  # fmt: skip


def test_words() -> None:
    assert str(Measurement("d", 13.0412, 0.183, 50)) == "13.0 ± 0.2 (n = 50)"
    assert str(Measurement("d", NAN, 0.183, 50)) == "not decidable (n = 50)"
    assert not Measurement("d", math.inf, 1.0, 50).decidable


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (13.0412, 0.183, "13.0 ± 0.2"),
        (0.01234, 0.00104, "0.0123 ± 0.0010"),
        (1234.5, 57.2, "1234 ± 57"),
        (0.3, 0.0996, "0.30 ± 0.10"),
        (0.3, 0.96, "0.3 ± 1.0"),
        (-0.001, 0.2, "0.0 ± 0.2"),
        (5.6789e-12, 4e-14, "(5.68 ± 0.04)e-12"),
        (6.02e23, 2e20, "(6.020 ± 0.002)e+23"),
        (0.0, 5e-324, "(0 ± 5)e-324"),
        (2.0, 0.0, "2"),
        (2.0, NAN, "2"),
        (19.739208802178, 3.2e-17, "19.74"),
        (2.0, math.inf, "2"),
        (NAN, 1.0, "–"),
    ],
)
def test_with_error(value: float, stderr: float, text: str) -> None:
    assert with_error(value, stderr) == text


def test_a_proportion_has_an_error_at_its_ends() -> None:
    for count in (0, 40):
        measured = proportion("share", count, 40)
        assert measured.value == count / 40
        assert measured.stderr == pytest.approx(math.sqrt(2 / 44 * 42 / 44 / 44))
    rng = np.random.default_rng(0)
    drawn = rng.binomial(50, 0.03, 4000)
    held = [
        abs((m := proportion("share", int(c), 50)).value - 0.03) < 1.96 * m.stderr for c in drawn
    ]
    # The textbook error would hold 0.03 in 78% of such samples only.
    assert np.mean(held) > 0.93


@given(
    st.floats(-1e12, 1e12) | st.floats(allow_nan=False, allow_infinity=False),
    st.floats(1e-12, 1e12) | st.floats(5e-324, allow_nan=False, allow_infinity=False),
)
def test_printed_value_is_within_the_rounding_of_its_error(value: float, stderr: float) -> None:
    text = with_error(value, stderr)
    if stderr <= abs(value) * 2**-52:
        assert text == f"{value:.4g}"
        return
    match = re.fullmatch(r"\(?(-?[\d.]+) ± ([\d.]+)\)?(?:e([+-]\d+))?", text)
    assert match, text
    shown, error = (Decimal(match[i]).scaleb(int(match[3] or 0)) for i in (1, 2))
    assert error > 0
    # An error keeps 4/5 of itself at the least: 1.75 may be printed as 2.
    assert abs(error - Decimal(stderr)) <= Decimal(stderr) / 5
    assert abs(shown - Decimal(value)) <= error / 2 + abs(Decimal(value)) * Decimal("1e-27")
    assert not match[1].startswith("-0") or float(match[1]) != 0
