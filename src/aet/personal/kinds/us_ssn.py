"""Social security numbers and individual taxpayer numbers of the USA: 3-2-4 digits, some never given out."""

from __future__ import annotations

from aet.personal.kind import LEFT, RIGHT, after, digits, kind


@kind(
    "us_ssn",
    rf"{LEFT}[0-9]{{3}}(?:-[0-9]{{2}}-| [0-9]{{2}} )[0-9]{{4}}{RIGHT}",
    after(r"ssn|itin|social security(?: number| no)?|taxpayer id", "[0-9]{9}"),
    order=42,
)
def us_ssn(text: str) -> str:
    """No area 000 or 666, no group 00, no serial 0000; areas from 900 are taxpayer numbers with groups of their own.

    >>> us_ssn("536-22-1234"), us_ssn("666-22-1234"), us_ssn("536-00-1234")
    ('536-22-1234', '', '')
    """
    number = digits(text)
    area, group, serial = int(number[:3]), int(number[3:5]), int(number[5:])
    if area in (0, 666) or group == 0 or serial == 0:
        return ""
    taxpayer = 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or group >= 94
    return text if area < 900 or taxpayer else ""
