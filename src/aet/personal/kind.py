"""What a kind of personal data is: how it looks, and what tells it from numbers that look alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from aet.registry import Registry

Check = Callable[[str], str]
"""The part of a candidate, from its start, that is personal data; empty if none is."""

LEFT = r"(?<!\w)(?<![0-9][.,/-])(?<![A-Za-z]-)"
"""A number begins here: not inside a word, a decimal, a date or an order number such as ORD-123."""
RIGHT = r"(?!\w)(?![.,-][0-9])"
"""A number ends here."""
GAP = r"[^0-9+\[\]@\n]{0,24}?"
"""Between a word that announces a number and the number."""


@dataclass(frozen=True)
class Kind:
    """`pattern` finds candidates, with one group where the candidate is only a part of it; `check` decides.

    A pattern takes a bounded number of steps from each place of a text, so that a text takes time linear in its length.
    Kinds are looked for by rising `order`.
    """

    name: str
    pattern: re.Pattern[str]
    check: Check
    order: int = field(default=50)

    @property
    def placeholder(self) -> str:
        """What stands instead: [EMAIL]."""
        return f"[{self.name.upper()}]"

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each, in order, none overlapping."""
        place = 0
        while (found := self.pattern.search(text, place)) is not None:
            start, end = found.span(found.lastindex or 0)
            kept = self.check(text[start:end])
            if kept:
                yield start, start + len(kept)
            place = start + len(kept) if kept else found.start() + 1


KINDS: Registry[Kind] = Registry("kind of personal data")


def kind(name: str, *patterns: str, order: int = 50) -> Callable[[Check], Check]:
    """Enter a check as a kind of personal data that looks like one of the patterns (ASCII, upper or lower case)."""

    def enter(check: Check) -> Check:
        compiled = re.compile("|".join(patterns), re.ASCII | re.IGNORECASE)
        KINDS.register(name)(Kind(name, compiled, check, order))
        return check

    return enter


def after(words: str, number: str) -> str:
    """The pattern of a number that only one of the words before it tells from others: `nhs|national health`."""
    return rf"(?<![A-Za-z])(?:{words})(?![A-Za-z]){GAP}(?<![0-9][.,/-])(?<!\w)({number}){RIGHT}"


def digits(text: str) -> str:
    """Its digits.

    >>> digits("943 476-5919")
    '9434765919'
    """
    return "".join(c for c in text if "0" <= c <= "9")
