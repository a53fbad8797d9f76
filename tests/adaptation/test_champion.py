"""A proposal has two to beat: the source, and what needs no model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from aet.adaptation import Always, Earned, Likely
from aet.adaptation.champion import Champion, guarding
from aet.adaptation.methods.rls import RecursiveLeastSquares
from aet.adaptation.stream import Stream
from aet.batch import Batch
from aet.errors import ConfigError
from tests.adaptation.models import batch_of

RIVAL = "the last season again"


def told(guard, *rounds):
    for times, gain, over in rounds:
        for _ in range(times):
            guard.update(gain, over=over)
    return guard


@pytest.mark.parametrize("test", [Earned, Likely])
def test_both_must_be_beaten(test):
    assert told(Champion(test(), RIVAL), (40, 0.6, 0.5)).serving
    assert not told(Champion(test(), RIVAL), (40, 0.6, -0.05)).serving
    assert not told(Champion(test(), RIVAL), (40, -0.05, 0.6)).serving


def test_it_serves_no_sooner_than_either_test_alone():
    own, other, both = Earned(), Earned(), Champion(Earned(), RIVAL)
    for step in range(60):
        gain, over = (0.8, 0.1 if step % 3 else -0.2)
        own.update(gain), other.update(over), both.update(gain, over=over)
        assert both.serving == (own.serving and other.serving)
        assert both.wealth == min(own.wealth, other.wealth)


def test_the_champion_is_the_better_of_the_two():
    assert Champion(Earned(), RIVAL).champion == "the source"
    assert told(Champion(Earned(), RIVAL), (9, 0.3, 0.1)).champion == RIVAL
    guard = told(Champion(Earned(), RIVAL), (9, 0.1, 0.3))
    assert guard.champion == guard.evidence()["champion"] == "the source"
    assert guard.evidence()["rival_gain"] == pytest.approx(0.3)
    assert f"against {RIVAL}: evidence" in guard.reason()
    assert guard.reason().endswith("the source is the better of the two it has to beat")


def test_labels_against_one_of_the_two_are_against_the_proposal():
    assert told(Champion(Earned(), RIVAL), (8, 0.2, -0.2)).against
    assert not told(Champion(Earned(), RIVAL), (8, 0.2, 0.2)).against


def test_asked_labels_that_stay_away_count_for_both():
    guard = Champion(Earned(), RIVAL)
    guard.expect(list(range(12)), [1.0] * 12)
    for row in range(6, 12):
        guard.update(1.0, 1.0, row, over=1.0)
    assert guard.missing == guard.other.missing == 6
    assert not guard.serving


def test_it_goes_on_where_it_was_saved():
    guard = told(Champion(Earned(level=0.1), RIVAL), (7, 0.5, 0.2))
    again = Champion(Earned(), RIVAL)
    again.load_dict(json.loads(json.dumps(guard.to_dict())))
    assert (again.level, again.wealth, again.champion) == (0.1, pytest.approx(guard.wealth), guard.champion)
    assert told(again, (30, 0.5, 0.2)).serving == told(guard, (30, 0.5, 0.2)).serving is True


def test_of_a_stream_saved_before_the_rival_is_tested_from_the_start():
    before = told(Earned(), (20, 0.9, None))
    again = Champion(Earned(), RIVAL)
    again.load_dict(before.to_dict())
    assert again.own.serving
    assert not again.serving


def test_only_forecasts_have_a_rival(model, forecast):
    assert isinstance(Stream(model).guard, Earned)
    assert isinstance(Stream(forecast, adapt="rls").guard, Champion)
    assert isinstance(Stream(forecast, adapt="rls", guard="always").guard, Always)
    assert guarding(made := Champion(Earned(), RIVAL), RIVAL) is made


def as_the_season(model, rows, seed):
    """Rows whose futures are the last season again, to within a little: nothing beats that."""
    batch = batch_of(model, rows, seed, shifted=False)
    _, naive, tail = model.output.split(model.output.unlearned(model.logits(batch)))
    z = naive + 0.01 * torch.randn(naive.shape, generator=torch.Generator().manual_seed(seed))
    return Batch(values=batch.values, target=tail[:, :1] + model.output.scale(tail) * z)


def test_a_stream_serves_no_proposal_that_loses_to_the_last_season(forecast):
    """Futures repeat the season: what a gain and a bias learn beats a source held far off, and not the season."""
    stream, source = Stream(forecast, adapt="rls", anchor=1e-3), RecursiveLeastSquares(forecast)
    assert source.state.size() == 0
    batch = as_the_season(forecast, 80, 1)
    off = Batch(values=batch.values, target=batch.target)
    stream.method.label(as_the_season(forecast, 80, 2))
    stream._score(off, np.ones(80), [None] * 80)
    guard = stream.guard
    assert guard.other.gain < 0
    assert guard.champion == forecast.output.rival
    assert not stream.serving


def test_what_is_no_guard_is_named():
    with pytest.raises(ConfigError, match=r"no guard 3. Known: .*'earned'"):
        guarding(3, "")
