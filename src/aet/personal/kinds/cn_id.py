"""Resident identity numbers of China (GB 11643-1999): region, date of birth, serial, check character."""

from __future__ import annotations

from aet.personal.checksums import is_date, mod11_2
from aet.personal.kind import LEFT, RIGHT, kind

PROVINCES = {*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66)} | {
    *(71, 81, 82, 83, 91)
}


@kind("cn_id", rf"{LEFT}[1-9][0-9]{{16}}[0-9X]{RIGHT}", order=26)
def cn_id(text: str) -> str:
    """A province, a day since 1850, and ISO 7064 MOD 11-2.

    >>> cn_id("11010519491231002X"), cn_id("110105194912310021")
    ('11010519491231002X', '')
    """
    year, month, day = int(text[6:10]), int(text[10:12]), int(text[12:14])
    born = 1850 <= year <= 2100 and is_date(year, month, day)
    return text if born and int(text[:2]) in PROVINCES and mod11_2(text) else ""
