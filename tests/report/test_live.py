"""The page of a running server: what it says, what it lets whom do, and that nothing in it is taken for HTML."""

import re

import pytest

from aet.errors import DataError
from aet.report.forms import MOST_CHOICES
from aet.report.live import overview
from aet.report.live_stream import stream_page
from tests.report.live_record import make_controls, make_overview
from tests.report.record import make_record


def actions(page):
    return re.findall(r'<form method="post" action="([^"]*)"', page)


def test_an_admin_closes_alarms_and_changes_versions():
    page = overview(make_overview())
    assert "3 streams are served, and 2 alarms are open." in page
    each = ["/versions/promote", "/versions/shadow", "/versions/canary"]
    assert actions(page) == ["/alarms/close"] * 2 + each * 2 + ["/versions/back"]
    assert "form-action &#x27;self&#x27;" in page or "form-action 'self'" in page


def test_what_a_version_does_can_be_ended_and_is_said():
    line = {"model": "gas", "number": "2", "role": "shadow, canary", "share": 0.25}
    told = {"model": "gas", "version": "2", "rows": 1200, "agreement": 0.9}
    right = {"labels": 40, "accuracy": 0.95, "difference": 2.5, "low": -1.0, "high": 6.0}
    page = overview(make_overview(versions=[line], shadows=[{**told, **right}])).replace("\u00a0", " ")
    assert "shadow, canary, 25 % of the streams" in page
    assert re.findall(r"<button>(End \w+)", page) == ["End shadow", "End canary"]
    assert re.search(r'name="percent" type="number" min="1" max="99" value="25"', page)
    assert "90 % as they were answered; right in 95.0 % of 40 labels, +2.5 points" in page
    assert "(95 % interval −1.0 to +6.0)" in page
    assert actions(overview(make_overview(may="feedback", versions=[line]))) == []
    assert "answered no row yet" in overview(make_overview(shadows=[{"model": "gas", "version": "2", "rows": 0}]))


def test_others_only_look():
    page = overview(make_overview(may="predict"))
    assert actions(page) == []
    assert "Look at sensor s03" in page


def test_shares_are_weighted_by_what_they_rest_on():
    streams = [
        {"name": "a", "rows": 1, "truth": {"value": 1.0, "labels": 30}, "estimate": {"value": 0.5}},
        {"name": "b", "rows": 3, "truth": {"value": 0.0, "labels": 10}, "estimate": {"value": 0.9}},
    ]
    page = overview(make_overview(streams=streams)).replace("\u00a0", " ")
    assert "75.0<small>" in page or "75.0 %" in page
    assert "80.0 %" in page


def test_a_server_without_rows_says_what_comes_next():
    page = overview(make_overview(streams=[], alarms=[], versions=[], load={}))
    assert "no stream has sent a row yet" in page
    assert "makes its stream" in page


def test_every_word_is_escaped():
    record = make_overview(title="<b>x</b>")
    record["streams"][0]["name"] = record["alarms"][0]["text"] = record["versions"][0]["note"] = (
        '"><script>alert(1)</script>'
    )
    page = overview(record)
    assert "<script>alert" not in page
    assert "<b>x" not in page


def test_a_stream_is_labelled_undone_and_reset():
    page = stream_page(make_record(), make_controls())
    assert actions(page) == [f"/page/streams/plant/site-2/{act}" for act in ("labels", "ask", "undo", "reset")]
    assert page.count("<select") == 2
    assert 'name="id-0" value="4"' in page
    assert 'name="id-1" value="&quot;b&quot;"' in page
    assert "&lt;ethanol&gt;" in page
    assert "16 more columns" in page
    assert 'id="guard"' in page  # the report stands below


@pytest.mark.parametrize(("role", "expected"), [("predict", []), ("feedback", ["labels", "ask", "undo", "reset"])])
def test_a_role_sees_what_it_may_do(role, expected):
    page = stream_page(make_record(), make_controls(may=role))
    assert [action.rsplit("/", 1)[1] for action in actions(page)] == expected


def test_many_classes_are_suggested_and_none_is_a_free_answer():
    asked = {**make_controls()["asked"], "classes": list(range(MOST_CHOICES + 1))}
    page = stream_page(make_record(), make_controls(asked=asked))
    assert page.count('list="classes"') == 2
    assert page.count("<datalist") == 1
    assert "<select" not in page
    assert "<select" not in stream_page(make_record(), make_controls(asked={**asked, "classes": None}))


def test_every_field_has_a_label():
    page = stream_page(make_record(), make_controls()) + overview(make_overview())
    fields = re.findall(r'<(?:select|input) id="([^"]+)"', page)
    assert fields == ["label-0", "label-1", "share-gas-1", "share-gas-3"]
    for field in fields:
        assert f'<label for="{field}">' in page


def test_the_address_of_the_forms_is_needed():
    with pytest.raises(DataError, match="address of its forms"):
        stream_page(make_record(), {})


def test_what_to_do_stands_above_the_rows_with_what_it_rests_on():
    advice = {"act": "retrain", "why": "Accuracy is 70 %.", "expected_gain": 0.25, "low": 0.1, "high": 0.3}
    signal = {"kind": "input", "text": "Input drift: column '<s03>' ...", "since": 812}
    watch = {"rows": 1000, "left_out": 0, "signals": [signal]}
    page = stream_page(make_record(), make_controls(advice={**advice, "cost_rows_to_label": 180}, watch=watch))
    assert page.index('id="advice"') < page.index('id="asked"')
    assert "Retrain. Accuracy is 70" in page
    assert "+25 (+10 to +30)" in page
    assert "180" in page
    assert "column &#x27;&lt;s03&gt;&#x27;" in page
    hold = {"act": "hold", "why": "-"}
    quiet = stream_page(make_record(), make_controls(advice=hold, watch={"rows": 9, "left_out": 3}))
    assert "9 rows watched, 3 were not: no drift that is sure." in quiet.replace("\u00a0", " ")
    assert "--no-watch" in stream_page(make_record(), make_controls(advice=hold))
