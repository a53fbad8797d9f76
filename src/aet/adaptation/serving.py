"""Who answers a stream's rows: the source, the proposal that labels speak for, or a state trusted without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aet.adaptation.base import Method
    from aet.adaptation.guard import Guard
    from aet.attention.state import ElasticState

UNLABELLED = ("never", "cautious", "always")
"""What is served until labels have earned the proposal its place."""


@dataclass(frozen=True)
class Choice:
    """The state that answers, None for the source's, and what the choice rests on; empty for the source."""

    state: ElasticState | None = None
    by: str = ""


def chosen(guard: Guard, method: Method, unlabelled: str) -> Choice:
    """The guard's labels first; where they do not speak for the proposal, what `unlabelled` allows."""
    if guard.serving:
        return Choice(method.state, "labels" if guard.needs_labels else "guard")
    if not guard.needs_labels or unlabelled == "never":
        return Choice()
    if unlabelled == "cautious":
        return Choice() if method.trusted is None else Choice(method.trusted, "rehearsals")
    return Choice() if guard.against else Choice(method.state, "mode")


def reason(now: str, before: str, guard: Guard, method: Method) -> str:
    """Why it is `now` who answers and no more `before`, in words."""
    if "labels" in (now, before):
        aside = f"; until it has earned that: {method.why}" if now == "rehearsals" else ""
        return guard.reason() + aside
    if "rehearsals" in (now, before):
        return method.why
    return guard.reason() if guard.against else "unlabelled='always': served until labels speak against it"
