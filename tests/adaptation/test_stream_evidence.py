"""What reaches the guard of a stream: each asked label once, scored by a state that it did not train."""

from __future__ import annotations

import json
import threading

import numpy as np
import pandas as pd
import pytest
import torch

from aet.adaptation import Earned, Feedback, Stream
from aet.adaptation.base import RADIUS
from aet.attention.state import applied
from aet.errors import FeedbackError
from tests.adaptation.models import everything, inputs, served, three


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setitem(Feedback.defaults, "steps", 8)


def heard(stream):
    """Every comparison that the guard takes from now on: (gain, weight, row)."""
    said, update = [], stream.guard.update

    def spy(gain, weight=1.0, row=None, over=None):
        said.append((gain, weight, row))
        update(gain, weight, row, over)

    stream.guard.update = spy
    return said


def gain_of(stream, frame, row, label):
    """Score of the present proposal less the source's, by hand."""
    model = stream.model
    batch = model.encode(inputs(frame).iloc[[row]])
    target = model.output.encode(pd.DataFrame({"y": [label]}))
    with applied(stream.state):
        proposal = model.output.scores(model.logits(batch), target)
    return float(proposal - model.output.scores(model.logits(batch), target))


def telling(stream, ids):
    """How many of these open rows proposal and source answered otherwise."""
    return sum(terms.most > 0 for row, terms, _ in stream.guard.queue if row in ids)


def test_partial_labels_in_any_order_wait_for_each_other(model):
    stream, truth = served(model)
    ids = stream.ask(8)
    expected = telling(stream, [ids[i] for i in (1, 3, 4, 5)])
    assert expected > 0
    stream.feedback([ids[6], ids[2], ids[0]], [truth[i] for i in (ids[6], ids[2], ids[0])])
    assert (stream.guard.labels, stream.guard.missing) == (3, expected)
    rest = [i for i in ids if i not in (ids[6], ids[2], ids[0])]
    stream.feedback(rest[::-1], [truth[i] for i in rest[::-1]])
    assert (stream.guard.labels, stream.guard.missing, stream.guard.queue) == (8, 0, [])


def test_the_end_is_that_of_the_order_of_asking(model):
    stream, truth = served(model, adapt="restandardise")  # a state that labels do not move
    twin, _ = served(model, adapt="restandardise")
    ids = stream.ask(12)
    assert ids == twin.ask(12)
    stream.feedback(ids, [truth[i] for i in ids])
    for i in ids[::-1]:
        twin.feedback([i], [truth[i]])
    assert twin.guard.wealth == pytest.approx(stream.guard.wealth)
    assert twin.guard.better == stream.guard.better


def test_a_row_is_compared_as_it_was_answered_when_it_was_asked(model):
    """Neither what was learned since then nor the moment at which its label comes has a say."""
    stream, truth = served(model)
    frame = three(96, 3, shift=1.5, gain=0.4)
    stream.feedback(range(40), truth[:40])
    ids = stream.ask(6)
    weights = stream.kept.weights[[stream.kept.place[i] for i in ids]].tolist()
    expected = [gain_of(stream, frame, i, truth[i]) for i in ids]
    before = stream.state
    others = [i for i in range(40, 80) if i not in ids]
    stream.feedback(others, ["p" for _ in others])
    assert stream.state is not before
    said = heard(stream)
    for some in (ids[3:], ids[:3]):
        stream.feedback(some, [truth[i] for i in some])
    assert said == [(expected[n], weights[n], ids[n]) for n in (3, 4, 5, 0, 1, 2)]
    assert len(stream.sealed) == 0


def test_rows_that_both_answer_alike_cannot_tell_and_are_drawn_less(model):
    stream, truth = served(model)
    stream.feedback(range(40), truth[:40])
    batch = model.encode(inputs(three(96, 3, shift=1.5, gain=0.4)))
    with applied(stream.state):
        moved = model.logits(batch).argmax(-1)
    differ = (moved != model.logits(batch).argmax(-1)).numpy()
    assert 0 < differ[40:].mean() < 0.7
    ids = stream.ask(20)
    assert differ[ids].mean() > differ[40:].mean()
    for known, terms, _ in stream.guard.queue:
        assert terms.most == float(differ[known])
        assert terms.weight * terms.most <= terms.span <= 1
    alike = [i for i in ids if not differ[i]]
    stream.feedback(alike, [truth[i] for i in alike])
    assert stream.guard.telling == 0
    assert stream.guard.better == stream.guard.worse == 0
    waiting = stream.guard.wealth
    stream.guard.settle()
    assert stream.guard.settled.total <= waiting * 1.05


def test_nothing_is_passed_twice_for_what_the_source_answered_already(model):
    stream, truth = served(model, adapt="feedback")
    ids = stream.ask(8)
    assert stream.trace.passes["asking"] == 48, "one pass of half of the rows; the source's answers are kept"
    stream.feedback(ids, [truth[i] for i in ids])
    assert stream.trace.passes["scoring"] == 0


def test_rows_that_a_draw_has_looked_at_are_no_sample_for_later_ones(model):
    """Of those that are left over the ones that tell were taken: the next draw is made among others."""
    stream, truth = served(model, rows=400)
    drawn, looked = [], []
    while not drawn or drawn[-1][1]:
        ids = stream.ask(8)
        fresh = np.flatnonzero(stream.kept.looked)
        places = [stream.kept.ids[i] for i in fresh]
        assert not set(looked) & (set(places) - set(looked)), "each is looked at once"
        weights = stream.kept.weights[[stream.kept.place[i] for i in ids]]
        drawn.append((len(set(places) - set(looked)), int((weights > 0).sum()), int((weights == 0).sum())))
        looked = places
        stream.feedback(ids, [truth[i] for i in ids])
        looked = [i for i in looked if i not in ids]
    assert [size for size, *_ in drawn][:4] == [200, 100, 50, 32]
    assert all(teach == 0 for _, weighed, teach in drawn if weighed == 8)
    assert drawn[-1] == (0, 0, 8), "labels of rows that were looked at teach, and weigh nothing"
    assert stream.guard.labels == sum(weighed for _, weighed, _ in drawn)
    assert stream.labels == 8 * len(drawn)


def test_a_recalled_row_is_not_said_to_be_random_while_the_guard_waits_for_it(model):
    stream, truth = served(model)
    first, second = stream.ask(2)
    frame = inputs(three(96, 3, shift=1.5, gain=0.4))
    stream.recall([first], frame.iloc[[first]])
    stream.feedback([first], [truth[first]], at_random=True)
    assert stream.guard.labels == 0
    stream.feedback([second], [truth[second]])
    assert stream.guard.labels == 1


def test_labels_nobody_asked_for_leave_the_evidence_alone(model):
    stream, truth = served(model, guard=Earned(level=0.5, margin=0.3))
    stream.ask(4)
    evidence = stream.guard.to_dict()
    asked = {entry[0] for entry in stream.guard.queue}
    others = [i for i in range(60) if i not in asked]
    stream.feedback(others, [truth[i] for i in others])
    assert stream.guard.to_dict() == evidence
    assert not stream.guard.serving


def test_a_refused_call_leaves_the_evidence_alone(model):
    stream, truth = served(model)
    ids = stream.ask(6)
    stream.feedback(ids[:2], [truth[i] for i in ids[:2]])
    before = everything(stream)
    for wrong, labels in (([ids[2], ids[2]], ["p", "q"]), ([ids[0]], ["p"]), ([ids[3], 9999], ["p", "p"])):
        with pytest.raises(FeedbackError):
            stream.feedback(wrong, labels)
    assert everything(stream) == before


def test_undone_labels_train_again_and_count_once(model):
    stream, truth = served(model)
    ids = stream.ask(6)
    stream.feedback(ids, ["p"] * 6)
    evidence = stream.guard.to_dict()
    stream.undo()
    assert stream.guard.to_dict() == evidence
    stream.feedback(ids, [truth[i] for i in ids])
    assert stream.guard.to_dict() == evidence
    stream.reset()
    stream.undo()
    assert stream.guard.to_dict() == evidence


def test_undo_and_reset_do_not_give_spent_evidence_back(model):
    stream, truth = served(model)
    ids = stream.ask(16)
    stream.feedback(ids[:8], [truth[i] for i in ids[:8]])
    for act in (stream.undo, stream.reset):
        wealth, values = stream.guard.wealth, stream.guard.settled.values
        act()
        assert stream.guard.wealth == wealth
        assert np.array_equal(stream.guard.settled.values, values)
    stream.feedback(ids[8:], [truth[i] for i in ids[8:]])
    assert stream.guard.labels == 16


@pytest.mark.parametrize("rows", [True, False])
def test_labels_asked_before_a_save(model, tmp_path, rows):
    stream, truth = served(model)
    ids = stream.ask(8)
    before, after = telling(stream, ids[:4]), telling(stream, ids[5:])
    assert before > 0
    stream.feedback(ids[4:5], [truth[ids[4]]])
    copy = Stream.load(model, stream.save(tmp_path, rows=rows))
    assert copy.guard.to_dict() == stream.guard.to_dict()
    assert copy.guard.missing == before
    if rows:
        for one in (stream, copy):
            one.feedback(ids[:4], [truth[i] for i in ids[:4]])
        assert copy.guard.missing == 0
    else:
        copy.predict(inputs(three(20)))
        later = copy.ask(2)
        copy.feedback(later, ["p", "p"])
        assert copy.guard.missing == before + after, (
            "rows that were not saved can never be labelled: they count as lost"
        )
    assert copy.guard.labels == (5 if rows else 3)


def test_a_stream_saved_by_an_earlier_version(model, tmp_path):
    stream, truth = served(model)
    ids = stream.ask(8)
    folder = stream.save(tmp_path, rows=True)
    described = json.loads((folder / "stream.json").read_text(encoding="utf-8"))
    old = {"name": "earned", "labels": 12, "gain": 5.0, "level": 0.05, "margin": 0.01, "log_wealths": [0.7] * 16}
    described["guard"] = old
    (folder / "stream.json").write_text(json.dumps(described), encoding="utf-8")
    copy = Stream.load(model, folder)
    assert copy.guard.wealth == pytest.approx(np.exp(0.7))
    copy.feedback(ids, [truth[i] for i in ids])
    assert (copy.guard.labels, copy.guard.missing) == (20, 0)


def test_a_row_served_again_under_its_id_is_no_longer_the_one_that_was_asked(with_ids):
    stream = with_ids.stream()
    frame = inputs(three(30)).assign(key=[f"k{i}" for i in range(30)])
    stream.predict(frame)
    first, second = stream.ask(2)
    expected = telling(stream, [first])
    stream.predict(frame[frame["key"] == first])
    said = heard(stream)
    stream.feedback([first, second], ["p", "q"])
    assert [row for *_, row in said] == [second]
    assert stream.guard.missing == expected


def test_threads_hand_in_each_label_once(model):
    stream, truth = served(model, adapt="restandardise", rows=96)
    ids, errors = stream.ask(48), []

    def work(start):
        for i in ids[start::3]:
            try:
                stream.feedback([i], [truth[i]])
                stream.feedback([i], [truth[i]])
            except FeedbackError as error:
                errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    twin, _ = served(model, adapt="restandardise", rows=96)
    asked = twin.ask(48)
    twin.feedback(asked, [truth[i] for i in asked])
    assert len(errors) == 48
    assert (stream.guard.labels, stream.guard.missing) == (48, 0)
    assert stream.guard.wealth == pytest.approx(twin.guard.wealth)


def test_every_look_is_written_with_its_evidence(model):
    stream, truth = served(model, guard=Earned(level=0.5, margin=0.2), rows=600)
    for count in (12, 24, 24, 24):
        ids = stream.ask(count)
        stream.feedback(ids, [truth[i] for i in ids])
    looks = stream.record()["guard"]
    assert [look["labels"] for look in looks] == list(range(1, 85))
    last = looks[-1]
    assert {"wins", "losses", "missing", "wealth", "threshold", "gain", "gain_interval", "serving"} <= set(last)
    assert last["wins"] == stream.guard.better
    assert last["gain"] == pytest.approx(stream.guard.gain / 84)
    low, high = last["gain_interval"]
    assert low <= last["gain"] <= high
    assert stream.guard.serving
    told = [event["text"] for event in stream.trace.events if event["kind"] == "served"]
    assert told
    assert f"better than the source on {stream.guard.better}" in last["reason"]
    json.dumps(stream.record())


def garbage(rng, kind, rows=8):
    """A batch that no sensor should send."""
    if kind == "random":
        x = rng.normal(size=(rows, 4)) * 10 ** rng.uniform(-3, 6)
    elif kind == "constant":
        x = np.full((rows, 4), rng.normal() * 100)
    elif kind == "extreme":
        x = rng.choice([-3e38, 3e38, 1e-38, 0.0], (rows, 4))
    elif kind == "missing":
        x = np.where(rng.random((rows, 4)) < 0.7, np.nan, rng.normal(size=(rows, 4)))
    else:
        x = np.tile(rng.normal(size=(1, 4)) * 5, (rows, 1))
    return pd.DataFrame(x, columns=list("abcd"))


@pytest.mark.parametrize("adapt", ["auto", "align", "tent"])
def test_garbage_stays_where_it_came_in(model, adapt):
    rng = np.random.default_rng(0)
    clean = three(300, 7)
    stream, calm = model.stream(adapt=adapt), model.stream(adapt=adapt)
    calm.predict(inputs(clean))
    before = everything(calm)
    for number in range(50):
        kind = ("random", "constant", "extreme", "missing", "repeat")[number % 5]
        answers = stream.predict(garbage(rng, kind))
        assert set(answers["served_by"].dropna()) <= {"source"}
        for tensor in stream.state.values():
            assert torch.isfinite(tensor).all()
            assert tensor.abs().max() <= RADIUS
    assert everything(calm) == before
    assert stream.predict(inputs(clean))["prediction"].tolist() == model.predict(inputs(clean))["prediction"].tolist()


def test_wrong_labels_that_nobody_asked_for_train_but_do_not_serve(model):
    stream, _ = served(model)
    stream.feedback(range(80), ["p"] * 80)
    clean = inputs(three(200, 7))
    assert stream.guard.labels == 0
    assert max(float(t.abs().max()) for t in stream.state.values()) <= RADIUS
    assert stream.predict(clean)["prediction"].tolist() == model.predict(clean)["prediction"].tolist()


def test_without_a_guard_that_hears_them_every_label_of_a_small_pool_weighs(model):
    stream, truth = served(model, rows=64, guard="always")
    weights = []
    for _ in range(8):
        ids = stream.ask(8)
        weights += stream.kept.weights[[stream.kept.place[i] for i in ids]].tolist()
        stream.feedback(ids, [truth[i] for i in ids])
    assert len(weights) == stream.labels == 64
    assert min(weights) > 0
