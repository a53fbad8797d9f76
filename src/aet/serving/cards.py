"""The card of a model version: what it is, what it learned from, how it did. Markdown, for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aet.run import read_description

if TYPE_CHECKING:
    from aet.serving.compared import Comparison

CARD = "card.md"


def figures(folder: Path) -> dict[str, float]:
    """What the run's own held-out rows said when it was trained."""
    return {name: value for name, value in report_of(folder).get("valid", {}).items() if isinstance(value, int | float)}


def report_of(folder: Path) -> dict[str, Any]:
    """The record of the training; RunError for a folder that is no run."""
    return dict(read_description(folder).get("report", {}))


def card(folder: Path, title: str, made: str, note: str = "", beside: Comparison | None = None) -> str:
    """The card of a run folder, with its comparison with the version before where there is one."""
    described = read_description(folder)
    report, schema = dict(described.get("report", {})), dict(described["schema"])
    update = report.get("update")
    learned = f"{report.get('rows', 0):,} rows trained on, {report.get('quarantined', 0):,} kept aside as unusable"
    lines = [
        f"# {title}",
        "",
        f"- Made: {made}",
        f"- Answers: {', '.join(schema['targets'])} ({schema['output']})",
        f"- Learned from: {learned}" + (f"; update number {update['number']}" if update else ""),
        f"- Seed: {_seed(folder)}",
        f"- Note: {' '.join(note.split())}" if note else "- Note: none",
        "",
        "## Columns",
        "",
        *(f"- {part['name']} ({part['kind']})" for part in schema["inputs"]),
        "",
        "## On rows held out of its training",
        "",
        *_table(report.get("valid", {})),
        "",
        "## Beside the version before",
        "",
        *filter(None, (beside.text if beside else "Not compared.", forgot(report))),
        "",
        "## What it is not for",
        "",
        "These figures hold for rows like those that it learned from. In service, look at the accuracy on late labels.",
        "",
    ]
    return "\n".join(lines)


def forgot(report: Mapping[str, Any]) -> str:
    """What an update lost on old rows, in a sentence; empty for a model that was not updated, or without old rows."""
    found = report.get("update", {})
    figures = found.get("runs", {}).get("update", {})
    if "forgetting" not in figures:
        return "What it forgot is not known: no old rows were kept (train.keep_rows)." if found else ""
    low, high = figures["interval"]
    lost = figures["forgetting"]
    if lost < 0:
        lost, low, high = -lost, -high, -low
    return (
        f"On {found['old']['held']:,} old held-out rows the update {'gained' if figures['forgetting'] < 0 else 'lost'} "
        f"{lost:.1f} points of {found['score']}, 95 % interval {low:+.1f} to {high:+.1f}."
    )


def _seed(folder: Path) -> Any:
    from aet.run import CONFIG, read_config

    return read_config(folder / CONFIG).seed


def _table(found: Mapping[str, Any]) -> list[str]:
    shown = {name: value for name, value in found.items() if isinstance(value, int | float)}
    if not shown:
        return ["No figures are known."]
    return [
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {json.dumps(round(v, 4))} |" for name, v in shown.items()),
    ]
