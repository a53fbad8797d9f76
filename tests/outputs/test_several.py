"""Several targets: the balance by hand, rows that lack an answer, and the whole way from a table to a stream."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.errors import ConfigError, DataError, FeedbackError, SchemaError
from aet.outputs import SeveralOutput
from aet.schema import Schema, infer

from ..made import quick


def readings(rows=240, seed=0):
    """Three numbers, a gas that the first decides, and its amount, which the second does; some of each are missing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    frame = pd.DataFrame(x, columns=list("abc"))
    frame["gas"] = np.where(x[:, 0] > 0, "no", "co").astype(object)
    frame["ppm"] = 10 * x[:, 1] + rng.normal(size=rows)
    frame.loc[: rows // 6, "gas"] = None
    frame.loc[rows // 6 + 1 : rows // 3, "ppm"] = np.nan
    return frame


def output(settings=None):
    torch.manual_seed(0)
    part = SeveralOutput(("gas", "ppm"), 4)
    part.fit(readings()[["gas", "ppm"]], settings or {})
    part.build()
    return part


def test_the_loss_by_hand():
    part = output()
    logits = torch.tensor([[0.0, 1.0, 0.5, -1.0, 1.0]])  # two classes; mean, lower, upper
    target = torch.tensor([[1.0, 0.5]])
    label = math.log(1 + math.exp(-1))
    number = 0 + 0.05 * 1.5 + 0.05 * 0.5
    part.log_variance.data = torch.tensor([0.3, -0.7])
    expected = math.exp(-0.3) * label + math.log(1 + math.exp(0.3))
    expected += math.exp(0.7) * number + math.log(1 + math.exp(-0.7))
    assert float(part.losses(logits, target).detach()[0]) == pytest.approx(expected, rel=1e-5)
    plain = output({"balance": "mean"})
    assert float(plain.losses(logits, target)[0]) == pytest.approx((label + number) / 2, rel=1e-5)
    assert not list(plain.parameters(recurse=False)), "nothing is learned about the balance"


def test_the_balance_settles_where_the_loss_is_least():
    """e^-s l + log(1 + e^s) is least where e^s(e^s) / (1 + e^s) = l, so a larger loss has a larger variance."""
    part = output()
    for loss, place in ((0.2, 0), (2.0, 1)):
        s = torch.linspace(-4, 4, 8001)
        best = s[((-s).exp() * loss + torch.nn.functional.softplus(s)).argmin()]
        assert float(best.exp() ** 2 / (1 + best.exp())) == pytest.approx(loss, rel=0.01)
        part.log_variance.data[place] = best
    assert part.shares()["gas"] > part.shares()["ppm"]


def test_a_missing_answer_adds_nothing():
    part = output()
    logits = torch.randn(1, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    both = torch.tensor([[1.0, 0.5]])
    for lacks, own in ((0, slice(0, 2)), (1, slice(2, 5))):
        target = both.clone()
        target[0, lacks] = torch.nan
        (slope,) = torch.autograd.grad(part.losses(logits, target).sum(), logits)
        assert slope[0, own].abs().max() == 0
        assert slope.abs().max() > 0
        assert slope.isfinite().all()
        one = part.scores(logits.detach(), target)
        other = torch.full_like(both, torch.nan)
        other[0, lacks] = both[0, lacks]
        assert float(part.scores(logits.detach(), both)) == pytest.approx(
            float(one + part.scores(logits.detach(), other)) / 2
        )


def test_kinds_are_inferred_or_said():
    frame = readings().assign(level=lambda f: f["ppm"].round())
    assert infer(frame, ["gas", "ppm"], output="several").target_kinds == ("label", "number")
    schema = infer(frame, ["gas", "level"], output={"level": "number"}, ignore="ppm")
    assert schema.target_kinds == ("label", "number")
    assert Schema.from_dict(schema.to_dict()) == schema
    with pytest.raises(SchemaError, match=r"'pmm' is no target\. Did you mean 'ppm'"):
        infer(frame, ["gas", "ppm"], output={"pmm": "number"})
    with pytest.raises(SchemaError, match=r"no kind 'numbers'\. Did you mean 'number'"):
        infer(frame, ["gas", "ppm"], output={"ppm": "numbers"})
    with pytest.raises(SchemaError, match="two or more for 'multilabel' and 'several'"):
        infer(frame, "gas", output="several")
    with pytest.raises(DataError, match="say output='several'"):
        infer(frame, ["gas", "ppm"])
    with pytest.raises(ConfigError, match=r"output\.targets\.gaz is of no target. Did you mean 'gas'"):
        output({"targets": {"gaz": {}}})


def test_a_class_weight_of_one_target():
    plain, weighted = output(), output({"targets": {"gas": {"class_weight": "balanced"}}})
    assert plain.parts[0].class_weight.tolist() == [1, 1]
    assert weighted.parts[0].class_weight.tolist() != [1, 1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    return aet.train(readings(), ["gas", "ppm"], output="several", config=quick(12, lr=0.01), out=folder), folder


def test_from_a_table_to_answers(model):
    made, folder = model
    fresh = readings(150, seed=1)
    figures = made.evaluate(fresh)
    assert figures["gas_accuracy"] > 0.85
    assert figures["ppm_r2"] > 0.6
    assert figures["rows"] == 150, "a row with one of two answers counts"
    answers = made.predict(fresh)
    assert {"prediction", "confidence", "gas", "gas_confidence", "ppm", "ppm_confidence", "ppm_lower"} < set(answers)
    assert answers["prediction"][0] == f"gas={answers['gas'][0]}|ppm={answers['ppm'][0]:.4g}"
    pd.testing.assert_frame_equal(aet.load(folder).predict(fresh), answers)
    assert set(made.output.shares()) == {"gas", "ppm"}
    assert any(abs(share - 1) > 0.01 for share in made.output.shares().values()), "the balance moves"


def test_an_ensemble_of_it():
    made = aet.train_ensemble(readings(), ["gas", "ppm"], members=2, output="several", config=quick(2))
    assert {"score", "gas_accuracy", "ppm_rmse"} < set(made.report["valid"])


def test_late_labels_and_the_report(model, tmp_path):
    made, _ = model
    stream, fresh = made.stream(), readings(60, seed=2)
    served = stream.predict(fresh.drop(columns=["gas", "ppm"]))
    truth = fresh[["gas", "ppm"]].to_numpy().tolist()
    stream.feedback(served["id"].tolist()[:20], truth[:20])
    assert stream.labels == 20
    with pytest.raises(FeedbackError, match="answer for one of gas, ppm"):
        stream.feedback([30], [[None, None]])
    assert stream.report(tmp_path / "stream.html").stat().st_size > 10_000


def test_wrong_answers_are_kept_aside_and_missing_ones_are_not():
    frame = readings().astype(object)
    frame.loc[200, "ppm"] = "dear"
    frame.loc[201, ["gas", "ppm"]] = None
    made = aet.train(frame, ["gas", "ppm"], output="several", config=quick(1))
    assert made.report["quarantined"] == 2
    assert abs(made.report["rows"] - 0.8 * 238) <= 2
