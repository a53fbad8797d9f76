"""Policies: learned from a log, judged by importance weights, and let loose in an environment."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.control import log_episodes, rollout, with_history
from aet.errors import DataError, FeedbackError
from aet.outputs.policy import PolicyOutput

from .made import quick

TARGETS = ["action", "reward", "propensity"]


def logged(rows=600, seed=0):
    """One number says which of two actions pays; the log mostly takes the worse one."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    best = (x > 0).astype(int)
    worse = rng.random(rows) < 0.7
    action = np.where(worse, 1 - best, best)
    reward = 1.0 * (action == best) + 0.1 * rng.normal(size=rows)
    return pd.DataFrame({"x": x, "action": action, "reward": reward, "propensity": np.where(worse, 0.7, 0.3)})


@pytest.fixture(scope="module")
def model():
    return aet.train(logged(), target=TARGETS, output="policy", config=quick(epochs=15))


def test_a_policy_does_better_than_the_log_that_it_learned_from(model):
    later = logged(400, seed=1)
    answers = model.predict(later[["x"]])
    assert ((answers["prediction"] == (later["x"] > 0)).mean()) > 0.9
    found = model.evaluate(later)
    assert found["logged"] == pytest.approx(later["reward"].mean())
    assert found["value"] > 0.85 > 0.5 > found["logged"]
    assert found["agreement"] == pytest.approx(0.3, abs=0.1)


def test_the_value_is_that_of_the_rows_where_both_agree():
    """By hand: rewards 0, 4 and 2 at propensities 1/2, 1/4 and 1; the policy agrees in the first two."""
    frame = pd.DataFrame({"action": ["a", "b", "a"], "reward": [0.0, 4.0, 2.0], "propensity": [0.5, 0.25, 1.0]})
    part = PolicyOutput(TARGETS, 4)
    part.fit(frame, {"most": 3.0})
    target = part.encode(frame)
    assert target.tolist() == [[0, 0, 2], [1, 1, 3], [0, 0.5, 1]]
    found = part.metrics(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), target)
    assert found["value"] == pytest.approx((0 * 2 + 4 * 3) / (2 + 3))
    assert found["effective_rows"] == pytest.approx(25 / 13)
    even = part.row_losses(torch.zeros(3, 2), target)  # |r - 1/2| · w / 2
    assert even.tolist() == pytest.approx([0.5, 0.75, 0.0])


def test_streams_learn_from_what_actions_earned_late(model):
    stream = model.stream()
    rows = logged(64, seed=2)
    ids = stream.predict(rows[["x"]])["id"]
    outcomes = list(rows[TARGETS].itertuples(index=False, name=None))
    stream.feedback(ids[:32].tolist(), outcomes[:32])
    assert stream.labels == 32
    with pytest.raises(FeedbackError, match="probability above 0"):
        stream.feedback([int(ids[40])], [(0, 1.0, 0.0)])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"reward": 1.0}, "is the same in every row"),
        ({"action": 1}, "one class leaves nothing to learn"),
        ({"propensity": 0.0}, "probability with which the action was chosen"),
    ],
)
def test_logs_from_which_nothing_can_be_learned(change, sentence):
    with pytest.raises(DataError, match=sentence):
        aet.train(logged(60).assign(**change), target=TARGETS, output="policy", config=quick(epochs=1))


def test_without_propensities_the_shares_of_the_actions_stand_for_them():
    frame = pd.DataFrame({"action": ["a", "b", "a", "a"], "reward": [0.0, 4.0, 2.0, 1.0]})
    part = PolicyOutput(TARGETS[:2], 4)
    part.fit(frame, {})
    assert part.encode(frame)[:, 2].tolist() == pytest.approx([4 / 3, 4, 4 / 3, 4 / 3])


class Corridor:
    """Walk to the right for five steps; each step to the right earns 1."""

    def reset(self, *, seed=None):
        self.place = np.array([float((seed or 0) % 3), 0.0])
        self.steps = 0
        return self.place, {}

    def step(self, action):
        self.steps += 1
        self.place = np.add(self.place, [1.0 if action == 1 else -1.0, 0.5])
        return self.place, float(action == 1), False, self.steps == 5, {}


def test_a_policy_learned_from_a_log_acts_in_its_environment():
    log = log_episodes(Corridor(), lambda seen: [0.6, 0.4], 120, discount=0.0)
    assert (log.groupby("episode").size() == 5).all()
    assert set(log["propensity"]) == {0.6, 0.4}
    told = {"output": "policy", "ignore": ["episode", "step"], "config": quick(epochs=5)}
    model = aet.train(log, target=TARGETS, **told)
    assert rollout(model, Corridor(), episodes=3).tolist() == [5, 5, 5]
    ahead = log_episodes(Corridor(), lambda seen: [0.0, 1.0], 1, discount=0.5)
    assert ahead["reward"].tolist() == [1.9375, 1.875, 1.75, 1.5, 1.0]


def test_a_behaviour_that_is_no_distribution():
    with pytest.raises(DataError, match="sum to 1"):
        log_episodes(Corridor(), lambda seen: [0.6, 0.6], 1)


def test_gymnasium_takes_the_policy():
    gymnasium = pytest.importorskip("gymnasium")
    world = gymnasium.make("CartPole-v1")
    log = log_episodes(world, lambda seen: [0.5, 0.5], 12)
    told = {"output": "policy", "ignore": ["episode", "step"], "config": quick(epochs=2)}
    assert (rollout(aet.train(log, target=TARGETS, **told), world, 1, steps=20) >= 1).all()


def test_a_history_of_a_column_that_is_not_there():
    with pytest.raises(DataError, match="no column 't'"):
        with_history(pd.DataFrame({"s": [1]}), ["t"])
