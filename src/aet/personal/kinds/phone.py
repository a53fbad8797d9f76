"""Phone numbers: international ones by country code and length (ITU-T E.164), national ones by their usual forms.

Compact national numbers look like any number: they are found where a word such as "tel" announces them, or where the
form is a country's own (mobile numbers of China and France, say).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aet.personal.kind import LEFT, RIGHT, after, digits, kind

CODES = re.compile(
    "1|7|2(?:0|7|1[12368]|[2346][0-9]|5[0-8]|9[01789])|3(?:[0-4]|6|9|5[0-9]|7[0-8]|8[0-35-79])|4(?:[013-9]|2[013])"
    "|5(?:[1-8]|0[0-9]|9[0-9])|6(?:[0-6]|7[02-9]|8[0-35-9]|9[0-2])|8(?:[1246]|5[02356]|8[06])"
    "|9(?:[0-58]|6[0-8]|7[0-7]|9[2-68])"
)
"""Country codes; no one begins another."""
LENGTHS = {"1": (10, 10), "7": (10, 10), "33": (9, 9), "34": (9, 9), "44": (9, 10), "86": (10, 11), "91": (10, 10)}
LENGTHS |= {"55": (10, 11), "81": (9, 10), "82": (8, 10), "49": (6, 12), "39": (6, 11), "61": (9, 9)}
"""Digits after the country code, where they are well known; else 6 to 12."""
AREA = "[2-9][0-9]{2}"
WORDS = (
    "tel|telephone|phone|mobile|mob|cell|cellphone|fax|call|whatsapp|sms|dial|telefon|telefono|teléfono|téléphone|"
    "tél|portable|handy|mobil|móvil|celular|cellulare|电话|手机|电话号码|手机号|携帯|電話|전화|휴대폰"
)
NATIONAL = (
    rf"(?:1[ .-])?(?:\({AREA}\) ?|{AREA}[ .-]){AREA}[ .-][0-9]{{4}}",  # North America
    r"\(?0[1-9](?:[0-9]{1,3}\)? [0-9]{3,4} [0-9]{3,4}|[0-9]{3}\)? [0-9]{6})",  # United Kingdom
    r"07[0-9]{9}",
    r"0[1-9](?:(?: [0-9]{2}){4}|(?:\.[0-9]{2}){4}|(?:-[0-9]{2}){4})|0[67][0-9]{8}",  # France
    r"0[1-9][0-9]{1,3} ?/ ?[0-9]{5,9}|01[5-7][0-9] [0-9]{7,8}",  # Germany
    r"[67][0-9]{2} [0-9]{2} [0-9]{2} [0-9]{2}",  # Spain
    r"3[1-9][0-9] [0-9]{3} [0-9]{4}",  # Italy
    r"1[3-9][0-9](?:[0-9]{8}|[ -][0-9]{4}[ -][0-9]{4})",  # China
    r"0(?:[1-9]-[0-9]{4}|[1-9]0-[0-9]{4}|[1-9][0-9]-[0-9]{3}|[1-9][0-9]{2}-[0-9]{2})-[0-9]{4}",  # Japan
    r"0(?:1[016789]|2|[3-6][1-5])-[0-9]{3,4}-[0-9]{4}",  # South Korea
    r"\([1-9][0-9]\) ?9?[0-9]{4}[ -][0-9]{4}",  # Brazil
    r"[6-9][0-9]{4}[ -][0-9]{5}",  # India
    r"04[0-9]{2} [0-9]{3} [0-9]{3}|\(0[2378]\) [0-9]{4} [0-9]{4}",  # Australia
)
SEPARATED = r"(?:[ ./()-]{0,2}[0-9])"


@kind(
    "phone",
    rf"(?<![\w+])(?<![0-9][.,/-])(?:\+|00){SEPARATED}{{7,15}}(?!\w)(?![.,][0-9])",
    rf"{LEFT}(?<!\+)(?<![0-9] )(?:{'|'.join(NATIONAL)}){RIGHT}",
    after(WORDS, rf"\(?[0-9]{SEPARATED}{{6,14}}(?![0-9])"),
    order=90,
)
def phone(text: str) -> str:
    """International numbers without their last groups until the length is right; others of 7 to 13 digits.

    >>> phone("+44 20 7946 0958"), phone("+44 20 7946 0958 12345"), phone("+999 1234 5678"), phone("2024-01-15")
    ('+44 20 7946 0958', '+44 20 7946 0958', '', '')
    """
    if text.startswith(("+", "00")):
        return next(filter(international, shorter(text)), "")
    text = next(part for part in shorter(text) if len(digits(part)) <= 13)
    number = digits(text)
    date = re.fullmatch(r"(?:19|20)[0-9]{2}[./-]?(?:0[1-9]|1[0-2])[./-]?[0-3][0-9]", text)
    return text if len(number) >= 7 and not date and len(set(number)) > 1 else ""


def shorter(text: str) -> Iterator[str]:
    """The text, and then without its last group of digits, time and again, down to none.

    >>> list(shorter("+44 20 79"))
    ['+44 20 79', '+44 20', '+44', '+', '']
    """
    while text.strip("+ ./()-"):
        yield text
        text = text.rstrip("0123456789").rstrip(" ./()-")
    yield from (text, "") if text else ("",)


def international(text: str) -> bool:
    """Whether a number with + or 00 has a country's code and a length that it gives out."""
    number = digits(text.replace("(0)", ""))
    number = number[2:] if text.startswith("00") else number
    code = CODES.match(number)
    if code is None:
        return False
    rest = number[code.end() :]
    if len(rest) < 6:
        return False
    low, high = LENGTHS.get(code[0], (6, 12))
    if text.startswith("00"):
        low = max(low, 8)
    plausible = rest[0] in "23456789" and rest[3] in "23456789" if code[0] == "1" and len(rest) == 10 else True
    return low <= len(rest) <= high and plausible and (rest[0] != "0" or code[0] == "39") and len(set(rest)) > 1
