"""International bank account numbers (ISO 13616): the length of the country, and a rest of 1 by 97."""

from __future__ import annotations

from collections import defaultdict

from aet.personal.checksums import mod97
from aet.personal.kind import LEFT, RIGHT, kind

REGISTRY = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 "
    "EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 "
    "IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 "
    "NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 "
    "SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
LENGTHS = {entry[:2]: int(entry[2:]) for entry in REGISTRY.split()}
"""Characters, by country (SWIFT's registry)."""


def pattern() -> str:
    """One alternative for each length: groups of four, with or without a space or hyphen between all of them."""
    countries = defaultdict(list)
    for country, length in LENGTHS.items():
        countries[length].append(country)
    shapes = []
    for length, names in countries.items():
        groups, rest = divmod(length - 4, 4)
        for sep in ("", " ", "-"):
            last = rf"{sep}[0-9A-Z]{{{rest}}}" if rest else ""
            shapes.append(rf"(?:{'|'.join(names)})[0-9]{{2}}(?:{sep}[0-9A-Z]{{4}}){{{groups}}}{last}")
    return rf"{LEFT}(?=[A-Z]{{2}}[0-9]{{2}})(?:{'|'.join(shapes)}){RIGHT}"


@kind("iban", pattern(), order=20)
def iban(text: str) -> str:
    """The first four characters go to the end; the rest by 97 is 1.

    >>> iban("GB82 WEST 1234 5698 7654 32"), iban("GB82 WEST 1234 5698 7654 33")
    ('GB82 WEST 1234 5698 7654 32', '')
    """
    bare = text.replace(" ", "").replace("-", "").upper()
    return text if mod97(bare[4:] + bare[:4]) else ""
