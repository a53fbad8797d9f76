"""Resident registration numbers of South Korea: date of birth, hyphen, century and sex, serial.

Numbers given out since October 2020 have no check digit, so none is asked for.
"""

from __future__ import annotations

from aet.personal.checksums import is_date
from aet.personal.kind import LEFT, RIGHT, after, digits, kind

CENTURY = {"9": 1800, "0": 1800, "1": 1900, "2": 1900, "5": 1900, "6": 1900, "3": 2000, "4": 2000, "7": 2000, "8": 2000}


@kind(
    "kr_rrn",
    rf"{LEFT}[0-9]{{6}}-[0-9]{{7}}{RIGHT}",
    after(r"rrn|resident registration(?: number| no)?|주민등록번호|주민번호", "[0-9]{13}"),
    order=27,
)
def kr_rrn(text: str) -> str:
    """The day must have been one.

    >>> kr_rrn("900101-1234567"), kr_rrn("901301-1234567")
    ('900101-1234567', '')
    """
    number = digits(text)
    born = CENTURY[number[6]] + int(number[:2])
    return text if is_date(born, int(number[2:4]), int(number[4:6])) else ""
