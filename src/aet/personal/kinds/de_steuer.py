"""Tax identification numbers of Germany: eleven digits, of the first ten just one repeated, and a check digit."""

from __future__ import annotations

from collections import Counter

from aet.personal.checksums import mod11_10
from aet.personal.kind import LEFT, RIGHT, digits, kind


@kind("de_steuer", rf"{LEFT}[1-9][0-9](?: [0-9]{{3}}){{3}}{RIGHT}", rf"{LEFT}[1-9][0-9]{{10}}{RIGHT}", order=44)
def de_steuer(text: str) -> str:
    """One digit twice or three times, not three in a row, the others at most once; ISO 7064 MOD 11,10.

    >>> de_steuer("86 095 742 719"), de_steuer("86095742718")
    ('86 095 742 719', '')
    """
    number = digits(text)
    times = sorted(Counter(number[:10]).values(), reverse=True)
    in_a_row = any(number[i] == number[i + 1] == number[i + 2] for i in range(8))
    return text if times[0] in (2, 3) and times[1] == 1 and not in_a_row and mod11_10(number) else ""
