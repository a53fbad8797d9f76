"""The table of tags agrees with scikit-learn's report."""

import numpy as np
import pytest
from sklearn.metrics import classification_report

from aet.outputs.token_report import token_report

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
NAMES = {"precision": "precision", "recall": "recall", "f1": "f1-score", "support": "support"}


def drawn(words=400, seed=0, known=5):
    rng = np.random.default_rng(seed)
    truth = rng.choice(known, words, p=np.array([6, 2, 1, 2, 1])[:known] / sum([6, 2, 1, 2, 1][:known]))
    return truth, np.where(rng.random(words) < 0.7, truth, rng.integers(0, known, words))


@pytest.mark.parametrize("known", [5, 3])
def test_it_is_the_report_of_scikit_learn(known):
    truth, guess = drawn(known=known)
    table = token_report(truth, guess, TAGS)
    report = classification_report(truth, guess, target_names=TAGS[:known], output_dict=True, zero_division=0)
    for tag in TAGS[:known]:
        assert [table.loc[tag, ours] for ours in NAMES] == pytest.approx([report[tag][n] for n in NAMES.values()])
    for average in ("macro", "weighted"):
        expected = [report[f"{average} avg"][name] for name in NAMES.values()]
        assert [table.loc[average, ours] for ours in NAMES] == pytest.approx(expected)
    assert table.loc["micro", "f1"] == pytest.approx(report["accuracy"])


def test_the_micro_average_without_o_is_that_over_the_other_tags():
    truth, guess = drawn(seed=1)
    report = classification_report(truth, guess, labels=[1, 2, 3, 4], output_dict=True, zero_division=0)["micro avg"]
    table = token_report(truth, guess, TAGS)
    assert [table.loc["micro_without_O", ours] for ours in NAMES] == pytest.approx([report[n] for n in NAMES.values()])


def test_a_tag_that_does_not_occur_has_zeros_and_no_part_in_the_averages():
    table = token_report([0, 0, 1], [0, 0, 1], TAGS)
    assert table.loc["I-PER"].tolist() == [0, 0, 0, 0]
    assert table.loc["macro", "f1"] == 1.0


def test_no_words_give_zeros():
    assert np.isfinite(token_report([], [], TAGS).to_numpy()).all()
