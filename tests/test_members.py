"""Batch ensembles: one member is the plain model; rows, masks, weights and states stay right with several."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.attention.state import ElasticState, applied, merge, name_elastic
from aet.config import Config
from aet.errors import ConfigError
from aet.members import MemberHeads, MemberTrunk
from aet.model import Model
from aet.outputs import OUTPUTS
from aet.schema import infer
from aet.training.loop import batch_loss
from aet.training.switch import Run, switched_on
from aet.trunk import Trunk

K = 3


def table(rows=90, seed=0, target="label"):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
    frame["city"] = rng.choice(["Oslo", "Rome"], rows)
    frame["text"] = rng.choice(["a red dog runs far away", "one cat sleeps on", "green"], rows)
    frame["w"] = rng.integers(0, 3, rows).astype(float)
    y = frame["a"] + 0.2 * rng.normal(size=rows)
    return frame.assign(y=y if target == "number" else np.where(y > 0, "up", "down"))


def made(members=K, target="label", seed=0, **changes):
    frame = table(target=target)
    config = {"model": {"dim": 16, "depth": 1, "heads": 2, "dropout": 0, "members": members}, **changes}
    torch.manual_seed(seed)
    schema = infer(frame, "y", weight="w", kinds={"text": "text"})
    model = Model(schema, Config.read(config)).fit_columns(frame)
    return model.eval(), model.encode(frame, target=True)


def moved(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(model).map(lambda _, t: 0.3 * torch.randn(t.shape, generator=generator))


def test_one_member_is_the_plain_model():
    model, _ = made(members=1)
    assert type(model.trunk) is Trunk
    assert isinstance(model.output.head, torch.nn.Linear)


def test_each_member_is_the_trunk_with_its_scales_and_its_head():
    torch.manual_seed(0)
    trunk = name_elastic(MemberTrunk(K, tokens=4, dim=8, depth=1, heads=2)).eval()
    heads = MemberHeads(K, 8, 5)
    tokens, mask = torch.randn(6, 4, 8), torch.rand(6, 4) < 0.7
    mask[:, 0] = True
    out = heads(trunk(tokens, mask))
    for member in range(K):
        plain = Trunk.forward(trunk, tokens * trunk.scales[member], mask)
        torch.testing.assert_close(out[:, member], plain @ heads.weight[member].T + heads.bias[member])
    assert set(trunk.scales.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("kind", ["label", "number"])
def test_evaluation_gives_the_mean_answer_and_training_every_member(kind):
    model, batch = made(target=kind)
    together = model(batch)
    model.train()
    each = model(batch)
    assert each.shape == (len(batch), K, model.output.width)
    assert together.shape == (len(batch), model.output.width)
    if kind == "number":
        torch.testing.assert_close(together, each.mean(1))
    else:
        torch.testing.assert_close(together.softmax(-1), each.softmax(-1).mean(1))


def test_yes_or_no_answers_are_averaged_as_probabilities():
    output = OUTPUTS["multilabel"](("p", "q"), 4)
    logits = 3 * torch.randn(7, K, 2)
    torch.testing.assert_close(output.joined(logits).sigmoid(), logits.sigmoid().mean(1))


def test_the_loss_of_a_row_is_the_mean_of_its_members_losses():
    model, batch = made()
    model.train()
    logits = model(batch)
    each = torch.stack([model.output.losses(logits[:, member], batch.target) for member in range(K)])
    torch.testing.assert_close(model.output.losses(logits, batch.target), each.mean(0))


def test_weights_count_rows_not_members():
    model, batch = made()
    run = Run(model, torch.optim.SGD(model.parameters(), 0.1), batch, batch, 1, lambda: torch.zeros(()))
    index = torch.arange(10)
    twice = torch.cat([index, index[:1]])
    weight = torch.ones(10)
    weight[0] = 2
    weighted = batch_loss(run, [], model.trunk, replace(batch[index], weight=weight)) * 10
    repeated = batch_loss(run, [], model.trunk, replace(batch[twice], weight=None)) * 11
    torch.testing.assert_close(weighted, repeated)


@pytest.mark.parametrize("kind", ["label", "number"])
def test_states_move_all_members_shared_batched_and_merged(kind):
    model, batch = made(target=kind)
    states = [moved(model, seed) for seed in range(2)]
    index = torch.arange(len(batch)) % 2
    with applied(ElasticState.stack(states).rows(index)):
        together = model.logits(batch, rows=7)
    for which, state in enumerate(states):
        with applied(state):
            alone = model.logits(batch)
        torch.testing.assert_close(together[index == which], alone[index == which], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(merge(model, state).logits(batch), alone, rtol=1e-4, atol=1e-5)
    assert (together - model.logits(batch)).abs().max() > 0.05


def test_focus_is_one_share_a_token():
    model, batch = made()
    shares = aet.focus.focus(model, batch)
    assert shares.shape == (len(batch), len(model.token_names()))
    torch.testing.assert_close(shares.sum(1), torch.ones(len(batch)))


@pytest.mark.parametrize("kind", ["label", "number"])
def test_a_run_trains_saves_loads_and_adapts(kind, tmp_path):
    frame = table(150, target=kind)
    switches = {"r_drop": {}, "mixup": {}} | ({"label_smoothing": {}} if kind == "label" else {})
    config = {
        "model": {"dim": 16, "depth": 1, "members": K},
        "train": {"epochs": 2, "switches": switches},
    }
    model = aet.train(frame, "y", out=tmp_path / "run", kinds={"text": "text"}, config=config)
    again = aet.load(tmp_path / "run")
    expected = model.predict(frame)["prediction"].tolist()
    assert again.predict(frame)["prediction"].tolist() == expected
    stream = again.stream(adapt="align")
    assert len(stream.predict(frame)) == len(frame)
    for layer in again.statistics.layers:
        assert torch.isfinite(layer.std).all()
        assert layer.mean.abs().max() < 100


def test_switches_that_read_one_head_say_that_there_are_several():
    model, batch = made()
    switch = switched_on({"learning_to_reweight": {}})[0]
    run = Run(model, torch.optim.SGD(model.parameters(), 0.1), batch, batch, 1, lambda: torch.zeros(()))
    with pytest.raises(ConfigError, match=r"expected model.members=1, got 3"):
        switch.begin(run)


@pytest.mark.parametrize("target", ["label", "number"])
def test_members_are_served_labelled_and_updated(target):
    """A stream asks for labels by summary and uncertainty, one of each a row; an update without kept rows replays."""
    frame = table(target=target).drop(columns="w")
    small = {"model": {"dim": 16, "depth": 1, "heads": 2, "members": K}, "train": {"epochs": 2}}
    model = aet.train(frame, "y", config=small, kinds={"text": "text"})
    stream = model.stream()
    stream.predict(frame.drop(columns="y"))
    ids = stream.ask(8)
    stream.feedback(ids, frame["y"][ids])
    assert stream.labels == len(ids) == 8
    made = model.update(table(seed=1, target=target).drop(columns="w"), compare=False)
    assert len(made.model.predict(frame.drop(columns="y"))) == len(frame)


@pytest.mark.parametrize("target", ["label", "number"])
@pytest.mark.parametrize("switch", ["lwf", "moment_replay", "distill"])
def test_members_learn_from_a_teacher(target, switch, tmp_path):
    frame = table(target=target).drop(columns="w")
    small = {"model": {"dim": 16, "depth": 1, "heads": 2, "members": K}, "train": {"epochs": 1}}
    aet.train(frame, "y", config=small, kinds={"text": "text"}, out=tmp_path / "teacher")
    on = {switch: {"teacher": str(tmp_path / "teacher")} if switch == "distill" else {}}
    model = aet.train(frame, "y", config=small, kinds={"text": "text"}, switches=on)
    assert model.report["switches"][0]["acted"]
