"""What may be fixed of factors: all that is drawn, and nothing that makes no picture."""

from dataclasses import asdict

import pytest

from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import sample_factors
from auxhand.synth.factors import Factors
from auxhand.synth.limits import LIMITS, check_fixed, check_number


def named(values, prefix=""):
    """Paths of all entries."""
    for name, value in values.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from named(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            yield from named(value[0], f"{prefix}{name}.")


@pytest.mark.parametrize("index", range(8))
def test_what_is_drawn_can_be_fixed(index):
    drawn = sample_factors(FactorConfig(), 5, index)
    assert isinstance(drawn, Factors)
    check_fixed(asdict(drawn))


def test_limits_are_of_factors_that_exist():
    drawn = (asdict(sample_factors(FactorConfig(), 5, index)) for index in range(64))
    assert LIMITS.keys() <= {name for values in drawn for name in named(values)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"skin": {"tone": 1.01}}, r"a fixed skin\.tone must be in 0 to 1, got 1\.01"),
        ({"skin": {"pattern": 0.5}}, r"skin\.pattern must be a whole number, got 0\.5"),
        ({"skin": {"tone": True}}, r"skin\.tone must be a number, got True"),
        ({"camera": {"distance": float("inf")}}, r"camera\.distance must be a number, got inf"),
        ({"background": -1}, "a fixed background must be 0 or more, got -1"),
        ({"side": "both"}, "a fixed side must be "),
        ({"pose": {"angles": [0.0] * 44}}, r"pose\.angles must be 45 numbers, got 44"),
        ({"skin": {"colour": 1}}, "a fixed skin takes some of .*tone.*; got colour"),
        ({"skin": 3}, "a fixed skin takes some of .*; got 3"),
        ({"sleeve": {"start": 0.1}}, "a fixed sleeve takes all of "),
        ({"nose": {}}, "no factor 'nose' to fix"),
        (
            {"light": {"directions": [[0, 0, -2]], "colours": [[1, 1, 1]], "shadows": [True]}},
            r"light\.directions must be of length 1",
        ),
        ({"light": {"directions": [[0, 0, -1]]}}, "as many directions, colours, shadows, or none"),
    ],
)
def test_what_makes_no_picture_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        check_fixed(values)


def test_numbers_at_their_limits_are_taken():
    for value in (0.0, 1.0, 0):
        check_number("a share", value, (0.0, 1.0))
    for value, words in ((-1e-9, "in 0 to 1"), ("1", "a number"), (float("nan"), "a number")):
        with pytest.raises(ValueError, match=f"a share must be {words}"):
            check_number("a share", value, (0.0, 1.0))
