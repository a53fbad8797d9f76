"""Several yes-or-no answers: balance, calibration, figures by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from aet.errors import DataError
from aet.outputs.multilabel import MultilabelOutput


def part(frame, **settings):
    torch.manual_seed(0)
    made = MultilabelOutput(tuple(frame), 4)
    made.fit(frame, settings)
    made.build()
    return made


FRAME = pd.DataFrame({"a": [0, 1, 0, 0], "b": [1, 0, 1, 1]})


def test_targets_are_read_as_flags_numbers_and_texts():
    made = part(FRAME)
    for some in (FRAME, FRAME.astype(bool), FRAME.astype(str), FRAME.astype(object)):
        assert made.encode(some).tolist() == FRAME.to_numpy().tolist()


def test_balanced_labels_weigh_their_ones_by_zeros_over_ones():
    made = part(FRAME, class_weight="balanced")
    torch.testing.assert_close(made.positive_weight, torch.tensor([3.0, 1 / 3]))
    logits, target = torch.randn(4, 2), made.encode(FRAME)
    weight = torch.where(target > 0, made.positive_weight, 1.0)
    expected = (weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).mean(1)
    torch.testing.assert_close(made.losses(logits, target), expected)


def test_a_label_that_is_always_on_is_named():
    with pytest.raises(DataError, match="The label 'b' is always 1 in the training rows"):
        part(pd.DataFrame({"a": [0, 1], "b": [1, 1]}))


def test_calibration_lowers_the_log_loss():
    generator = torch.Generator().manual_seed(0)
    made = part(FRAME)
    honest = 1.5 * torch.randn(3000, 2, generator=generator)
    target = torch.bernoulli(torch.sigmoid(honest), generator=generator)
    before = made.metrics(4 * honest, target)["log_loss"]
    made.calibrate(4 * honest, target)
    assert made.metrics(4 * honest, target)["log_loss"] < before
    assert float(made.temperature) == pytest.approx(4, rel=0.1)


def test_answers_and_figures_by_hand():
    made = part(FRAME)
    logits = torch.tensor([[2.0, -1.0], [3.0, 1.0], [-1.0, -4.0]])
    answers = made.answers(logits, proba=True)
    assert answers["prediction"].tolist() == ["a", "a|b", ""]
    np.testing.assert_allclose(answers["confidence"], torch.sigmoid(torch.tensor([1.0, 1.0, 1.0])))
    assert list(answers.columns) == ["prediction", "confidence", "p_a", "p_b"]
    target = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    metrics = made.metrics(logits, target)
    assert metrics["accuracy"] == pytest.approx(5 / 6)
    assert metrics["exact_match"] == pytest.approx(2 / 3)
    assert metrics["macro_f1"] == pytest.approx(0.5)
