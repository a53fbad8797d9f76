"""Several proposals: the surest is trusted, and what it corrects is served, written down, saved and undone with it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.adaptation import Feedback, Stream
from aet.adaptation.answered import TRIAL
from aet.adaptation.comparison import FIGURES, alike_in_time, figures
from aet.adaptation.methods.local_mix import correction, locally_mixed
from aet.adaptation.portfolio import Portfolio
from aet.adaptation.proposals import PROPOSALS, proposed
from aet.adaptation.rehearsed import Rehearsals, Verdict
from aet.adaptation.serving import CONTEXT
from aet.attention.state import ElasticState
from tests.adaptation.models import fed, inputs, three
from tests.made import quick

MIX = torch.full((3,), 1 / 3)
MOMENTS, LOCAL, BOTH = range(3)


@pytest.fixture(scope="module")
def model():
    config = quick(epochs=8, dim=16, dropout=0.0)
    config["train"]["rehearsals"] = 48
    return aet.train(three(500), target="y", config=config)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Labels are learned in earnest elsewhere."""
    monkeypatch.setitem(Feedback.defaults, "steps", 1)
    monkeypatch.setitem(Feedback.defaults, "steps_a_label", 1)


def trust(monkeypatch, number, sure=5.0):
    """Rehearsals that speak for one proposal."""
    monkeypatch.setattr(Rehearsals, "calibrated", lambda self: (1.0, 0.0))

    def verdict(self, figures):
        ours = self.proposal == number
        return Verdict(ours, 5.0, 16 * ours, 16, self.proposal, sure * ours)

    monkeypatch.setattr(Rehearsals, "verdict", verdict)
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", -math.inf)


def pair(seed=0, rows=64):
    z = torch.randn(2, rows, 3, generator=torch.Generator().manual_seed(seed))
    return z.softmax(-1)


def rehearsed(gains, worlds=24):
    """Stretches around the figures of `pair`, with a gain for each proposal."""
    p, q = pair()
    centre = torch.stack([figures(p, r, 0.9, MIX) for r in proposed(p, q, MIX)]).float()
    noise = 1e-3 * torch.randn(worlds * 2, *centre.shape, generator=torch.Generator().manual_seed(1))
    gain = torch.tensor(gains).expand(worlds * 2, -1) + 1e-3 * noise[..., 0]
    return {
        "figures": centre + noise,
        "gain": gain,
        "world": torch.arange(worlds).repeat_interleave(2),
        "usual": torch.tensor(0.9),
    }


def test_proposals_are_the_source_moved_corrected_or_both():
    p, q = pair()
    moved, local, both = proposed(p, q, MIX, apart=4.0)
    assert moved is q
    assert torch.equal(local, locally_mixed(p, MIX, 4.0))
    assert torch.equal(both, locally_mixed(q, MIX, 4.0))
    assert [(one.moved, one.corrected) for one in PROPOSALS] == [(True, False), (False, True), (True, True)]


@pytest.mark.parametrize(
    ("gains", "chosen"),
    [((0.1, 0.05, 0.02), 0), ((0.02, 0.1, 0.05), 1), ((-0.1, 0.03, 0.1), 2), ((0.1, -0.1, -0.1), 0)],
)
def test_the_surest_is_trusted(gains, chosen):
    verdict = Portfolio(rehearsed(gains)).verdict(*pair(), MIX, 1.0)
    assert verdict.trusted
    assert verdict.proposal == chosen
    assert verdict.bound == pytest.approx(100 * max(gains), abs=1)
    assert PROPOSALS[chosen].name in str(verdict)


def test_none_is_trusted_that_never_gained():
    portfolio = Portfolio(rehearsed((-0.1, -0.02, -0.05)))
    assert not portfolio.ever
    assert not portfolio.verdict(*pair(), MIX, 1.0).trusted


def test_of_the_allowed_the_surest_is_trusted():
    portfolio = Portfolio(rehearsed((0.1, 0.05, 0.2)))
    assert portfolio.verdict(*pair(), MIX, 1.0, PROPOSALS[1:2]).proposal == LOCAL
    assert not portfolio.verdict(*pair(), MIX, 1.0, []).trusted


def test_what_an_earlier_version_rehearsed_is_of_moments_alone():
    known = rehearsed((0.1, 0.2, 0.3))
    portfolio = Portfolio({**known, "figures": known["figures"][:, 0], "gain": known["gain"][:, 0]})
    assert len(portfolio.each) == 1
    verdict = portfolio.verdict(*pair(), MIX, 1.0)
    assert verdict.trusted
    assert verdict.proposal == 0


def test_training_rehearses_them_all(model):
    kept = model.statistics.rehearsals
    assert kept["figures"].shape == (48 * 3, len(PROPOSALS), len(FIGURES))
    assert kept["gain"].shape == (48 * 3, len(PROPOSALS))
    assert kept["moved"].shape == (48 * 3,)
    assert (kept["moved"] >= 0).all()
    assert Portfolio(kept).reach == float(kept["moved"].max())
    earlier = {name: tensor for name, tensor in kept.items() if name != "moved"}
    assert Portfolio(earlier).reach == math.inf


@pytest.mark.parametrize("number", [LOCAL, BOTH])
def test_corrected_answers_are_served(model, monkeypatch, number):
    trust(monkeypatch, number)
    stream, frame = model.stream(), three(400, 7, shift=2.0).sort_values("y", ignore_index=True)
    said = []
    stream.watch = lambda checked, source, proposal, served, serving: said.append((source, proposal, served, serving))
    fed(stream, frame)
    source, proposal, served, serving = said[-1]
    assert serving
    assert torch.allclose(served, correction(model)(proposal if number == BOTH else source), atol=1e-4)
    assert not torch.equal(served, proposal), "the proposal is the state alone"
    event = next(e["text"] for e in stream.trace.events if e["kind"] == "served")
    assert PROPOSALS[number].name in event


def test_a_corrected_stream_goes_on_after_it_was_saved(model, monkeypatch, tmp_path):
    trust(monkeypatch, LOCAL)
    stream, frame = model.stream(), three(320, 7).sort_values("y", ignore_index=True)
    fed(stream, frame)
    assert stream.choice.correct is not None
    assert stream.served_state.equal(ElasticState.zeros(model))
    stream.save(tmp_path)
    again = Stream.load(model, tmp_path)
    assert again._by == stream._by == "rehearsals"
    assert again.method.verdict == stream.method.verdict
    pd.testing.assert_frame_equal(again.predict(inputs(frame.head(50))), stream.predict(inputs(frame.head(50))))


def test_undo_ends_the_correction_too(model, monkeypatch):
    trust(monkeypatch, BOTH)
    stream = model.stream()
    fed(stream, three(320, 7, shift=2.0))
    assert stream.choice.correct is not None
    stream.undo()
    assert stream.choice.correct is None
    rows = three(3, 9)
    expected = model.output.answers(model.logits(model.encode(rows)))["prediction"]
    assert stream.predict(inputs(rows))["prediction"].tolist() == expected.tolist()


def test_moved_inputs_need_labels_that_speak_for_them_and_the_mix_alone_does_not(model, monkeypatch):
    for number, left in ((BOTH, False), (LOCAL, True)):
        trust(monkeypatch, number)
        stream = model.stream()
        fed(stream, three(320, 7))
        stream.method.labels, stream.method.losses = 8, torch.tensor([1.0, 2.0], dtype=torch.float64)
        assert (stream.method.trusted is not None) is left


@pytest.mark.parametrize(("number", "left"), [(MOMENTS, False), (LOCAL, True), (BOTH, False)])
def test_inputs_moved_farther_than_in_any_rehearsal_are_not_trusted(model, monkeypatch, number, left):
    """Rows that are garbage are like nothing that was rehearsed, whatever their answers look like."""
    trust(monkeypatch, number)
    stream, wild = model.stream(), three(320, 7)
    wild[["a", "b"]] = 1000 * wild[["a", "b"]] - 500
    fed(stream, wild)
    assert stream.method.mixture.moved > stream.method.portfolio.reach
    assert (stream.method.trusted is not None) is left
    assert "farther than in any rehearsal" in stream.method.why
    fed(stream, three(320, 8))
    assert stream.method.mixture.moved < stream.method.portfolio.reach
    assert stream.method.trusted is not None, "the window holds none of them now"
    assert "farther" not in stream.method.why


@pytest.mark.parametrize(("ordered", "by"), [(True, "rehearsals"), (False, "")])
def test_answers_are_corrected_only_while_they_are_alike_in_time(model, monkeypatch, ordered, by):
    trust(monkeypatch, LOCAL)
    monkeypatch.setattr("aet.adaptation.methods.auto.ALIKE", 3.0)
    stream, frame = model.stream(), three(512, 7)
    fed(stream, frame.sort_values("y") if ordered else frame)
    assert stream.choice.by == by


def test_alike_in_time_by_hand():
    predicted = torch.tensor([0, 0, 1, 1])
    assert alike_in_time(predicted, 2, lags=1) == pytest.approx((2 - 3 / 2) / (3 / 4) ** 0.5)
    assert alike_in_time(torch.zeros(9, dtype=torch.long), 2) == 0, "one class alone says nothing of the order"
    assert alike_in_time(torch.empty(0, dtype=torch.long), 2) == 0
    generator = torch.Generator().manual_seed(0)
    by_chance = [alike_in_time(torch.randint(5, (128,), generator=generator), 5) for _ in range(200)]
    assert sum(z > 3 for z in by_chance) <= 4


def test_served_answers_that_lose_on_labels_end_the_trust_for_a_while(model, monkeypatch):
    trust(monkeypatch, LOCAL)
    monkeypatch.setattr("aet.adaptation.methods.auto.correction", lambda model, least: lambda logits: -logits)
    stream, frame = model.stream(), three(900, 7)
    fed(stream, frame.head(320))
    assert stream.choice.by == "rehearsals"
    fed(stream, frame.iloc[320:400])
    ids = stream.ask(8, newest=80)
    passes = stream.trace.passes["scoring"]
    stream.feedback(ids[:7], frame["y"][ids[:7]])
    assert stream.choice.by == "rehearsals", "seven labels are too few"
    assert stream.trace.passes["scoring"] == passes + 7, "the source was asked for the trial, which serving had not"
    stream.feedback(ids[7:], frame["y"][ids[7:]])
    assert stream.answered.lost
    assert stream.served_state is None
    assert "lost to the source" in stream.trace.events[-1]["text"]
    fed(stream, frame.iloc[400:])
    for _ in range(5):
        ids = stream.ask(16, newest=400)
        stream.feedback(ids, frame["y"][ids])
    assert stream.labels >= 8 + TRIAL
    assert not stream.answered.lost, "later labels say nothing against what was served"


def test_labels_that_nobody_drew_do_not_end_it(model, monkeypatch):
    trust(monkeypatch, LOCAL)
    monkeypatch.setattr("aet.adaptation.methods.auto.correction", lambda model, least: lambda logits: -logits)
    stream, frame = model.stream(), three(400, 7)
    fed(stream, frame)
    stream.feedback(range(350, 370), frame["y"][350:370])
    assert not stream.answered.lost


def test_a_call_of_few_rows_is_answered_by_the_source(model, monkeypatch):
    """Rehearsals judged corrections among more rows; alone, a row would get the moved state that they did not judge."""
    trust(monkeypatch, BOTH)
    stream, frame = model.stream(), three(400, 7, shift=2.0).sort_values("y", ignore_index=True)
    fed(stream, frame)
    assert stream.choice.correct is not None
    few = frame.drop(columns="y").head(CONTEXT - 1)
    answers = stream.predict(few, proba=True)
    assert set(answers["served_by"]) == {"source"}
    plain = model.predict(few, proba=True)
    classes = [name for name in plain if name.startswith("p_")]
    assert np.allclose(answers[classes], plain[classes], atol=1e-6)
    assert set(stream.predict(frame.drop(columns="y").head(CONTEXT))["served_by"]) == {"proposal"}
