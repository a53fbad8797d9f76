"""What an update learned and forgot, beside retraining from scratch and fine-tuning on the new rows alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aet.report.blocks import note, section, table
from aet.report.text import Metric, count, duration, mapping, number, percent, signed

RUNS = {
    "before": "before",
    "update": "update",
    "scratch": "retrained from scratch",
    "fine_tuning": "fine-tuned on the new rows alone",
}
"""The runs of an update's record, and what people read."""
HEAD = ("run", "old rows", "new rows", "forgetting", "backward transfer", "time")


def update(record: Mapping[str, Any], metric: Metric) -> str:
    """A table, and in words how many rows were learned, replayed and held out; empty for a model never updated."""
    held = mapping(record, "update")
    runs = mapping(held, "runs")
    if not runs:
        return ""
    new, old = mapping(held, "new"), mapping(held, "old")
    rows = [[name, *cells(mapping(runs, key))] for key, name in RUNS.items() if key in runs]
    said = (
        f"{count(number(new.get('rows')))} new rows learned, {count(number(old.get('replayed')))} kept rows replayed."
    )
    added = ", ".join(map(str, new.get("classes") or ()))
    said += f" New classes: {added}." if added else ""
    about = (
        f"{held.get('score')} on {count(number(old.get('held')))} old and {count(number(new.get('held')))} new rows, "
        "none of them trained on. Forgetting and backward transfer in points: the score on old rows before less "
        "after, and the mean gain of earlier tasks since each was learned."
    )
    notes = "".join(note(str(words)) for words in (about, *(held.get("missing") or ())))
    return section("update", "The last update", said, table(HEAD, rows) + notes)


def cells(figures: Mapping[str, Any]) -> list[str]:
    """Figures of a run."""
    return [
        percent(number(figures.get("old"))),
        percent(number(figures.get("new"))),
        signed(number(figures.get("forgetting"))),
        signed(number(figures.get("backward_transfer"))),
        duration(number(figures.get("seconds"))),
    ]
