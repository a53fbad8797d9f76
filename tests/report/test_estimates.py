"""The report's section on estimated accuracy."""

from __future__ import annotations

import math

from aet.report.estimates import estimates, sentence
from aet.report.page import render
from aet.report.text import Metric
from tests.report.record import make_record

ACCURACY = Metric("accuracy")


def side(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "rows": 200}


def held(points=20, known=True):
    rows = [
        {
            "start": 200 * k,
            "row": 200 * (k + 1),
            "served": side(0.9 - 0.02 * k),
            "source": side(0.85),
            "truth": {"served": {"value": 0.88 - 0.02 * k if known else None}},
        }
        for k in range(points)
    ]
    now = {"answers": "served", "estimator": "doc", **side(0.5), "truth": 0.48 if known else None, "labels": 400}
    return {"estimator": "doc", "points": rows, "now": [now]}


def test_the_page_shows_estimate_and_truth():
    page = render({**make_record(), "estimates": held()})
    assert 'id="estimates"' in page
    assert "How good is it, as far as one can tell?" in page
    assert "difference of confidences" in page
    assert page.count('class="flow"') >= 2


def test_without_estimates_there_is_no_section():
    assert 'id="estimates"' not in render({**make_record(), "estimates": {}})
    assert estimates({"estimates": {}}, ACCURACY) == ""


def test_a_stream_without_labels_says_so():
    record = {"estimates": held(known=False)}
    assert "No true answer is known yet." in sentence(record)
    assert ">truth<" not in estimates(record, ACCURACY).split("<table>")[0]


def test_the_sentence_counts_what_intervals_held():
    record = {"estimates": held(4)}
    record["estimates"]["points"][0]["truth"]["served"]["value"] = 0.5
    said = sentence(record).replace("\u00a0", " ")
    assert "Over 4 stretches" in said
    assert "75 % of the intervals held the truth" in said


def test_unknown_figures_are_dashes():
    record = {"estimates": held(3)}
    record["estimates"]["points"][1]["served"] = {"value": math.nan, "low": None, "high": None}
    record["estimates"]["now"][0] |= {"value": None, "low": None, "high": None, "truth": None}
    shown = estimates(record, ACCURACY)
    assert "nan" not in shown.lower()
    assert "– to –" in shown


def test_a_short_stream_has_its_table_alone():
    shown = estimates({"estimates": {**held(), "points": []}}, ACCURACY)
    assert "<table>" in shown
    assert "<svg" not in shown


def test_a_long_stream_stays_small():
    assert len(estimates({"estimates": held(2000)}, ACCURACY)) < 300_000
