"""Pseudo-labels: which rows take which answer, what they add to the loss, when, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from aet.errors import ConfigError
from aet.training.loop import fit
from aet.training.switches.pseudo_labels import PseudoLabels, thresholds

from ...made import signs
from ..loops import prepared
from .steps import made, run_of, seen


@pytest.fixture
def file(tmp_path):
    signs(60, seed=4).drop(columns="y").to_csv(tmp_path / "rows.csv", index=False)
    return str(tmp_path / "rows.csv")


def begun(file, output="label", **settings):
    model, batch = made(output, drift=0.0)
    run = run_of(model, batch, {"pseudo_labels": {"file": file, "start": 0.0, **settings}})
    return run, run.switches[0], batch


def test_rows_above_the_threshold_take_the_models_answer(file):
    run, switch, _ = begun(file, threshold=0.6)
    run.model.output.head.weight.data *= 20
    switch.choose(run)
    logits = run.model.logits(switch.rows)
    p = (logits / switch.seen[0].float()).softmax(-1)
    assert switch.chosen.tolist() == (p.max(-1).values >= 0.6).nonzero()[:, 0].tolist()
    assert 0 < len(switch.chosen) < 60
    assert switch.labels.equal(logits.argmax(-1))
    assert float(switch.seen[1]) == pytest.approx(float(p.max(-1).values[switch.chosen].mean()), abs=1e-5)


def test_the_confidence_is_calibrated(file):
    """The mean confidence is the share of right validation rows; where all are right, no more than the model's own."""
    run, switch, batch = begun(file, threshold=0.0)
    said = 8.0 * F.one_hot(batch.target, 2)
    wrong = (torch.arange(16) % 4 == 0).long()
    for flipped, expected in ((wrong, 0.75), (torch.zeros_like(wrong), 1 / (1 + math.exp(-8)))):
        run.valid = replace(batch, target=batch.target ^ flipped)
        run.model.logits = lambda rows: said if rows is run.valid else torch.tensor([[8.0, 0.0]]).expand(60, 2)
        switch.choose(run)
        assert float(switch.seen[1]) == pytest.approx(expected, abs=0.005)


def test_the_term_by_hand(file):
    run, switch, batch = begun(file, threshold=0.5, weight=0.7)
    run.model.eval()
    switch.labels = torch.arange(60) % 2
    switch.chosen = torch.tensor([7])
    expected = F.cross_entropy(run.model.logits(switch.rows)[[7]], torch.tensor([1])) * 0.7 / 60
    torch.testing.assert_close(switch.term(run, seen(run, batch)), expected, rtol=1e-4, atol=1e-6)


def test_it_waits_for_its_start_and_for_labels(file):
    run, switch, batch = begun(file, threshold=0.5, start=0.5)
    passed = seen(run, batch)
    assert switch.term(run, passed) is None, "no label yet"
    switch.labels, switch.chosen = torch.zeros(60, dtype=torch.long), torch.arange(60)
    run.step = 4
    assert switch.term(run, passed) is None
    assert not switch.acted()
    run.step = 5
    assert switch.term(run, passed) > 0
    assert switch.calls == 1


def test_a_class_that_is_rarely_chosen_has_a_lower_threshold():
    """A class with 4 rows above 0.9, one with 1: β = 1 and ¼, thresholds τ and max(τ/7, ½)."""
    sure = torch.tensor([0.95, 0.95, 0.95, 0.95, 0.95, 0.6, 0.55])
    answer = torch.tensor([0, 0, 0, 0, 1, 1, 0])
    found = thresholds(sure, answer, 0.9, balanced=True)
    np.testing.assert_allclose(found, [0.9, 0.9, 0.9, 0.9, 0.5, 0.5, 0.9])
    assert thresholds(sure, answer, 0.9, balanced=False).tolist() == pytest.approx([0.9] * 7)


def test_several_labels_are_as_sure_as_the_least_sure(file):
    run, switch, _ = begun(file, output="multilabel", threshold=0.5)
    switch.choose(run)
    p = torch.sigmoid(run.model.logits(switch.rows) / switch.seen[0].float())
    assert switch.labels.equal((p > 0.5).float())
    assert switch.chosen.tolist() == (torch.maximum(p, 1 - p).amin(-1) >= 0.5).nonzero()[:, 0].tolist()


def test_it_says_what_it_did_and_nothing_sure_is_an_error(file):
    settings = {"file": file, "threshold": 0.5, "start": 0.0}
    model, *rows = prepared(signs(150), epochs=3, switches={"pseudo_labels": settings})
    acted = fit(model, *rows)[-1]["acted"]["pseudo_labels"]
    assert " of 60 rows labelled at a mean confidence of 0." in acted
    model, *rows = prepared(signs(150), epochs=2, switches={"pseudo_labels": {**settings, "threshold": 0.9999}})
    with pytest.raises(ConfigError, match="was on and did nothing"):
        fit(model, *rows)


def test_numbers_are_refused(file):
    frame = signs(150).assign(y=lambda f: f["a"] + f["b"])
    model, *rows = prepared(frame, switches={"pseudo_labels": {"file": file}})
    with pytest.raises(ConfigError, match=r"expected the output 'label' or 'multilabel', got 'number'.*pretrain"):
        fit(model, *rows)


def test_other_rows_in_the_file_are_not_gone_on_with(file):
    _, switch, _ = begun(file)
    kept = {**switch.memory()}
    signs(60, seed=9).drop(columns="y").to_csv(file, index=False)
    _, other, _ = begun(file)
    with pytest.raises(ConfigError, match="has changed since"):
        other.load_memory(kept)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"file": ""}, "needs the setting file"), ({"threshold": 1.0}, "threshold"), ({"weight": 0.0}, "weight")],
)
def test_wrong_settings(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        PseudoLabels(**{"file": "x.csv", **settings})


def test_a_file_without_the_columns(tmp_path):
    pd.DataFrame({"a": [1.0]}).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(ConfigError, match="Missing columns: 'b'"):
        begun(str(tmp_path / "rows.csv"))


def test_balanced_thresholds_stay_where_no_row_is_sure():
    sure, answer = torch.tensor([0.8, 0.7]), torch.tensor([0, 1])
    torch.testing.assert_close(thresholds(sure, answer, 0.99, True), torch.tensor([0.99, 0.99]))
