"""Histories as cells: what is read, what is put in order and told, and what is kept aside with a sentence."""

import datetime
import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest

from aet.cells import CELLS, Faults
from aet.cells.events import HistoryWarning
from aet.cells.words import objects
from aet.rows import check_rows
from aet.schema import SchemaWarning, infer
from aet.tables import read_table

KNOWN = [{"item": "a", "time": 1.0}, {"item": 7, "time": 2.0, "price": 3.5}]


def checked(cells):
    """The typed cells, and the sentences of the bad ones."""
    column = pd.Series(objects(cells), name="history")
    faults = Faults(len(column), 1, training=False, infinite="quarantine", mends={})
    return list(CELLS["events"].check(column, faults)), faults.texts


def items(history):
    return [event["item"] for event in history]


def frame(cells):
    return pd.DataFrame({"history": objects(cells), "next": ["a", "b"] * (len(cells) // 2)})


def test_histories_are_found_by_themselves_as_lists_and_as_json_text():
    for cells in ([KNOWN, []], [json.dumps(KNOWN), "[]"]):
        schema = infer(frame(cells), "next", output="rank")
        assert [(spec.name, spec.kind) for spec in schema.inputs] == [("history", "events")]


def test_plain_ids_are_histories_where_that_is_said():
    schema = infer(frame([["x", "y"], ["x"]]), "next", kinds={"history": "events"}, output="rank")
    assert schema.inputs[0].kind == "events"
    assert [items(cell) for cell in checked([["x", "y"], [3, 4.0], "[5]"])[0]] == [["x", "y"], [3, 4], [5]]


def test_lists_of_texts_stay_words():
    with pytest.warns(SchemaWarning, match="words"):
        schema = infer(frame([["x", "y"], ["x"]]).assign(n=1.0), "next", output="label")
    assert "history" in schema.ignored


def test_a_missing_or_empty_history_is_one_without_an_event():
    cells, wrong = checked([[], None, np.nan, "[]"])
    assert cells == [[], [], [], []]
    assert not wrong


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (3, "3"),
        ("bought a hat", "bought a hat"),
        ("[1, ", r"\[1,"),
        ([{"time": 3}], "the event"),
        ([{"item": None}], "the event"),
        ([float("nan")], "the event a missing value"),
        ([[1]], "the event"),
        ([{"item": 1, "time": "yesterday"}], "the time 'yesterday'"),
        ([{"item": 1, "time": float("inf")}], "the time inf"),
    ],
)
def test_what_is_no_history_is_kept_aside_with_a_sentence(cell, shown):
    cells, wrong = checked([KNOWN, cell])
    assert items(cells[0]) == ["a", 7]
    assert list(wrong) == [1]
    assert re.search(f"row 2, column 'history': expected a list of events.*got.*{shown}", wrong[1])


def test_unsorted_events_are_sorted_and_that_is_told():
    with pytest.warns(HistoryWarning, match=r"'history': 1 histories were not in order of time"):
        cells, _ = checked([[{"item": "b", "time": 20}, {"item": "a", "time": 10}], KNOWN])
    assert items(cells[0]) == ["a", "b"]


def test_events_of_one_time_and_without_a_time_keep_their_order():
    events = [{"item": 1, "time": 5}, {"item": 2, "time": 5}, {"item": 3}, {"item": 4, "time": 5}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cells, _ = checked([events])
    assert items(cells[0]) == [1, 2, 3, 4]
    assert [event["time"] for event in cells[0]] == [5.0, 5.0, None, 5.0]


def test_times_may_be_numbers_dates_and_texts_and_zones_may_differ():
    noon = datetime.datetime(2024, 5, 31, 12, tzinfo=datetime.UTC)
    events = [
        {"item": 1, "time": noon},
        {"item": 2, "time": noon.timestamp() + 1},
        {"item": 3, "time": "2024-05-31T14:00:02+02:00"},
        {"item": 4, "time": pd.Timestamp("2024-05-31 12:00:03")},
    ]
    cells, wrong = checked([events])
    assert not wrong
    assert [event["time"] - noon.timestamp() for event in cells[0]] == [0.0, 1.0, 2.0, 3.0]


def test_texts_with_and_without_a_zone_are_told_of():
    events = [{"item": 1, "time": "2024-05-31T14:00:00+02:00"}, {"item": 2, "time": "2024-05-31 12:00:01"}]
    with pytest.warns(HistoryWarning, match="1 times without a zone stand beside 1 with one and were read as UTC"):
        cells, _ = checked([events])
    assert cells[0][1]["time"] - cells[0][0]["time"] == 1.0


def test_given_events_are_left_as_they_were():
    events = [{"item": "b", "time": "2024-01-02"}, {"item": "a", "time": "2024-01-01", "price": None}]
    before = json.dumps(events)
    with pytest.warns(HistoryWarning):
        checked([events])
    assert json.dumps(events) == before


def test_files_hold_histories_as_json_text_and_as_lists(tmp_path):
    table = frame([KNOWN, []])
    table.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    uniform = [[{"item": "a", "time": 1.0}, {"item": "b", "time": 2.0}], []]
    frame(uniform).to_parquet(tmp_path / "rows.parquet")
    table.assign(history=table["history"].map(json.dumps)).to_csv(tmp_path / "rows.csv", index=False)
    for name, expected in (("jsonl", ["a", 7]), ("parquet", ["a", "b"]), ("csv", ["a", 7])):
        read = read_table(tmp_path / f"rows.{name}")
        schema = infer(read, "next", output="rank")
        good = check_rows(read, schema, need_target=True)
        assert [items(cell) for cell in good.frame["history"]] == [expected, []], name


def test_a_target_that_is_no_item_is_kept_aside():
    table = pd.DataFrame({"history": objects([KNOWN] * 3), "next": ["a", None, "b"]})
    good = check_rows(table, infer(table, "next", output="rank"), need_target=True)
    assert list(good.problems) == [1]
    assert "column 'next': expected the id of an item as the target, got a missing value" in good.problems[1]
