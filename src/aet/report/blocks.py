"""Pieces of HTML that sections are built of: a section, a figure with its legend and its numbers, a note."""

from __future__ import annotations

from collections.abc import Sequence

from aet.report.text import count, escape

MOST_ROWS = 60
SWATCHES = {
    "line": '<path class="line {c}" d="M1 7H23"/>',
    "dot": '<circle class="{c}" cx="12" cy="7" r="5"/>',
    "ring": '<circle class="ring {c}" cx="12" cy="7" r="5"/>',
    "bar": '<rect class="bar {c}" x="2" y="2" width="20" height="10" rx="2"/>',
    "ribbon": '<rect class="by {c}" x="1" y="3" width="22" height="8"/>',
    "tick": '<path class="tick" d="M12 1V13"/>',
    "before": '<path class="before" d="M12 0V14"/>',
    "switch": '<path class="switch" d="M12 0V14"/>',
    "rug": '<circle class="rug" cx="8" cy="7" r="2.4"/><circle class="rug" cx="16" cy="7" r="2.4"/>',
}
Legend = Sequence[tuple[str, str, str]]


def legend(marks: Legend) -> str:
    """What the marks of a chart mean: shape, class, words."""
    shown = "".join(
        f'<li><svg viewBox="0 0 24 14" width="24" height="14" aria-hidden="true">'
        f"{SWATCHES[shape].format(c=class_)}</svg>{escape(words)}</li>"
        for shape, class_, words in marks
    )
    return f'<ul class="legend">{shown}</ul>' if shown else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The numbers of a chart; long ones are thinned, and say so."""
    if not rows:
        return ""
    shown = rows
    note = ""
    if len(rows) > MOST_ROWS:
        shown = [rows[round(i * (len(rows) - 1) / (MOST_ROWS - 1))] for i in range(MOST_ROWS)]
        note = f'<p class="note">{MOST_ROWS} of {count(len(rows))} rows, evenly spaced.</p>'
    return grid(head, [[escape(cell) for cell in row] for row in shown]) + note


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls by itself on a narrow screen; cells are HTML, the first of a row is its head."""
    top = "".join(f'<th scope="col">{escape(words)}</th>' for words in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    made = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="table">{made}</div>'


def figure(chart: str, marks: Legend = (), numbers: str = "", name: str = "") -> str:
    """A chart under its legend, with the same numbers as a table one click away."""
    if not chart:
        return ""
    titled = f"<figcaption>{escape(name)}</figcaption>" if name else ""
    more = f"<details><summary>The numbers as a table</summary>{numbers}</details>" if numbers else ""
    return f"<figure>{titled}{legend(marks)}{chart}{more}</figure>"


def section(key: str, title: str, finding: str, body: str) -> str:
    """A titled part of the page, empty where it has nothing to show. `finding` is escaped here."""
    if not body:
        return ""
    said = f'<p class="finding">{escape(finding)}</p>' if finding else ""
    head = f'<h2 id="{key}-title">{escape(title)}</h2>'
    return f'<section id="{key}" aria-labelledby="{key}-title">{head}{said}{body}</section>'


def note(words: str) -> str:
    """A plain statement, most often of what is missing."""
    return f'<p class="note">{escape(words)}</p>'


def pair(*parts: str) -> str:
    """Figures side by side where there is room."""
    shown = [part for part in parts if part]
    return f'<div class="pair">{"".join(shown)}</div>' if len(shown) > 1 else "".join(shown)
