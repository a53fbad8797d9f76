"""What a report says first."""

from __future__ import annotations

import pytest

from aet.report import render
from aet.report.headline import answer, sentence
from tests.report.record import make_record


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "Drift cost this model 33.9 points of accuracy. | won back 20.6 of them, and serving was safe."),
        ({"harm": {"mean": 2, "low": 1.5, "high": 2.5}}, "; serving did harm."),
        ({"harm": {"mean": 0.2, "low": -1.5, "high": 2.5}}, "; whether serving was safe is still open."),
        (
            {"harm": {"mean": -9, "low": -10, "high": -8, "worst_window": 3.14, "window": 1000}},
            "worst 1,000 rows lost 3.1 points.",
        ),
        ({"harm": None}, "won back 20.6 of them."),
        ({"served": 0.5, "harm": None}, "adaptation lost 13.9 more."),
        ({"source": 0.98, "served": 0.99, "harm": None}, "cost this model no accuracy. | gained 1.0 points."),
        ({"source": 0.7, "served": 0.7, "harm": None}, "With 112 labels, what was served equals the source."),
    ],
)
def test_headline(change, words):
    record = make_record()
    record["summary"].update(change)
    said = sentence(answer(record)).replace("\u00a0", " ")
    begin, _, end = words.rpartition(" | ")
    assert begin in said
    assert said.endswith(end)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (
            "rmse",
            "Drift raised this model's RMSE by 0.400. With 112 labels, adaptation won back 0.300 of it.",
        ),
        ("r2", "Drift cost this model 0.400 of R². With 112 labels, adaptation won back 0.300 of it."),
    ],
)
def test_headline_of_other_metrics(metric, words):
    record = make_record()
    values = {"rmse": (1.0, 1.4, 1.1), "r2": (0.9, 0.5, 0.8)}[metric]
    record["model"].update(metric=metric, score=metric, valid={metric: values[0]})
    record["summary"] = {"source": values[1], "served": values[2]}
    assert sentence(answer(record)).replace("\u00a0", " ") == words
    assert '<div class="balance">' not in render(record)
