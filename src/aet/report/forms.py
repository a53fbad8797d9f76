"""Forms of the live page: a button that sends something, and a true answer for a row that was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aet.report.text import entries, escape, mapping

MOST_CHOICES = 200
"""With more classes than that a field with suggestions replaces the list to choose from."""
SHOWN = 24
"""Columns of a row that are shown beside its form."""
LONG = 300


def sends(action: str, content: str, **hidden: object) -> str:
    """A form; `content` is HTML."""
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in hidden.items()
    )
    return f'<form method="post" action="{escape(action)}">{fields}{content}</form>'


def button(words: str, about: str = "") -> str:
    """What sends a form; `about` is said to those who cannot see where it stands."""
    more = f'<span class="unseen"> {escape(about)}</span>' if about else ""
    return f"<button>{escape(words)}{more}</button>"


def labelling(asked: Mapping[str, Any], action: str) -> str:
    """The rows that were asked for, each with its values and a field for the true answer; HTML.

    `asked`: `rows` ({"id": any JSON scalar, "values": {column: value}, "prediction"}), `classes` (or none: a free
    answer), `target`.
    """
    rows, classes = entries(asked, "rows"), [str(name) for name in asked.get("classes") or ()]
    if not rows:
        return ""
    listed = "" if not many(classes) else f'<datalist id="classes">{"".join(map(option, classes))}</datalist>'
    shown = "".join(
        row_fields(number, row, classes, str(asked.get("target", "answer"))) for number, row in enumerate(rows)
    )
    return sends(action, f'{listed}<ol class="rows">{shown}</ol>{button("Send the answers")}')


def many(classes: Sequence[str]) -> bool:
    """Whether there are too many classes for a list."""
    return len(classes) > MOST_CHOICES


def row_fields(number: int, row: Mapping[str, Any], classes: Sequence[str], target: str) -> str:
    """One row: what is known of it, what was answered, and the field."""
    values = mapping(row, "values")
    facts = "".join(
        f"<div><dt>{escape(k)}</dt><dd>{escape(short(v))}</dd></div>" for k, v in list(values.items())[:SHOWN]
    )
    facts += f"<div><dt>and</dt><dd>{len(values) - SHOWN} more columns</dd></div>" if len(values) > SHOWN else ""
    field = f"label-{number}"
    said = f'<input type="hidden" name="id-{number}" value="{escape(json.dumps(row.get("id")))}">'
    said += f'<label for="{field}">True {escape(target)} of row {escape(row.get("id", ""))}</label>'
    if classes and not many(classes):
        listed = "".join(map(option, classes))
        said += f'<select id="{field}" name="{field}"><option value="">not known</option>{listed}</select>'
    else:
        listed = ' list="classes"' if classes else ""
        said += f'<input id="{field}" name="{field}" autocomplete="off"{listed}>'
    known = row.get("prediction")
    answered = "" if known is None else f'<span class="about">answered: {escape(short(known))}</span>'
    return f'<li><dl class="facts">{facts}</dl><p class="field">{said}{answered}</p></li>'


def option(name: str) -> str:
    """One class to choose."""
    return f'<option value="{escape(name)}">{escape(name)}</option>'


def short(value: object) -> str:
    """A value that fits; the rest of a long text is left out."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONG else f"{text[:LONG]} …"
