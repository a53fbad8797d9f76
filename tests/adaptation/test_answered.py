"""What a stream knows of its own accuracy: before labels come, and beside them once they do."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.adaptation import Stream
from aet.adaptation.answered import PLAIN, SIDES, WINDOW, Answered
from aet.adaptation.estimating import under_dropout
from aet.adaptation.replay import replay
from aet.errors import ConfigError, DataError
from aet.monitoring.performance import ESTIMATORS
from tests.adaptation.models import batch_of, frame_of, inputs, three
from tests.made import quick

COLUMNS = ["answers", "estimator", "value", "low", "high", "rows", "truth", "truth_low", "truth_high", "labels"]


def first(table, side="served"):
    return table[table["answers"] == side].iloc[0]


def streamed(model, frame, chunk=64, adapt="source", **settings):
    stream = model.stream(adapt=adapt, **settings)
    answers = [stream.predict(inputs(frame.iloc[i : i + chunk])) for i in range(0, len(frame), chunk)]
    return stream, pd.concat(answers, ignore_index=True)


@pytest.fixture(scope="module")
def ensemble():
    config = quick(epochs=8, dim=8, dropout=0.0)
    return aet.train_ensemble(three(), target="y", members=3, config=config)


def test_estimates_come_without_labels_and_passes(model):
    stream, _ = streamed(model, three(300, 1))
    before = dict(stream.trace.passes)
    table = stream.estimate()
    assert list(table.columns) == COLUMNS
    assert table["estimator"].tolist() == [*PLAIN, *PLAIN]
    assert table["rows"].eq(300).all()
    assert table["truth"].isna().all()
    assert table["labels"].eq(0).all()
    assert (table["low"] < table["high"]).all()
    assert stream.trace.passes == before


def test_the_numbers_are_those_of_the_estimators_on_the_confidences_given(model):
    stream, answers = streamed(model, three(300, 1, shift=1.0))
    table = stream.estimate().set_index(["answers", "estimator"])
    for name in PLAIN:
        expected = ESTIMATORS[name](model.known_statistics().held_out).estimate(answers["confidence"].to_numpy(float))
        assert table.loc[("served", name), "value"] == pytest.approx(expected.value)


def test_labels_bring_the_truth_by_their_weights_and_a_better_estimate(model):
    frame = three(400, 2, shift=1.5, gain=0.4)
    stream, answers = streamed(model, frame)
    ids = stream.ask(40)
    weights = dict(zip(stream.kept.ids, stream.kept.weights.tolist(), strict=True))
    stream.feedback(ids[:30], frame["y"][ids[:30]])
    table = stream.estimate()
    right = (answers["prediction"].iloc[ids[:30]].to_numpy() == frame["y"].iloc[ids[:30]].to_numpy()).astype(float)
    w = np.array([weights[i] for i in ids[:30]])
    assert first(table)["estimator"] == "delayed"
    assert first(table)["truth"] == pytest.approx((w * right).sum() / w.sum())
    assert first(table)["truth_low"] < first(table)["truth"] < first(table)["truth_high"]
    assert table["labels"].eq(30).all()


def test_labels_that_nobody_drew_are_no_truth_unless_they_came_at_random(model):
    frame = three(300, 3)
    stream, _ = streamed(model, frame)
    stream.feedback(range(10), frame["y"][:10])
    assert stream.estimate()["labels"].eq(0).all()
    stream.feedback(range(10, 30), frame["y"][10:30], at_random=True)
    assert stream.estimate()["labels"].eq(20).all()


def test_the_past_is_judged_as_it_was_answered(model):
    frame = three(200, 4, shift=1.5, gain=0.4)
    stream, answers = streamed(model, frame, adapt="restandardise", guard="always")
    later = stream.predict(inputs(frame))["prediction"]
    assert (later.to_numpy() != answers["prediction"].to_numpy()).any()
    stream.feedback(range(200), frame["y"], at_random=True)
    right = answers["prediction"].to_numpy() == frame["y"].to_numpy()
    assert first(stream.estimate())["truth"] == pytest.approx(right.mean())


def test_the_source_is_known_only_where_it_was_asked(model):
    frame = three(200, 5, shift=1.0)
    alone, _ = streamed(model, frame, guard="always", adapt="restandardise")
    both, answers = streamed(model, frame, guard="always", adapt="restandardise", compare=True)
    assert first(alone.estimate(), "source")["rows"] == 0
    assert np.isnan(first(alone.estimate(), "source")["value"])
    assert first(both.estimate(), "source")["rows"] == 200
    assert first(both.estimate(), "source")["value"] != first(both.estimate())["value"]
    both.feedback(range(200), frame["y"], at_random=True)
    truth = (answers["source_prediction"].to_numpy() == frame["y"].to_numpy()).mean()
    assert first(both.estimate(), "source")["truth"] == pytest.approx(truth)


def test_memory_is_bounded(model):
    answered = Answered(model, keep=100)
    logits = torch.randn(500, 3)
    for start in range(0, 10_000, 500):
        answered.add(range(start, start + 500), logits, logits, np.full(500, 0.5))
    assert answered.rows == 10_000
    assert len(answered.waiting) == 100
    assert {len(values) for values in answered.sure.values()} == {WINDOW}
    assert list(answered.waiting) == list(range(9900, 10_000))
    assert len(answered.points) == 20
    answered.take(list(range(9000, 9990)), torch.zeros(990, dtype=torch.long), np.ones(990))
    assert len(answered.late) == 90


def test_the_estimate_of_a_long_call_is_of_all_its_rows(model):
    answered, apart = Answered(model, keep=100), Answered(model, keep=100)
    sure = np.repeat([0.9, 0.5], [3 * WINDOW, WINDOW])
    logits = torch.randn(len(sure), 3)
    answered.add(range(len(sure)), logits, None, sure)
    apart.add(range(WINDOW), logits[:WINDOW], None, sure[-WINDOW:])
    (whole,), (end,) = answered.points, apart.points
    assert whole["served"]["rows"] == len(sure)
    assert whole["served"]["value"] > end["served"]["value"] + 0.1
    assert len(answered.seen("served").confidence) == WINDOW


def test_goes_on_after_it_was_saved(model, tmp_path):
    frame = three(300, 6, shift=1.0)
    stream, _ = streamed(model, frame, guard="always", adapt="restandardise", compare=True)
    ids = stream.ask(20)
    stream.feedback(ids[:10], frame["y"][ids[:10]])
    stream.save(tmp_path / "s", rows=True)
    again = Stream.load(model, tmp_path / "s")
    pd.testing.assert_frame_equal(again.estimate(), stream.estimate())
    for one in (again, stream):
        one.feedback(ids[10:], frame["y"][ids[10:]])
    pd.testing.assert_frame_equal(again.estimate(), stream.estimate())
    assert json.dumps(again.answered.record()) == json.dumps(stream.answered.record())


def test_a_stream_saved_before_estimates_were_kept_still_loads(model, tmp_path):
    stream, _ = streamed(model, three(100, 6))
    stream.save(tmp_path / "s")
    path = tmp_path / "s" / "stream.json"
    described = json.loads(path.read_text())
    del described["answered"]
    path.write_text(json.dumps(described))
    assert Stream.load(model, tmp_path / "s").estimate()["rows"].eq(0).all()


def test_a_run_of_an_earlier_version_says_that_it_must_be_trained_again(model):
    old = SimpleNamespace(output=model.output, statistics=dataclasses.replace(model.statistics, held_out=None))
    answered = Answered(old, keep=10)
    answered.add([1], torch.zeros(1, 3), None, [0.5])
    assert answered.record() == {}
    with pytest.raises(DataError, match="Train it again"):
        answered.estimates()


def test_numbers_have_no_accuracy(regression):
    stream = regression.stream()
    stream.predict(frame_of(regression, 50).drop(columns="z"))
    assert stream.record()["estimates"] == {}
    with pytest.raises(ConfigError, match=r"'number'.*expected classes"):
        stream.estimate()


def test_dropout_costs_passes_and_leaves_the_model_alone(model):
    stream, _ = streamed(model, three(150, 7))
    drawn = torch.random.get_rng_state()
    table = stream.estimate(dropout=4, newest=100)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    row = table[table["estimator"] == "dropout"]
    assert row["rows"].tolist() == [100, 100]
    assert stream.trace.passes["estimating"] == 2 * 100 * 5
    again = under_dropout(model, None, batch_of(model, 40), 3)
    assert not torch.equal(again[0], again[1])
    assert torch.equal(
        under_dropout(model, None, batch_of(model, 40), 1, rate=0.0)[0], model.logits(batch_of(model, 40))
    )


def test_members_of_an_ensemble_disagree(ensemble):
    assert len(ensemble.report["agreement"]) == 3
    frame = three(200, 8, shift=1.0)
    stream, answers = streamed(ensemble.members[0], frame)
    table = stream.estimate(beside=ensemble, newest=200).set_index(["answers", "estimator"])
    others = [m.predict(inputs(frame))["prediction"].to_numpy() for m in ensemble.members[1:]]
    same = np.mean([other == answers["prediction"].to_numpy() for other in others])
    assert table.loc[("served", "seeds"), "value"] == pytest.approx(same)
    found = table.loc[("source", "line")]
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    one = stream.estimate(beside=ensemble.members[1])
    assert "line" not in one["estimator"].tolist()
    assert "seeds" in one["estimator"].tolist()


def test_a_model_that_cannot_be_compared_is_refused(model, images):
    stream, _ = streamed(model, three(100, 9))
    scaled = aet.train(three(100, 11, shift=2.0, gain=3.0), target="y", config=quick(epochs=1, dim=8))
    for other in (images, scaled):
        with pytest.raises(ConfigError, match="reads rows otherwise"):
            stream.estimate(beside=other)
    with pytest.raises(ConfigError, match="agrees with itself"):
        stream.estimate(beside=model)
    with pytest.raises(ConfigError, match="0 passes or more"):
        stream.estimate(dropout=-1)


def test_of_a_replayed_stream_the_whole_truth_is_known(model):
    frame = three(500, 10, shift=1.0)
    result = replay(model, [("one", frame)], labels=8, adapt="source")
    points = result.record["estimates"]["points"]
    assert [point["row"] for point in points] == [256, 500]
    right = np.concatenate(result.scores.hits["served"])
    for point in points:
        inside = right[point["start"] : point["row"]]
        assert point["truth"]["served"]["value"] == pytest.approx(inside.mean())
        assert point["served"]["rows"] == len(inside)
    assert {entry["answers"] for entry in result.record["estimates"]["now"]} == set(SIDES)
    assert all(entry["truth"] == pytest.approx(right.mean()) for entry in result.record["estimates"]["now"])
    json.dumps(result.record["estimates"], allow_nan=False)
