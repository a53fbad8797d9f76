"""Undo takes back whatever labels taught, chosen or not, and nothing counts twice."""

import numpy as np
import pytest
import torch

from aet.adaptation import Earned, Feedback
from aet.errors import ConfigError
from tests.adaptation.models import served, three


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setitem(Feedback.defaults, "steps", 5)


def test_labels_that_moved_only_what_is_not_chosen_are_undone_too(model, monkeypatch):
    stream, truth = served(model, 128)
    monkeypatch.setattr(type(stream.method), "taught", property(lambda self: False))
    ids = stream.ask(10)
    before = len(stream._history)
    stream.feedback(ids, [truth[i] for i in ids])
    assert len(stream._history) == before + 1
    stream.undo()
    assert stream.method.labels == 0
    assert stream.method.lessons.labelled is None


def test_undone_labels_are_not_scored_or_asked_again(model):
    stream, truth = served(model, 96, adapt="feedback")
    ids = stream.ask(12)
    stream.feedback(ids, [truth[i] for i in ids])
    scored, wealth = stream.guard.labels, stream.guard.wealth
    assert scored == 12
    stream.undo()
    assert not set(stream.ask(84)) & set(ids)
    stream.feedback(ids, [truth[i] for i in ids], at_random=True)
    assert (stream.guard.labels, stream.guard.wealth) == (scored, wealth)
    assert len(stream.method.labelled) == 12


def test_more_rows_than_are_waited_for_are_refused(model):
    stream, _ = served(model)
    with pytest.raises(ConfigError, match="At most 512"):
        stream.ask(513)


def test_what_is_waited_for_stays_bounded():
    guard = Earned()
    guard.expect(["never"], [1.0])
    for gain in np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 1200):
        guard.update(float(gain), 1.0)
    assert len(guard.queue) <= 512
    assert len(guard.trail) <= 512


def test_a_stream_of_an_earlier_version_goes_on_with_its_guard(model, tmp_path):
    import json

    from aet.adaptation import Stream

    stream, truth = served(model, 96)
    ids = stream.ask(12)
    stream.feedback(ids, [truth[i] for i in ids])
    stream.save(tmp_path)
    described = json.loads((tmp_path / "stream.json").read_text())
    described["format"] = 1
    del described["undone"], described["unlabelled"], described["trace"]["spans"]
    (tmp_path / "stream.json").write_text(json.dumps(described))
    again = Stream.load(model, tmp_path)
    assert again.state.size() == 0
    assert again.unlabelled == "never"
    assert again.guard.labels == 12
    assert "earlier version" in again.trace.events[-1]["text"]


def test_labels_that_are_undone_count_in_no_figure(model):
    stream, truth = served(model)
    first, then = stream.ask(8), stream.ask(8)
    stream.feedback(first, [truth[i] for i in first])
    right, before = stream.labels, stream.estimate()
    stream.feedback(then, ["p"] * len(then))
    assert stream.labels == right + len(then)
    assert not stream.estimate()["labels"].equals(before["labels"])
    stream.undo()
    assert stream.labels == right
    assert stream.estimate().equals(before)


def test_a_row_that_came_again_meanwhile_stays_the_newer_one(with_ids):
    frame = three(64, 1).assign(key=[f"k{i}" for i in range(64)])
    stream = with_ids.stream(adapt="feedback")
    stream.predict(frame)
    stream.feedback(["k0", "k1"], frame["y"][:2].tolist())
    stream.predict(frame[:1].assign(a=9.0))
    stream.undo()
    kept = stream.kept
    assert {"k0", "k1"} <= set(kept.place)
    newer = with_ids.encode(frame[:1].assign(a=9.0))
    for name, values in kept.batch[[kept.place["k0"]]].values.items():
        torch.testing.assert_close(values, newer.values[name])
