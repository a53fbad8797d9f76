"""The search against every text written out."""

from itertools import product

import pytest
import torch

from aet.decoding.beam import beam_search, greedy, length_norm

V, MOST, START, END = 4, 4, 0, 3


class Table:
    """log p of a piece, by row and by the pieces before it; every row's table is drawn from its seed."""

    def __init__(self, rows, beam=1):
        self.before = [(row, ()) for row in range(rows) for _ in range(beam)]

    @staticmethod
    def logs(row, before):
        generator = torch.Generator().manual_seed(1000 * row + sum(5**i * (p + 1) for i, p in enumerate(before)))
        return (2 * torch.randn(V, generator=generator)).log_softmax(-1)

    def __call__(self, pieces):
        self.before = [(r, (*b, int(p))) for (r, b), p in zip(self.before, pieces, strict=True)]
        return torch.stack([self.logs(r, b) for r, b in self.before]) if self.before else torch.empty(0, V)

    def pick(self, index):
        self.before = [self.before[i] for i in index.tolist()]


def written_out(row, penalty):
    """The best of all texts that end, or are cut at MOST."""
    best = (-torch.inf, ())
    for text in product(range(V), repeat=MOST):
        text = text[: text.index(END) + 1] if END in text else text
        logs = [float(Table.logs(row, (START, *text[:i]))[p]) for i, p in enumerate(text)]
        best = max(best, (sum(logs) / length_norm(len(text), penalty), text))
    return best


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_a_wide_beam_finds_the_best_text(penalty):
    pieces, logs = beam_search(Table(8, V**MOST), 8, V**MOST, MOST, START, END, penalty)
    for row in range(8):
        worth, text = written_out(row, penalty)
        assert tuple(pieces[row, : len(text)].tolist()) == text
        assert not pieces[row, len(text) :].any()
        assert float(logs[row].sum()) / length_norm(len(text), penalty) == pytest.approx(worth, abs=1e-5)


def test_a_narrow_beam_is_at_least_as_good_as_greedy_on_average():
    found, best = greedy(Table(40), 40, MOST, START, END)[1], beam_search(Table(40, 3), 40, 3, MOST, START, END, 0.0)[1]
    assert best.sum() > found.sum()


def test_greedy_takes_the_best_piece_each_time():
    pieces, logs = greedy(Table(8), 8, MOST, START, END)
    for row in range(8):
        text = []
        while len(text) < MOST and END not in text:
            text.append(int(Table.logs(row, (START, *text)).argmax()))
        assert pieces[row, : len(text)].tolist() == text
        expected = [float(Table.logs(row, (START, *text[:i]))[p]) for i, p in enumerate(text)]
        assert logs[row, : len(text)].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("search", [lambda: greedy(Table(0), 0, 3, START, END)])
def test_no_rows_are_no_texts(search):
    pieces, logs = search()
    assert pieces.shape[0] == logs.shape[0] == 0
    assert beam_search(Table(0, 2), 0, 2, 3, START, END, 0.6)[0].shape == (0, 3)
