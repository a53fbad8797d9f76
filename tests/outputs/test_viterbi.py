"""The best allowed sequence, held equal to trying all of them and to the loop over one row."""

from itertools import product

import pytest
import torch

from aet.outputs.viterbi import bio_moves, viterbi

TAGS = ["O", "B-X", "I-X", "B-Y", "I-Y"]
START, MOVES = bio_moves(TAGS)


def allowed(path):
    before = "O"
    for tag in (TAGS[code] for code in path):
        if tag[0] == "I" and (before == "O" or before[2:] != tag[2:]):
            return False
        before = tag
    return True


def worth(path, scores):
    return sum(float(scores[word, code]) for word, code in enumerate(path))


def best_of_all(scores):
    """Every allowed sequence, one by one."""
    paths = [path for path in product(range(len(TAGS)), repeat=len(scores)) if allowed(path)]
    return max(paths, key=lambda path: worth(path, scores))


def best_by_loops(scores, start, moves):
    """The recursion written out for one row."""
    best = [(float(start[c] + scores[0, c]), [c]) for c in range(len(start))]
    for word in range(1, len(scores)):
        best = [
            max((value + float(moves[path[-1], c] + scores[word, c]), [*path, c]) for value, path in best)
            for c in range(len(start))
        ]
    return max(best)[1]


def test_moves_are_those_of_bio():
    assert [[bool(MOVES[i, j] == 0) for j in range(5)] for i in range(5)] == [
        [True, True, False, True, False],
        [True, True, True, True, False],
        [True, True, True, True, False],
        [True, True, False, True, True],
        [True, True, False, True, True],
    ]
    assert (START == 0).tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_it_finds_the_best_of_all_allowed_sequences(length):
    scores = torch.randn(40, length, len(TAGS), generator=torch.Generator().manual_seed(length), dtype=torch.float64)
    paths = viterbi(scores, START, MOVES).tolist()
    for row, path in enumerate(paths):
        assert allowed(path)
        assert tuple(path) == best_of_all(scores[row])
        assert path == best_by_loops(scores[row], START, MOVES)


def test_any_moves_and_long_rows_as_by_loops():
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(6, 60, 4, generator=generator, dtype=torch.float64)
    start, moves = torch.randn(4, generator=generator).double(), torch.randn(4, 4, generator=generator).double()
    expected = [best_by_loops(row, start, moves) for row in scores]
    assert viterbi(scores, start, moves).tolist() == expected


def test_without_rows_or_words_there_is_no_sequence():
    assert viterbi(torch.zeros(0, 3, 5), START, MOVES).shape == (0, 3)
    assert viterbi(torch.zeros(2, 0, 5), START, MOVES).shape == (2, 0)


def test_numbers_that_are_none_do_not_stop_it():
    assert viterbi(torch.full((2, 3, 5), torch.nan), START, MOVES).shape == (2, 3)
