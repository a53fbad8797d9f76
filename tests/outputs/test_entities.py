"""Entities and their figures; the cases of seqeval's documentation (Nakayama 2018) with the numbers it prints."""

import numpy as np
import pytest

from aet.outputs.entities import begun, entity_figures, spans

TRUTH = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
GUESS = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]


def test_the_case_of_the_readme():
    assert entity_figures(TRUTH, GUESS) == {"precision": 0.5, "recall": 0.5, "f1": 0.5}


def test_the_types_of_the_readme_one_by_one():
    def only(rows, name):
        return [[tag if tag.endswith(name) else "O" for tag in tags] for tags in rows]

    assert entity_figures(only(TRUTH, "MISC"), only(GUESS, "MISC"))["f1"] == 0.0
    assert entity_figures(only(TRUTH, "PER"), only(GUESS, "PER"))["f1"] == 1.0


def test_default_and_strict_differ_where_an_entity_begins_inside():
    """Its strict example: 1.0 by default, 0.0 in mode "strict" with IOB2. Ours is the default."""
    truth, guess = [["B-NP", "I-NP", "O"]], [["I-NP", "I-NP", "O"]]
    assert entity_figures(truth, guess)["f1"] == 1.0
    assert entity_figures(truth, guess, strict=True) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_get_entities_of_its_docstring():
    found = spans(["B-PER", "I-PER", "O", "B-LOC"])
    assert [(name, start, end - 1) for name, start, end in found] == [("PER", 0, 1), ("LOC", 3, 3)]


@pytest.mark.parametrize(
    ("tags", "default", "strict"),
    [
        (["B-X", "B-X", "I-X"], [("X", 0, 1), ("X", 1, 3)], [("X", 0, 1), ("X", 1, 3)]),
        (["B-X", "I-Y", "I-Y"], [("X", 0, 1), ("Y", 1, 3)], [("X", 0, 1)]),
        (["O", "I-X", "O", "I-X"], [("X", 1, 2), ("X", 3, 4)], []),
        (["I-X", "B-X", "I-X"], [("X", 0, 1), ("X", 1, 3)], [("X", 1, 3)]),
        (["B-long-name", "I-long-name"], [("long-name", 0, 2)], [("long-name", 0, 2)]),
        (["B", "I", "O", "I"], [("", 0, 2), ("", 3, 4)], [("", 0, 2)]),
        (["O"], [], []),
        ([], [], []),
    ],
)
def test_spans_in_both_ways(tags, default, strict):
    assert spans(tags) == default
    assert spans(tags, strict=True) == strict


def test_mended_tags_hold_the_same_entities_and_are_strict():
    rng = np.random.default_rng(0)
    for _ in range(200):
        tags = rng.choice(["O", "B-X", "I-X", "B-Y", "I-Y"], rng.integers(0, 9)).tolist()
        assert spans(begun(tags)) == spans(tags) == spans(begun(tags), strict=True)
        assert begun(begun(tags)) == begun(tags)


def test_an_entity_of_another_type_counts_untyped_alone():
    truth, guess = [["B-PER", "O", "B-LOC"]], [["B-ORG", "O", "B-LOC"]]
    assert entity_figures(truth, guess)["f1"] == 0.5
    assert entity_figures(truth, guess, typed=False)["f1"] == 1.0
    assert entity_figures([["B-X", "B-X"]], [["B-X", "I-X"]], typed=False)["f1"] == 0.0


def test_nothing_to_find_and_nothing_found_is_zero_not_an_error():
    assert entity_figures([["O"]], [["O"]]) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert entity_figures([["B-X"]], [["O"]])["precision"] == 0.0
    assert entity_figures([["O"]], [["B-X"]])["recall"] == 0.0
