"""One class a row: classes of every type, balance, calibration, figures by hand."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from aet.errors import ConfigError, FeedbackError
from aet.outputs.label import LabelOutput, plain


def part(values, **settings):
    torch.manual_seed(0)
    made = LabelOutput(("y",), 4)
    made.fit(pd.DataFrame({"y": values}), settings)
    made.build()
    return made


def encode(made, *values):
    return made.encode(pd.DataFrame({"y": pd.Series(values, dtype=object)})).tolist()


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([3, 1, 2], [1, 2, 3]),
        ([3.0, 1.0, 1.0], [1, 3]),
        ([0.5, 1.0], [0.5, 1]),
        ([True, False], [False, True]),
        (np.array([2, 1], dtype=np.int8), [1, 2]),
        (pd.Series(["x", "y", "x"], dtype="category"), ["x", "y"]),
        (pd.to_datetime(["2024-01-02", "2023-01-02"]), ["2023-01-02 00:00:00", "2024-01-02 00:00:00"]),
    ],
)
def test_classes_are_sorted_and_survive_json(values, classes):
    made = part(values)
    assert made.classes == classes
    assert json.loads(json.dumps(made.settings()))["classes"] == classes
    assert sorted(set(encode(made, *values))) == list(range(len(classes)))


def test_categories_that_no_row_has_are_no_classes():
    made = part(pd.Series(["a", "b"], dtype=pd.CategoricalDtype(["a", "b", "gone"])), class_weight="balanced")
    assert made.classes == ["a", "b"]
    assert torch.isfinite(made.class_weight).all()


def test_labels_come_back_as_people_write_them():
    assert encode(part([1, 2]), 1, 2.0, "2", np.int64(1)) == [0, 1, 1, 0]
    assert encode(part(["1", "2"]), 1, 2.0, "2") == [0, 1, 1]
    assert encode(part([True, False]), "True", 0, True) == [1, 0, 1]


def test_a_number_and_its_text_are_two_classes_if_both_are_known():
    made = part(pd.Series([1, "1", 1], dtype=object))
    assert encode(made, 1, "1") == [made.classes.index(1), made.classes.index("1")]


def test_an_unknown_class_names_the_nearest():
    with pytest.raises(FeedbackError, match=r"'dgo' is no class .* 'y'. Did you mean 'dog'\? .*new training"):
        encode(part(["cat", "dog"]), "dgo")


def test_whole_floats_and_scalars_become_plain():
    assert [type(plain(v)) for v in (np.float64(2), np.bool_(True), np.str_("a"), 0.5)] == [int, bool, str, float]


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    values = ["a"] * 6 + ["b"] * 3 + ["c"]
    made = part(values, class_weight="balanced")
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=values)
    np.testing.assert_allclose(made.class_weight.numpy(), expected, rtol=1e-6)
    logits, target = torch.randn(10, 3), made.encode(pd.DataFrame({"y": values}))
    plain_losses = F.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(made.losses(logits, target), plain_losses * made.class_weight[target])


def test_another_class_weight_is_an_error():
    with pytest.raises(ConfigError, match=r"output.class_weight='balance' is not valid"):
        part(["a", "b"], class_weight="balance")


@pytest.mark.parametrize("sharpness", [0.2, 1.0, 8.0])
def test_calibration_lowers_the_log_loss_and_finds_the_temperature(sharpness):
    generator = torch.Generator().manual_seed(0)
    made = part(["a", "b", "c"])
    honest = 1.5 * torch.randn(4000, 3, generator=generator)
    target = torch.multinomial(F.softmax(honest, -1), 1, generator=generator).squeeze(1)
    logits = sharpness * honest
    before = made.metrics(logits, target)
    made.calibrate(logits, target)
    after = made.metrics(logits, target)
    assert after["log_loss"] <= before["log_loss"] + 1e-7
    assert float(made.temperature) == pytest.approx(sharpness, rel=0.1)
    assert after["ece"] < 0.03
    assert after["accuracy"] == before["accuracy"]


def test_figures_by_hand():
    made = part(["a", "b"])
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    target = torch.tensor([0, 0, 1, 1])
    metrics = made.metrics(logits, target)
    assert metrics["accuracy"] == 0.75
    assert metrics["balanced_accuracy"] == 0.75
    assert metrics["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    p = float(torch.sigmoid(torch.tensor(2.0)))
    assert metrics["log_loss"] == pytest.approx(-(3 * np.log(p) + np.log(1 - p)) / 4)
    assert metrics["ece"] == pytest.approx(abs(0.75 - p), abs=1e-5)
    assert made.uncertainty(torch.zeros(1, 2)).item() == pytest.approx(1.0)


def test_belief_is_the_probability_of_the_class():
    made = part(["a", "b"])
    made.temperature.fill_(2.0)
    belief = made.belief(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))
    p = float(torch.sigmoid(torch.tensor(1.0)))
    torch.testing.assert_close(belief, torch.tensor([p, 1 - p]))


def test_probabilities_stand_by_class_and_sum_to_one():
    made = part([7, 8, 9])
    answers = made.answers(torch.randn(5, 3), proba=True)
    assert list(answers.columns) == ["prediction", "confidence", "p_7", "p_8", "p_9"]
    p = answers[["p_7", "p_8", "p_9"]].to_numpy()
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert answers["prediction"].tolist() == [[7, 8, 9][i] for i in p.argmax(1)]
    np.testing.assert_allclose(answers["confidence"], p.max(1))
