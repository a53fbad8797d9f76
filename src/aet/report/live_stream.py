"""The page of one stream of a running server: what it asks of a person, above its report as it stands now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aet.errors import DataError
from aet.report.blocks import grid, note, section
from aet.report.forms import button, labelling, sends
from aet.report.page import drawn, shell
from aet.report.text import count, date, duration, entries, escape, mapping, number, plural, signed
from aet.report.tiles import headline

Record = Mapping[str, Any]


def stream_page(record: Record, controls: Record) -> str:
    """One stream: what it asks of a person, and under it its report as it stands now.

    Args:
        record: as `render` takes it.
        controls: `title`, `may`, `home`; `action`, the address its forms are sent to; `asked` as in
            `aet.report.forms.labelling`; `undone`, how many changes can be undone; `advice` and `watch`, what to do and
            what the watch saw, as `GET /drift` has them.

    Raises:
        DataError: `action` is missing.
    """
    if "action" not in controls:
        raise DataError(
            "The page of a stream needs the address of its forms. Expected 'action' among the controls; add it."
        )
    return shell(
        title=str(controls.get("title", record.get("title", ""))),
        subtitle=f"as of {date(controls['now'])} UTC" if controls.get("now") else "",
        headline=f'<p class="note"><a href="{escape(controls.get("home", "/"))}">All streams</a></p>{headline(record)}',
        sections=[part for part in (advised(controls), asked(controls), steering(controls), *drawn(record)) if part],
        words="",
        made="Made by aet.",
        forms=True,
    )


def advised(controls: Record) -> str:
    """Hold, adapt or retrain, with what it gains and costs; under it what changed since when, or that nothing did."""
    advice, watch = mapping(controls, "advice"), mapping(controls, "watch")
    if not advice:
        return ""
    facts = []
    if (gain := number(advice.get("expected_gain"))) is not None and advice.get("act") in ("adapt", "retrain"):
        ends = (number(advice.get(end)) for end in ("low", "high"))
        low, high = (signed(None if end is None else 100 * end, 0) for end in ends)
        facts.append(("expected gain, points", f"{signed(100 * gain, 0)} ({low} to {high})"))
    if to_label := number(advice.get("cost_rows_to_label")):
        facts.append(("rows to label", count(to_label)))
    if seconds := number(advice.get("cost_seconds")):
        facts.append(("computing", duration(seconds)))
    body = definitions(facts) if facts else ""
    signals = [
        [escape(signal.get("kind")), escape(signal.get("text")), count(number(signal.get("since")))]
        for signal in entries(watch, "signals")
    ]
    if signals:
        body += grid(["changed", "evidence", "since about row"], signals)
    elif watch:
        missed = f", {count(number(watch.get('left_out')))} were not" if number(watch.get("left_out")) else ""
        body += note(f"{plural(number(watch.get('rows')), 'row')} watched{missed}: no drift that is sure.")
    if watch.get("problem"):
        body += note(str(watch["problem"]))
    acts = {"hold": "Hold. ", "adapt": "Adapt. ", "retrain": "Retrain. "}
    said = acts.get(str(advice.get("act")), "") + str(advice.get("why", ""))
    return section("advice", "What to do", said, body or note("Nobody watches this stream for drift (--no-watch)."))


def definitions(facts: Sequence[tuple[str, str]]) -> str:
    """Names with their values, the latter HTML."""
    return f'<dl class="facts">{"".join(f"<div><dt>{escape(n)}</dt><dd>{v}</dd></div>" for n, v in facts)}</dl>'


def asked(controls: Record) -> str:
    """The rows worth a label, with a field for each; a button that asks for more."""
    action = str(controls["action"])
    if controls.get("may") not in ("feedback", "admin"):
        return ""
    form = labelling(mapping(controls, "asked"), f"{action}/labels")
    more = sends(f"{action}/ask", button("Ask for 8 more rows"), count=8)
    waiting = len(entries(mapping(controls, "asked"), "rows"))
    wait = f"{plural(waiting, 'row')} {'waits' if waiting == 1 else 'wait'}"
    said = f"{wait} for a true answer: each trains the stream and tests it."
    return section("asked", "Rows worth a label", said if waiting else "No row waits for a label.", form + more)


def steering(controls: Record) -> str:
    """Back by a step, or to the source."""
    if controls.get("may") not in ("feedback", "admin"):
        return ""
    action = str(controls["action"])
    undone = int(number(controls.get("undone")) or 0)
    undo = sends(f"{action}/undo", button("Undo the last change"), steps=1) if undone else ""
    reset = sends(f"{action}/reset", button("Back to the source"))
    said = f"{plural(undone, 'change')} can be undone." if undone else "Nothing can be undone."
    return section("steering", "Take it back", said, f'<div class="buttons">{undo}{reset}</div>')
