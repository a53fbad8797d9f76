"""The versions of a server's models: which one serves, how a shadow does, and the forms that change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aet.report.blocks import grid, note, section
from aet.report.forms import button, sends
from aet.report.text import count, date, entries, escape, number, percent, signed

Record = Mapping[str, Any]
SHARE = 10
"""Percent of the streams that the form suggests for a canary."""


def versions(record: Record) -> str:
    """Which versions there are and who answers; for an admin, the way on and back.

    A version's line: `model`, `number`, `role` (serving, shadow, canary, several of them or none), `share` of a canary,
    `accuracy`, `made`, `note`. `shadows`: what `Shadow.record` gives, with its `model`.

    >>> page = versions({"may": "admin", "versions": [{"model": "gas", "number": "2", "role": "canary", "share": 0.1}]})
    >>> "10 % of the streams" in page.replace("\\u00a0", " "), 'action="/versions/shadow"' in page, "End canary" in page
    (True, True, True)
    """
    lines, admin = entries(record, "versions"), record.get("may") == "admin"
    if not lines:
        return ""
    rows = [
        [
            escape(named(version)),
            escape(role(version)),
            percent(number(version.get("accuracy"))),
            escape(date(version["made"])) if version.get("made") else "",
            escape(version.get("note") or ""),
        ]
        for version in lines
    ]
    body = grid(["version", "now", "when trained", "made", "note"], rows)
    body += "".join(map(unseen, entries(record, "shadows")))
    if admin and (listed := "".join(map(acts, lines))):
        body += f'<ul class="plain">{listed}</ul>{back(lines)}'
    return section("versions", "Versions", "The accuracy is that on rows held out when each was trained.", body)


def named(version: Record) -> str:
    """Model and number."""
    return f"{version.get('model', '')} {version.get('number', '')}"


def back(lines: Sequence[Record]) -> str:
    """The way back, for each model that has another version; HTML."""
    models = [str(version.get("model", "")) for version in lines]
    return "".join(
        sends("/versions/back", button("Roll back", f"{model} to the version before"), model=model)
        for model in dict.fromkeys(models)
        if models.count(model) > 1
    )


def role(version: Record) -> str:
    """What a version does now."""
    said = str(version.get("role") or "")
    return f"{said}, {percent(number(version.get('share')), 0)} of the streams" if "canary" in said else said


def acts(version: Record) -> str:
    """What an admin may let a version do, or end, as an item of a list; HTML. The one that serves does all already."""
    roles = {name.strip() for name in str(version.get("role") or "").split(",")}
    if "serving" in roles:
        return ""
    model, numbered = str(version.get("model", "")), str(version.get("number", ""))
    about = f"version {numbered} of {model}"
    parts = [sends("/versions/promote", button("Serve", about), model=model, number=numbered)]
    if "shadow" in roles:
        parts.append(sends("/versions/shadow", button("End shadow", about), model=model, number=0))
    else:
        parts.append(sends("/versions/shadow", button("Shadow", about), model=model, number=numbered))
    if "canary" in roles:
        parts.append(sends("/versions/canary", button("End canary", about), model=model, number=0))
    field = f"share-{model}-{numbered}"
    share = round(100 * (number(version.get("share")) or 0)) if "canary" in roles else SHARE
    asked = (
        f'<label for="{escape(field)}">percent of the streams<span class="unseen"> for {escape(about)}</span></label> '
        f'<input id="{escape(field)}" name="percent" type="number" min="1" max="99" value="{share}"> '
    )
    parts.append(sends("/versions/canary", asked + button("Canary", about), model=model, number=numbered))
    return f'<li><p class="note">{escape(named(version))}</p><div class="buttons">{"".join(parts)}</div></li>'


def unseen(shadow: Record) -> str:
    """How a shadow does, in a sentence; HTML.

    >>> print(unseen({"model": "gas", "version": "2", "rows": 40, "agreement": 0.9}).replace("\\u00a0", " "))
    <p class="note">The shadow, gas 2, answered 40 rows, 90 % as they were answered; no label has come for them.</p>
    """
    rows, labels = number(shadow.get("rows")) or 0, number(shadow.get("labels")) or 0
    name = f"The shadow, {shadow.get('model', '')} {shadow.get('version', '')},"
    if not rows:
        return note(f"{name} has answered no row yet.")
    said = f"{name} answered {count(rows)} rows, {percent(number(shadow.get('agreement')), 0)} as they were answered"
    if not labels:
        return note(f"{said}; no label has come for them.")
    gain, low, high = (signed(number(shadow.get(key))) for key in ("difference", "low", "high"))
    right = f"right in {percent(number(shadow.get('accuracy')))} of {count(labels)} labels"
    return note(f"{said}; {right}, {gain} points beside what serves (95 % interval {low} to {high}).")
