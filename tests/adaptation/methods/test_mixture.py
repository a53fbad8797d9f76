"""Moments under the stream's own mix: what a tilted or sorted stream moves, and what worn sensors do."""

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.adaptation import Mixture, Restandardise
from aet.adaptation.label_mix import label_mix
from aet.attention.state import applied
from aet.errors import ConfigError
from aet.levels import levels, matching, mixed_levels
from tests.adaptation.models import batch_of, three
from tests.made import quick


def accuracy(model, method, frame):
    batch = model.encode(frame, target=True)
    right = [method(batch[i]).argmax(-1) == batch.target[i] for i in torch.arange(len(batch)).split(64)]
    return float(torch.cat(right).float().mean())


def test_one_step_by_hand(model):
    method, batch = Mixture(model, share=0.5, prior=4.0, shrink=10.0, doubt=1.0), batch_of(model, 40)
    places = torch.linspace(0, 39, 20).round().long()
    p = model.output.probabilities(model.logits(batch[places]))
    mix = label_mix(p, model.statistics.label_mix, prior_rows=4.0)
    values = batch.values["number0"].flatten(1)
    wanted = mixed_levels(model.statistics.inputs["number0"], mix)
    scale, shift = matching(levels(values), wanted, 40, 1.0)
    state = method.propose(batch)
    trust = 40 / 50
    assert state["inputs.number0.scale"].flatten() == pytest.approx(trust * scale, abs=1e-5)
    assert state["inputs.number0.shift"].flatten() == pytest.approx(trust * shift, abs=1e-5)
    assert method.passes == 20
    assert state.select(lambda name: not name.startswith("inputs.")).size() == 0


def test_a_tilted_mix_is_not_taken_for_a_drift(model):
    """Where restandardising erases the difference between the classes, this hardly moves."""
    tilted = three(512, 3, mix=(8, 1, 1))
    source = float((model.logits(b := model.encode(tilted, target=True)).argmax(-1) == b.target).float().mean())
    ours, other = (accuracy(model, method(model), tilted) for method in (Mixture, Restandardise))
    assert ours > source - 0.02
    assert ours > other + 0.03


def test_worn_sensors_are_undone_under_a_tilted_mix(model):
    worn = three(768, 4, mix=(2, 1, 1), shift=1.5)
    source = float((model.logits(b := model.encode(worn, target=True)).argmax(-1) == b.target).float().mean())
    ours, other = (accuracy(model, method(model), worn) for method in (Mixture, Restandardise))
    assert ours > source + 0.03
    assert ours > other


def test_clean_rows_move_next_to_nothing(model):
    method = Mixture(model)
    for seed in range(4):
        method(model.encode(three(64, 10 + seed)))
    assert float(method.state["inputs.number0.shift"].abs().max()) < 0.2
    assert float(method.state["inputs.number0.scale"].abs().max()) < 0.2


def test_rows_wait_until_there_are_enough(model):
    method, batch = Mixture(model, every=16), batch_of(model, 40)
    for row in range(15):
        assert method.propose(batch[torch.tensor([row])]).size() == 0
    assert method.passes == 0
    assert method.propose(batch[torch.tensor([15])]).size() > 0
    whole = Mixture(model, every=16)
    assert whole.propose(batch[torch.arange(16)]).equal(method.state)


def test_a_window_is_all_it_keeps(model):
    method = Mixture(model, window=20, every=1)
    for seed in range(4):
        method(batch_of(model, 33, seed))
    window = method.recent["number0"]
    assert len(window) == 20
    assert window.untyped_storage().nbytes() == window.nbytes, "what fell out is freed"
    assert len(method.read) == 5


def test_numbers_as_answers_have_one_class(regression):
    method = Mixture(regression)
    method(batch_of(regression, 96))
    assert method.state.size() > 0
    assert method.passes == 0
    with applied(method.state):
        assert regression.logits(batch_of(regression, 8)).isfinite().all()


def test_models_without_levels_are_refused(model, monkeypatch):
    texts = aet.train(
        pd.DataFrame({"t": np.where(np.arange(60) % 2, "yes of course", "no never"), "y": np.arange(60) % 2}),
        target="y",
        config=quick(1),
    )
    with pytest.raises(ConfigError, match="reads neither"):
        Mixture(texts)
    monkeypatch.setattr(model.statistics, "inputs", None)
    with pytest.raises(ConfigError, match="train it again"):
        Mixture(model)
