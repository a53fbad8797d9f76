"""Texts: pieces, their number, and texts that no one has seen."""

import pandas as pd
import pytest
import torch

from aet.errors import ConfigError
from aet.inputs.text import PAD, START, UNKNOWN, TextInput
from aet.schema import InputSpec

CELLS = ["the red dog runs", "the blue cat sleeps", "a red cat runs", "the dog sleeps"] * 5


def part(cells=CELLS, **settings):
    made = TextInput([InputSpec("x", "text", ("x",))], 4)
    made.fit(pd.DataFrame({"x": pd.Series(cells, dtype=object)}), settings)
    made.build()
    return made


def encode(made, *cells):
    return made.encode(pd.DataFrame({"x": pd.Series(cells, dtype=object)}))


def test_every_text_starts_with_the_mark_so_that_no_row_is_blind():
    made = part()
    values = encode(made, "the dog", None, "")
    assert (values[:, 0] == START).all()
    assert (values[1:, 1:] == PAD).all()
    _, mask = made(values)
    assert mask.sum(1).tolist()[1:] == [1, 1]


def test_capitals_and_wide_letters_are_the_same_word():
    made = part()
    assert torch.equal(encode(made, "the red dog"), encode(made, "THE RED ｄｏｇ"))


def test_long_texts_are_cut_at_the_learned_length():
    made = part(max_pieces=5)
    assert made.length == 5
    assert encode(made, "the red dog runs " * 50).shape == (1, 5)
    assert made.token_names() == [f"x[{i}]" for i in range(5)]


def test_the_length_is_that_of_nearly_all_training_texts():
    made = part([*["red dog"] * 99, "red " * 90])
    assert made.length == 3


def test_symbols_never_seen_are_the_unknown_piece():
    made = part()
    assert UNKNOWN in encode(made, "☃").flatten().tolist()


def test_a_column_without_texts_still_answers():
    made = part([None, "", None])
    tokens, mask = made(encode(made, "hello", None))
    assert torch.isfinite(tokens).all()
    assert mask.any(1).all()


def test_drift_hides_pieces_but_never_the_mark_or_the_padding():
    made = part()
    values = encode(made, *CELLS)
    moved = made.augment(values, 1.0, torch.Generator().manual_seed(1))
    changed = moved != values
    assert changed.any()
    assert (moved[changed] == UNKNOWN).all()
    assert (values[changed] > START).all()


@pytest.mark.parametrize("setting", [{"vocabulary": 0}, {"max_pieces": "many"}, {"vocabulary": 1.5}])
def test_settings_out_of_range_are_errors(setting):
    with pytest.raises(ConfigError, match=rf"inputs.text.{next(iter(setting))}="):
        part(**setting)
