"""A model's own watch: what training keeps for it, old run folders, and every sort of answer."""

import numpy as np
import pandas as pd
import pytest

import aet
from aet.monitoring.advice import advise
from aet.summaries import summaries
from aet.watched import VIEWED, facts, see, watch

from .made import mixed, quick, signs


@pytest.fixture(scope="module")
def model():
    return aet.train(mixed(300), target="y", kinds={"text": "text"}, config=quick(3))


def test_training_keeps_sketches_of_training_and_held_out_rows(model):
    kept = model.statistics.watch
    assert set(kept.columns.names) == {"number", "flat", "category", "text"}
    assert kept.answers.names == ("class", "confidence")
    assert kept.errors.rows == kept.answers.rows == kept.features.rows == model.statistics.held_out.rows
    assert kept.columns.rows + kept.errors.rows == 300
    assert len(kept.view.center) == summaries(model, model.encode(model.check(mixed(2)).frame))[0].shape[1]
    assert kept.columns.rows <= VIEWED


def test_clean_rows_raise_nothing_and_each_change_is_named(model):
    own = watch(model)
    for seed in range(1, 4):
        assert see(own, model, mixed(60, seed)) == []
    report = own.report()
    assert {group["reference"] for group in report["groups"].values()} == {"source"}
    assert report["rows"] == 180
    assert 0 < report["estimate"]["value"] <= 1
    for column, value in {"number": 30.0, "category": "moon", "text": "word " * 60}.items():
        found = see(watch(model), model, mixed(60, 4).assign(**{column: value}))
        assert found[0].kind == "input"
        assert found[0].names[0] == column


def test_a_saved_model_watches_alike(model, tmp_path):
    again = aet.load(model.save(tmp_path / "run"))
    moved = mixed(80, 5)
    moved["number"] += 3
    one, two = watch(model), watch(again)
    assert [s.text for s in see(one, model, moved)] == [s.text for s in see(two, again, moved)] != []
    assert one.report() == two.report()


def test_how_many_rows_come_at_a_time_hardly_matters(model):
    moved = mixed(60, 6)
    moved["number"] += 1.5
    rows = []
    for piece in (1, 7, 60):
        own = watch(model)
        found = [s for start in range(0, 60, piece) for s in see(own, model, moved[start : start + piece])]
        rows.append(min(s.row for s in found if s.kind == "input"))
    assert max(rows) - min(rows) < 10


def test_a_run_of_an_earlier_version_learns_from_its_first_rows(model, tmp_path):
    known, model.statistics.watch = model.statistics.watch, None
    try:
        old = aet.load(model.save(tmp_path / "old"))
    finally:
        model.statistics.watch = known
    assert old.statistics.watch is None
    own = watch(old, first=80)
    assert see(own, old, mixed(120, 7)) == []
    groups = own.report()["groups"]
    assert {group["reference"] for group in groups.values()} == {"first rows"}
    assert groups["columns"]["learning"] == 0
    found = see(own, old, mixed(80, 8).assign(number=30.0))
    assert found[0].kind == "input"
    assert "the stream's first rows" in found[0].text


def test_an_updated_model_keeps_what_it_was_judged_on_and_learns_columns_anew(model):
    config = {"train": {**quick(2)["train"], "keep_rows": 50}}
    first = aet.train(signs(160), target="y", config={**quick(2), **config})
    grown = first.update(signs(80, 1)).model
    kept = grown.statistics.watch
    assert kept.columns is None
    assert kept.answers is not None
    own = watch(grown, first=50)
    see(own, grown, signs(60, 2))
    assert own.report()["groups"]["columns"]["reference"] == "first rows"
    assert own.report()["groups"]["answers"]["reference"] == "source"


@pytest.mark.parametrize("kind", ["number", "several"])
def test_other_answers_are_watched_too(kind):
    frame = signs(200)
    frame["z"] = frame["a"] * 2
    target = "z" if kind == "number" else ["y", "z"]
    rows = frame if kind == "several" else frame.drop(columns="y")
    made = aet.train(rows, target=target, config=quick(2), output=kind)
    own = watch(made)
    assert see(own, made, signs(60, 1)) == []
    assert see(own, made, signs(60, 2).assign(a=9.0))[0].kind == "input"


def test_rows_kept_aside_are_not_seen(model):
    rows = pd.concat([mixed(5, 9), mixed(5, 9).assign(number="none")], ignore_index=True)
    own = watch(model)
    see(own, model, rows)
    assert own.rows == 5
    assert np.isfinite(own.report()["kernel"]["mmd"])


def test_a_stream_and_its_watch_give_the_facts_of_an_advice():
    frame = signs(300)
    model = aet.train(frame[:200], target="y", config=quick(6))
    stream, own = model.stream(adapt="restandardise"), watch(model)
    before = facts(stream, own)
    assert (before.estimate, before.measured, before.gain, before.classes) == (None, None, None, 2)
    assert before.train_seconds > 0
    moved = frame[200:].assign(a=lambda rows: rows["a"] + 6)
    see(own, model, moved)
    stream.predict(moved[["a", "b"]])
    ids = stream.ask(40)
    stream.feedback(ids, moved["y"].to_numpy()[[int(i) for i in ids]])
    now = facts(stream, own)
    assert "input" in now.signals
    assert now.measured.rows == 40
    assert now.measured.low < now.measured.value < now.measured.high
    assert now.gain[1] <= now.gain[0] <= now.gain[2]
    assert now.adapt_seconds > 0
    assert "measured on 40 labels" in advise(now).why
