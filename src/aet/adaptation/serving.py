"""Who answers a stream's rows: the source, the proposal that labels speak for, or a state trusted without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from aet.adaptation.base import Method
    from aet.adaptation.guard import Guard
    from aet.attention.state import ElasticState

UNLABELLED = ("never", "cautious", "always")
"""What is served until labels have earned the proposal its place."""

Correction = Callable[[Tensor], Tensor]
"""Logits (B, width) of rows in their order, from those that a state gives."""


BLOCK = 64
"""Rows of a call that are corrected together."""
CONTEXT = 16
"""Rows of a call from which answers are corrected by each other: rehearsals judged more, of fewer they say nothing."""


@dataclass(frozen=True)
class Choice:
    """The state that answers, None for the source's, and what the choice rests on; empty for the source."""

    state: ElasticState | None = None
    by: str = ""
    correct: Correction | None = None
    """What is done to the answers under that state."""
    least: int = 0
    """Rows of a call from which it answers; fewer are the source's."""

    @property
    def proposed(self) -> bool:
        """Whether it is the proposal that answers."""
        return self.by not in ("", "rehearsals")

    def for_rows(self, rows: int) -> Choice:
        """Who answers a call of so many rows: the source, where they are too few."""
        return self if rows >= self.least else Choice()

    def corrected(self, logits: Tensor) -> Tensor:
        """Logits (B, width) as they are served."""
        return logits if self.correct is None else self.correct(logits)


def chosen(guard: Guard, method: Method, unlabelled: str, lost: bool = False) -> Choice:
    """The guard's labels first; where they do not speak for the proposal, what `unlabelled` allows.

    `lost`: what was served lost to the source on the newest labels, so that rehearsals are not heard.
    """
    if guard.serving:
        return Choice(method.state, "labels" if guard.needs_labels else "guard", method.correction)
    if not guard.needs_labels or unlabelled == "never":
        return Choice()
    if unlabelled == "cautious":
        return Choice() if lost or method.trusted is None else method.trusted
    return Choice() if guard.against else Choice(method.state, "mode", method.correction)


def reason(now: str, before: str, guard: Guard, method: Method, lost: bool = False) -> str:
    """Why it is `now` who answers and no more `before`, in words."""
    if "labels" in (now, before):
        aside = f"; until it has earned that: {method.why}" if now == "rehearsals" else ""
        return guard.reason() + aside
    if "rehearsals" in (now, before):
        return f"what was served lost to the source on the newest labels; {method.why}" if lost else method.why
    return guard.reason() if guard.against else "unlabelled='always': served until labels speak against it"
