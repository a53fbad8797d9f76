"""Small parts of the charts: scales, ticks, labels, bars, and colours that everyone can tell apart."""

from __future__ import annotations

import re
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aet.report import bars, charts
from aet.report.page import resource
from aet.report.plot import frame
from aet.report.sections import part_spans, serving, shorten
from aet.report.svg import Scale, clip, extent, label, spread, tag, text_width, thin, ticks
from aet.report.text import Metric, compact, duration, signed, volume
from tests.report.record import make_record

finite = st.floats(-1e9, 1e9, allow_nan=False)


@given(finite, st.floats(1e-6, 1e9), st.integers(1, 12))
def test_ticks_are_few_round_and_inside(low, width, most):
    high = low + width
    marks = ticks(low, high, most)
    assert len(marks) <= most / 0.7 + 2
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert all(low - slack <= m <= high + slack for m in marks)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_spread_keeps_labels_apart_and_in_order(wanted):
    places = spread(wanted, 10, 0, 100)
    by_wish = [places[i] for i in sorted(range(len(wanted)), key=lambda i: wanted[i])]
    assert all(b - a >= 10 - 1e-6 for a, b in pairwise(by_wish))
    assert max(places) <= 100 + 1e-6


@given(st.text(max_size=60), st.floats(20, 300))
def test_clipped_words_fit(words, width):
    shown = clip(words, width)
    assert text_width(shown) <= width or shown == "…"
    assert shown == words or shown.endswith("…")


def test_scale():
    assert Scale(1, 100, 0, 10, log=True)(10) == pytest.approx(5)
    assert Scale(0, 1, 0, 10)(7) == 10
    assert Scale(3, 3, 0, 10)(3) == 5


def test_extent_of_nothing_and_of_one():
    assert extent([None, None]) == (0.0, 1.0)
    low, high = extent([0.7])
    assert low < 0.7 < high


def test_thin_keeps_both_ends():
    points = [(float(i), None) for i in range(1000)]
    kept = thin(points, 50)
    assert len(kept) == 50
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_very_many_spans_are_drawn_as_stretches_without_gaps():
    ribbon = [(float(i), i + 1.0, ("source", "proposal")[i % 3 > 0 or i > 300]) for i in range(600)]
    drawn = charts.coarse(ribbon, 40)
    assert len(drawn) <= 40
    assert (drawn[0][0], drawn[-1][1]) == (0, 600)
    assert all(a[1] == b[0] for a, b in pairwise(drawn))
    assert drawn[-1][2] == "proposal"
    assert charts.coarse(ribbon[:9], 40) == ribbon[:9]


def test_marks_have_room():
    assert len(charts.fitting(range(5000), 920)) == 920 // charts.MARK
    assert charts.fitting([1, 2], 342) == [1, 2]


def test_svg_escapes():
    assert tag("g", id='a"b<') == '<g id="a&quot;b&lt;"/>'
    assert label(0, 0, "<b>", said="&") == '<text x="0" y="0" class="label">&lt;b&gt;<title>&amp;</title></text>'


def test_a_line_breaks_at_unknown_values_and_a_lone_point_shows():
    plot = frame(200, 100, (0, 10), (0, 1))
    assert plot.line([(0, 0.1), (1, 0.2), (2, None), (3, 0.4), (4, 0.5)], "served").count("M") == 2
    assert "lone" in plot.line([(0, None), (1, 0.2)], "served")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (1e-7, "1e−07"),
        (0.0451, "0.045"),
        (0.5, "0.500"),
        (12.34, "12.3"),
        (98765, "98,765"),
        (-2.5, "−2.50"),
    ],
)
def test_compact(value, shown):
    assert compact(value) == shown


def test_numbers_with_units():
    assert signed(-0.04) == "0.0"
    assert volume(999) == "999\u00a0B"
    assert volume(2_500_000) == "2.5\u00a0MB"
    assert duration(3661) == "1\u00a0h 1\u00a0min"
    assert duration(0.004) == "0.0040\u00a0s"


def test_metric_knows_its_direction():
    assert Metric("rmse").gain(2.0, 1.5) == 0.5
    assert Metric("accuracy").gain(0.5, 0.75) == 0.25
    assert Metric("accuracy").change(-0.031) == "−3.1"
    assert Metric("mae").change(0.25) == "+0.250"
    assert Metric("accuracy").change(0.00001) == "0.0"


def test_calibration_error_by_hand():
    bins = [
        {"confidence": 0.9, "accuracy": 0.7, "count": 30},
        {"confidence": 0.5, "accuracy": 0.6, "count": 10},
        {"confidence": None, "accuracy": 0.6, "count": 10},
    ]
    assert charts.errors({"source": bins}) == {"source": pytest.approx((30 * 0.2 + 10 * 0.1) / 40)}


def test_serving_follows_the_switches():
    guard = [
        {"row": 30, "serving": "proposal"},
        {"row": 10, "serving": "source"},
        {"row": 70, "serving": "source"},
    ]
    record = {"stream": {"rows": 100}, "guard": guard}
    assert serving(record) == [(0, 30, "source"), (30, 70, "proposal"), (70, 100, "source")]
    assert serving({"stream": {"rows": 100}}) == []


def test_part_spans():
    parts = [{"name": "batch2.csv", "rows": 10}, {"name": "batch10.csv", "rows": 5}]
    assert part_spans(parts) == [(0.0, 10.0, "batch2.csv", "2"), (10.0, 15.0, "batch10.csv", "10")]
    assert part_spans([{"name": "a", "rows": 10}, {"name": "b"}]) == []
    assert shorten(["same", "same"]) == ["same", "same"]
    assert shorten(["a", "ab"]) == ["a", "ab"]


def test_balance_shows_losses_as_losses():
    metric = Metric("accuracy")
    assert "bar lost" in bars.balance(920, 0.9, 0.8, 0.95, metric)
    won = bars.balance(920, 0.6, 0.8, 0.95, metric)
    assert "bar lost" not in won
    assert "won back 20.0" in won
    assert "still lost 15.0" in won


@pytest.mark.parametrize(("low", "high", "class_"), [(-3, -1, "bar served"), (2, 3, "bar lost"), (-1, 3, "bar source")])
def test_interval_is_coloured_by_what_it_says(low, high, class_):
    assert class_ in bars.interval((low + high) / 2, low, high, 1.0)


def test_rare_categories_are_summed():
    entry = {"column": "c", "source_shares": {f"k{i}": 0.1 for i in range(10)}, "stream_shares": {"k0": 1.0}}
    drawn = bars.shares_chart(440, entry)
    assert "4\u00a0others: 40.0" in drawn


def test_labels_stay_inside_their_charts():
    record = make_record()
    chart = charts.accuracy_chart(920, record["curve"], part_spans(record["parts"]), [], [], Metric("accuracy"))
    height = float(re.search(r'viewBox="0 0 920 (\d+)"', chart)[1])
    places = re.findall(r'<text x="([\d.-]+)" y="([\d.-]+)"[^>]*?(?:text-anchor="(\w+)")?>([^<]*)', chart)
    assert len(places) > 15
    for x, y, anchor, words in places:
        width = text_width(words)
        left = float(x) - {"end": width, "middle": width / 2}.get(anchor, 0)
        assert left >= -2, words
        assert left + width <= 922, words
        assert 0 < float(y) <= height, words


def colours(scheme: str) -> dict[str, str]:
    light, dark = resource("style.css").split("@media (prefers-color-scheme: dark)")[:2]
    block = light if scheme == "light" else dark.split("}")[0]
    return dict(re.findall(r"--([\w-]+): (#\w{6})", block))


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    bright = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (bright[1] + 0.05) / (bright[0] + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    f = np.cbrt(np.clip(to_xyz @ rgb / [0.9505, 1.0, 1.089], 1e-4, None))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
SIGHT = {
    "usual": np.eye(3),
    "protan": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deutan": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6728, 0.0471], [-0.0118, 0.0430, 0.9689]],
    "tritan": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0048, 0.6914, 0.3039]],
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_marks_have_contrast(scheme):
    c = colours(scheme)
    for ink in ("ink", "soft", "muted", "source-ink", "proposal-ink", "served-ink", "stream", "lost"):
        assert contrast(c[ink], c["paper"]) >= 4.5, ink
    for mark in ("source", "proposal", "served"):
        assert contrast(c[mark], c["paper"]) >= 3, mark
    for bar in ("source", "served", "lost"):
        assert contrast(c["on-bar"], c[bar]) >= 4.5, bar


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("group", [("source", "proposal", "served"), ("source", "stream")], ids="+".join)
def test_colours_differ_for_every_eye(scheme, sight, group):
    c = colours(scheme)
    seen = {name: lab(np.clip(np.asarray(SIGHT[sight]) @ linear(c[name]), 0, 1)) for name in group}
    for a, b in combinations(group, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 15, (a, b)
