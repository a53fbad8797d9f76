"""The page of a running server: is all well, what needs a person, and how every stream and version does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aet.report.blocks import grid, note, section
from aet.report.forms import button, sends
from aet.report.live_versions import versions
from aet.report.page import shell
from aet.report.text import SPACE, count, date, duration, entries, escape, mapping, number, percent, plural
from aet.report.tiles import tile

Record = Mapping[str, Any]


def overview(record: Record) -> str:
    """The first page of a server, complete HTML that loads nothing and needs no script.

    Args:
        record: `title`, `now`, `since`, `may` (a role); `load`, `streams`, `alarms`,
            `versions`, `shadows`.

    >>> page = overview({"title": "gas", "now": "2026-01-02T03:04:05+00:00", "streams": [{"name": "a"}]})
    >>> "1 stream is served, and no alarm is open." in page
    True
    """
    parts = [alarms(record), streams(record), versions(record)]
    said = f"as of {date(record['now'])} UTC" + (f" · up since {date(record['since'])}" if record.get("since") else "")
    return shell(
        title=str(record["title"]),
        subtitle=said,
        headline=f'<p class="answer">{escape(verdict(record))}</p>{tiles(record)}',
        sections=[part for part in parts if part],
        words="",
        made="Made by aet.",
        forms=True,
    )


def verdict(record: Record) -> str:
    """Whether a person is needed, in a sentence.

    >>> print(verdict({"streams": [{}, {}], "alarms": [{}]}))
    2 streams are served, and 1 alarm is open.
    """
    flows, open_ = len(entries(record, "streams")), len(entries(record, "alarms"))
    if not flows:
        return "The server is ready, and no stream has sent a row yet."
    served = f"{plural(flows, 'stream')} {'is' if flows == 1 else 'are'} served"
    loud = f"{plural(open_, 'alarm')} {'is' if open_ == 1 else 'are'} open" if open_ else "no alarm is open"
    return f"{served}, and {loud}.".replace(SPACE, " ")


def tiles(record: Record) -> str:
    """The big numbers of the whole server."""
    load, flows = mapping(record, "load"), entries(record, "streams")
    made = [tile("rows answered since the start", count(number(load.get("rows"))), said_requests(load))] if load else []
    right = [(number(mapping(s, "truth").get("value")), number(mapping(s, "truth").get("labels"))) for s in flows]
    known = [(value, labels) for value, labels in right if value is not None and labels]
    if known:
        labels = sum(n for _, n in known)
        value = sum(v * n for v, n in known) / labels
        made.append(tile("right, by late labels", percent(value), f"{plural(labels, 'label')}, each stream by its own"))
    guessed = [
        (v, number(s.get("rows")) or 0) for s in flows if (v := number(mapping(s, "estimate").get("value"))) is not None
    ]
    if guessed and (rows := sum(n for _, n in guessed)):
        made.append(tile("right, as estimated", percent(sum(v * n for v, n in guessed) / rows), "without labels"))
    if (slow := number(load.get("p99"))) is not None:
        made.append(tile("99 of 100 requests", duration(slow), f"half within {duration(number(load.get('p50')))}"))
    return f'<dl class="tiles">{"".join(made)}</dl>' if made else ""


def said_requests(load: Record) -> str:
    """How many requests, and how many of them failed."""
    failed = number(load.get("failed"))
    said = plural(number(load.get("requests")), "request")
    return said + (f", {count(failed)} of them failed" if failed else ", none failed")


def alarms(record: Record) -> str:
    """What is open, what to do about it, and a button to close it."""
    shown = []
    for alarm in entries(record, "alarms"):
        times, name = number(alarm.get("times")) or 1, full_name(alarm.get("owner"), alarm.get("stream"))
        about = f"alarm {alarm.get('kind')} of {name or 'the server'}"
        often = f" · {count(times)} times" if times > 1 else ""
        when = f"{name or 'server'} · since {date(alarm.get('first'))}{often}"
        close = ""
        if record.get("may") == "admin":
            close = sends("/alarms/close", button("Close", about), number=alarm.get("number"))
        shown.append(
            f'<li><p class="note">{escape(when)}</p><p><strong>{escape(alarm.get("text", ""))}</strong></p>'
            f"<p>{escape(alarm.get('todo', ''))}</p>{close}</li>"
        )
    return (
        section(
            "alarms",
            "Alarms",
            "What a person should look at, the newest first.",
            f'<ul class="plain">{"".join(shown)}</ul>',
        )
        if shown
        else ""
    )


def full_name(owner: object, name: object) -> str:
    """A stream's, with its owner where that is known."""
    return f"{owner} / {name}" if owner else str(name or "")


def share(value: Record) -> str:
    """A share with its interval."""
    if number(value.get("value")) is None:
        return percent(None)
    low, high = number(value.get("low")), number(value.get("high"))
    span = f" ({percent(low, 0)} to {percent(high, 0)})" if low is not None and high is not None else ""
    return percent(number(value.get("value"))) + span


def streams(record: Record) -> str:
    """Each stream in a line."""
    head = ["stream", "rows", "labels", "right, by labels", "right, estimated", "served by", "alarms"]
    rows = []
    for flow in entries(record, "streams"):
        name = escape(full_name(flow.get("owner"), flow.get("name")))
        rows.append(
            [
                f'<a href="{escape(flow["href"])}">{name}</a>' if flow.get("href") else name,
                count(number(flow.get("rows"))),
                count(number(flow.get("labels"))),
                share(mapping(flow, "truth")),
                share(mapping(flow, "estimate")),
                "adapted" if flow.get("adapted") else "source",
                count(number(flow.get("alarms")) or 0),
            ]
        )
    if not rows:
        return section(
            "streams", "Streams", "", note("None yet: the first row that is sent under a name makes its stream.")
        )
    adapted = sum(bool(flow.get("adapted")) for flow in entries(record, "streams"))
    return section(
        "streams",
        "Streams",
        f"Adapted answers are served in {plural(adapted, 'stream')} of {count(len(rows))}.",
        grid(head, rows),
    )


def refused(why: str) -> str:
    """A page that says what could not be done, and leads back.

    >>> "no stream &lt;x&gt;" in refused("There is no stream <x>.")
    True
    """
    link = '<p class="note"><a href="/">All streams</a></p>'
    return shell(
        "aet", "", f'<p class="answer">That could not be done.</p><p role="alert">{escape(why)}</p>{link}', [], "", ""
    )
