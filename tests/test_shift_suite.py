"""The pieces of the shift suite, on a table made for it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import aet
from aet.adaptation import Feedback
from aet.errors import DataError
from tests.adaptation.models import three
from tests.made import quick

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import shift
import shift_models
import shift_run
from common import Record, beside, write
from shift_data import DATA, Recipe, Shift, eras, halves, levels, spread
from shift_picture import draw
from shift_table import agreement, gap_closed, records, show


def tiny(seed):
    parts = [("near", three(160, seed=1, shift=1.0)), ("far", three(160, seed=2, shift=4.0, gain=2.0))]
    served, oracle = halves(parts, seed)
    streams = {
        "reset": Recipe("reset_each_shift", quick=True),
        "again": Recipe("recurring", ("far",), {"visits": 2}, rows=40, quick=True),
        "long": Recipe("continual"),
    }
    return Shift(three(200), "y", {"config": quick(epochs=4, dropout=0.0)}, served, oracle, streams)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Trained once for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shift_models, "MODELS", tmp_path_factory.mktemp("models"))
        patch.setitem(DATA._entries, "tiny", tiny)
        # Labels are learned in earnest elsewhere; here it matters which come when.
        patch.setattr(shift_run, "tuned", partial(shift_run.tuned, steps=10))
        for name in ("steps", "steps_a_label"):
            patch.setitem(Feedback.defaults, name, 5)
        yield


@pytest.fixture(scope="module")
def found(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "made_quick.partial.jsonl"
    return shift.one_task("tiny", 0, True, path, {}), path


def case(models, recipe="reset"):
    made = tiny(0)
    return shift.case_of(made, made.streams[recipe], 0)[0]


def test_halves_are_disjoint_and_keep_their_order():
    rows = pd.DataFrame({"row": range(101)})
    served, oracle = halves([("a", rows[:60]), ("b", rows[60:])], seed=3)
    seen = [frame["row"].tolist() for _, frame in served]
    assert [len(rows) for rows in seen] == [30, 20]
    assert all(rows == sorted(rows) for rows in seen)
    assert sorted([*seen[0], *seen[1], *oracle["row"]]) == list(range(101))


def test_tables_in_time_order():
    rows = pd.DataFrame({"when": range(1000)})
    first, later = eras(rows, 0.3, parts=2, rows=100)
    assert (first["when"].max(), len(first)) == (299, 100)
    assert [(len(frame), frame["when"].min()) for _, frame in later] == [(50, 300), (50, 650)]
    assert spread(rows, 3)["when"].tolist() == [0, 500, 999]
    assert levels(pd.Series([1.0, 3.0, 2.0, 99.0]), early=3, classes=2)[2:].tolist() == ["level 0", "level 1"]


def test_a_model_is_trained_once(models, monkeypatch):
    made = tiny(0)
    one, weights = shift_models.cached(made.rows, "y", 0, made.training)

    def train(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(aet, "train", train)
    again, same = shift_models.cached(made.rows, "y", 0, made.training)
    assert weights == same
    assert all(np.array_equal(t, again.state_dict()[name], equal_nan=True) for name, t in one.state_dict().items())
    for other in ((made.rows[1:], "y", 0), (made.rows, "y", 1)):
        with pytest.raises(AssertionError, match="again"):
            shift_models.cached(*other, made.training)


def test_every_method_is_found_and_paired_with_the_source(found):
    figures, _ = found
    streams = {stream for _, stream, _ in figures}
    methods = {method for _, _, method in figures}
    assert streams == {"reset", "again"}
    assert {"auto", "align", "eata", "auto: served", "auto, 16 labels: served", "full fine-tuning"} <= methods
    for (_, stream, method), own in figures.items():
        assert own["accuracy"] - own["source"] == pytest.approx(-own["harm"]), method
        assert own["low"] <= own["harm"] <= own["high"]
        assert own["rows"] == (160 if stream == "reset" else 80)
        assert ("last less first" in own) == (stream == "again")
    assert figures["tiny", "reset", "auto: served"]["harm"] == 0, "so few rows were not rehearsed with"
    assert figures["tiny", "reset", "align"]["forwards"] == 4
    assert figures["tiny", "reset", "auto"]["oracle"] > figures["tiny", "reset", "auto"]["source"] + 5


def test_what_is_done_is_not_done_again(found, monkeypatch):
    figures, path = found

    def tried(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(shift, "tried", tried)
    monkeypatch.setattr(shift, "together", tried)
    assert shift.one_task("tiny", 0, True, path, {}) == figures


def test_a_method_that_refuses_the_model_is_named(models, capsys):
    assert shift.tried(case(models), "dynamic", {}) == {"refused": 1.0}
    assert "dynamic is left out: 'dynamic' needs a model" in capsys.readouterr().err


def test_a_data_set_that_is_missing_is_named(monkeypatch, tmp_path):
    def missing(seed):
        raise DataError("not installed")

    monkeypatch.setitem(DATA._entries, "missing", missing)
    assert shift.one_task("missing", 0, True, None, {}) == "not installed"


def test_the_source_alone_loses_nothing_and_costs_one_pass(models):
    own = shift_run.alone(case(models, "long"), "source", {})
    assert (own["harm"], own["low"], own["high"], own["worst window"], own["moved"]) == (0, 0, 0, 0, 0)
    assert own["forwards"] == 1


def test_methods_start_afresh_at_resets(models):
    whole = case(models)
    parts = whole.scenario.segments()
    assert len(parts) == 2
    own = shift_run.alone(whole, "tent", {})
    halves_of = [shift_run.alone(piece(whole, *span), "tent", {}) for span in parts]
    assert own["accuracy"] == pytest.approx(np.mean([half["accuracy"] for half in halves_of]))


def piece(whole, start, end):
    rows = np.arange(start, end)
    return shift_run.replace(whole, scenario=whole.scenario.take(rows), due=whole.due[start:end] - start)


def test_labels_are_sixteen_in_five_hundred_rows_and_late():
    for rows in (100, 500, 1300):
        plan = list(shift_run.asked_in(0, rows))
        assert sum(count for _, count, _ in plan) == pytest.approx(16 * rows / 500, abs=1)
        assert [at for at, _, _ in plan] == sorted(at for at, _, _ in plan)
        assert all(newest <= at <= rows for at, _, newest in plan)


def test_late_labels_train_auto_and_peers(models):
    whole = case(models, "long")
    proposal, _, came = shift_run.served(whole, labels=True)
    rows = [row for _, new in came for row in new]
    assert len(rows) == len(set(rows)) == proposal["labels"] == 5
    assert all(whole.due[row] <= at for at, new in came for row in new)
    assert proposal["moved"] > 0
    tuned = shift_run.with_labels(whole, came, shift.WITH_LABELS["full fine-tuning"])
    assert tuned["accuracy"] != tuned["source"]
    assert shift_run.with_labels(whole, [], shift.WITH_LABELS["last layer"])["accuracy"] == tuned["source"]


def test_costly_methods_answer_some_rows(models):
    whole = case(models)
    some = whole.some(50)
    assert len(some.scenario) == 50
    assert len(some.scenario.segments()) == 2
    assert np.isin(some.source, (0, 100)).all()
    assert whole.some(5000) is whole
    assert all(due >= at + 1 or due == 50 for at, due in enumerate(some.due))


def test_the_code_of_a_method_is_part_of_its_key():
    codes = [shift_run.code_of(f"aet.adaptation.methods.{name}") for name in ("tent", "prior", "auto", "tent")]
    assert len(set(codes)) == 3
    assert codes[0] == codes[3]


def test_gap_closed():
    figures = {"source": 60.0, "oracle": 80.0}
    assert gap_closed({**figures, "accuracy": 75.0}) == 75
    assert gap_closed({**figures, "accuracy": 20.0}) == -100
    assert gap_closed({**figures, "accuracy": 99.0}) == 100
    assert gap_closed({"source": 60.0, "oracle": 64.9, "accuracy": 64.0}) is None


def test_tables_picture_and_agreement(found, tmp_path, capsys):
    figures, _ = found
    worse = {key: {**own, "accuracy": own["accuracy"] - 1, "harm": own["harm"] + 1} for key, own in figures.items()}
    made = records([figures, {**worse, ("tiny", "reset", "dynamic"): {"refused": 1.0}}])
    by = {(r.method, r.stream, r.metric): r for r in made}
    harm = by["eata", "reset", "harm"]
    assert (harm.seeds, harm.value) == (2, pytest.approx(figures["tiny", "reset", "eata"]["harm"] + 0.5))
    low, mean, high = (by["mixture", "reset", f"harm{side}"].value for side in (" low", "", " high"))
    assert low < mean < high
    assert by["eata", "worst of 2 streams", "harm"].value >= harm.value
    assert ("dynamic", "reset", "refused") in by
    show(made)
    assert "refused" in capsys.readouterr().out
    draw(made, tmp_path / "made.svg")
    assert "full fine-tuning" in (tmp_path / "made.svg").read_text(encoding="utf-8")
    rows = [{"task": "all", "method": m, "metric": "gap_closed", "value": ord(m)} for m in "abc"]
    (tmp_path / "made_quick.json").write_text(json.dumps(rows), encoding="utf-8")
    assert agreement(tmp_path / "made_quick.json") is None
    (tmp_path / "made.json").write_text(json.dumps(rows), encoding="utf-8")
    assert agreement(tmp_path / "made_quick.json") == "rank correlation of quick and full: 1.00 over 3 methods"


def test_real_tables(real_data):
    real_data("wall_following_robot")
    made = DATA["wall robot"](0)
    assert list(made.rows.columns) == list(made.oracle.columns)
    assert len(made.served) == 2


@pytest.mark.parametrize("name", ["tweets to reviews", "news to other names"])
def test_texts_and_tags_are_streams_too(models, name):
    try:
        made = DATA[name](0)
    except DataError as error:
        pytest.skip(str(error))
    assert made.streams["own order"].quick
    config = {
        **made.training["config"],
        "train": {"epochs": 1, "rehearsals": 0},
        "model": {"dim": 8, "depth": 1, "heads": 2},
    }
    few = [(part, frame.head(30)) for part, frame in made.served[:2]]
    small = replace(
        made,
        rows=made.rows.head(60),
        oracle=made.oracle.head(40),
        served=few,
        training={**made.training, "config": config},
    )
    case, _ = shift.case_of(small, Recipe("as_filed"), 0)
    proposal, answers, came = shift_run.served(case, labels=True)
    assert proposal["rows"] == 60
    assert answers["labels"] == sum(len(rows) for _, rows in came) > 0


def test_records_of_other_tasks_stay(tmp_path):
    path = tmp_path / "some.json"
    write([Record("text", "a", "aet", "accuracy", 1.0), Record("text", "b", "aet", "accuracy", 2.0)], path)
    kept = beside([Record("text", "b", "aet", "accuracy", 3.0)], path)
    assert [(record.task, record.value) for record in kept] == [("a", 1.0), ("b", 3.0)]
    assert len(beside(kept, None)) == 2
