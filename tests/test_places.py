"""The words' places among the tokens, beside other inputs and without what no row fills."""

import torch

import aet
from aet.cells.words import MOST
from aet.places import WordPlaces, spread, used
from aet.trunk import Trunk
from tests.made import quick


def words_and_mask(rows=4, most=7):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(rows, MOST + 5, 8, generator=generator)
    place = torch.arange(MOST + 5)
    lengths = torch.randint(1, most, (rows, 1), generator=generator)
    return tokens, (place < lengths) | ((place >= MOST) & (place < MOST + 2)), lengths.flatten()


def test_words_are_those_behind_the_last_norm_with_their_marks():
    torch.manual_seed(0)
    trunk = Trunk(8, 2, 2).eval()
    trunk.pool = WordPlaces(8)
    tokens, mask, lengths = words_and_mask()
    taps = []
    with torch.no_grad():
        trunk.pool.before.weight.normal_()
    whole = trunk(tokens, mask, taps)
    assert whole.shape == (4, MOST, 9)
    assert whole[..., -1].sum(1).tolist() == lengths.tolist()
    last = trunk.norm(taps[-2], mask)
    torch.testing.assert_close(whole[0, : lengths[0], :-1], last[0, : lengths[0]])
    torch.testing.assert_close(taps[-1][0, 0], last[0, : lengths[0]].mean(0))
    assert whole[0, lengths[0] :].abs().max() == 0


def test_words_hear_their_neighbours_and_nothing_else_does():
    places = WordPlaces(8, first=2, count=4)
    tokens = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True, True, True, True, False, True, True]])
    assert torch.equal(places.around(tokens, mask), tokens)  # at the start
    with torch.no_grad():
        places.before.weight.copy_(torch.eye(8))
        places.after.weight.copy_(-torch.eye(8))
    heard = (places.around(tokens, mask) - tokens)[0]
    torch.testing.assert_close(heard[2], -tokens[0, 3])
    torch.testing.assert_close(heard[3], tokens[0, 2] - tokens[0, 4])
    torch.testing.assert_close(heard[4], tokens[0, 3])
    assert heard[[0, 1, 6, 7]].abs().max() == 0


def test_places_that_no_row_fills_change_nothing():
    torch.manual_seed(0)
    trunk = Trunk(8, 2, 2).eval()
    trunk.pool = WordPlaces(8)
    tokens, mask, _ = words_and_mask()
    assert int(used(mask).sum()) < 12
    torch.testing.assert_close(trunk(tokens, mask), trunk(tokens, mask, []))
    loud = torch.where(mask[..., None], tokens, 9.0)
    torch.testing.assert_close(trunk(loud, mask), trunk(tokens, mask))


def test_focus_tells_what_the_words_answers_come_from():
    trunk = Trunk(8, 2, 2).eval()
    trunk.pool = WordPlaces(8)
    tokens, mask, _ = words_and_mask()
    focus = trunk.focus(tokens, mask)
    torch.testing.assert_close(focus.sum(1), torch.ones(4))
    assert focus[~mask].abs().max() < 1e-6


def test_used_and_spread_are_each_others_way_back():
    mask = torch.tensor([[True, False, False, True], [True, False, False, False]])
    tokens = torch.arange(8.0).view(2, 4, 1)
    some = used(mask)
    assert some.tolist() == [True, False, False, True]
    assert spread(tokens[:, some], some).flatten(1).tolist() == [[0, 0, 0, 3], [4, 0, 0, 7]]
    assert used(mask[:, :1]) is None
    assert used(None) is None


def test_words_are_found_behind_other_inputs():
    rows = [
        {"n": float(i % 3), "words": ["Ann", "ran"][: 1 + i % 2], "tags": ["B-PER", "O"][: 1 + i % 2]}
        for i in range(24)
    ]
    model = aet.train(rows, target="tags", config=quick(epochs=1))
    names = model.token_names()
    assert names[0] == "n"
    assert model.trunk.pool.span.start == 1
    answers = model.predict(rows)
    assert answers["prediction"].map(len).tolist() == [1, 2] * 12
