"""Errors: what they say, and what they are to people who catch Python's own."""

import pytest

from aet import errors
from aet.errors import AetError, ConfigError, FeedbackError, ForgottenRow, nearest
from aet.registry import Registry

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AetError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_speaks_its_sentence(kind):
    assert str(kind("What was wrong.")) == "What was wrong."
    assert str(kind()) == ""


def test_errors_are_pythons_own_too():
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ForgottenRow, KeyError)
    assert issubclass(ForgottenRow, FeedbackError)
    # A KeyError would show its message in quotation marks.
    assert str(ForgottenRow("Row 7 is gone.")) == "Row 7 is gone."


def test_nearest_suggests_only_what_is_close():
    assert nearest("colour", ["color", "size"]).startswith("Did you mean 'color'? ")
    assert nearest("zzz", ["color", "size"]) == "Known: 'color', 'size'."
    assert nearest("x", iter([])) == "Known: ."


def test_a_name_is_registered_once():
    things = Registry("thing")
    things.register("a")(int)
    with pytest.raises(ConfigError, match="The thing 'a' is registered twice"):
        things.register("a")(float)
    assert things["a"] is int
    assert "b" not in things
    assert len(things) == 1


def test_nothing_is_near_to_what_is_no_text():
    assert nearest(None, ["accuracy", "loss"]) == "Known: 'accuracy', 'loss'."
