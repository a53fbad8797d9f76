"""Made-up personal data in sentences, and what only looks like it.

Check digits come from other formulae than those of `aet.personal`: published tables and complements, so that an error
in one is not repeated in the other. Each maker gives the number and whether its form needs a word that announces it.
"""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable

Maker = Callable[[random.Random], str]

TESTS = """
card 4012888888881881|5555555555554444|378282246310005|6011111111111117|3530111333300000|30569309025904
card 4242424242424242|2223003122003222|6200000000000005
iban DE89370400440532013000|FR1420041010050500013M02606|NL91ABNA0417164300|BE68539007547034|CH9300762011623852957
iban NO9386011117947|ES9121000418450200051332|IT60X0542811101000000123456|PL61109010140000071219812874
iban SA0380000000608010167519|MT84MALT011000012345MTLCAST001S|GB82 WEST 1234 5698 7654 32
uk_nhs 943 476 5919|401 023 2137
de_steuer 86095742719|47036892816|65929970489
br_cpf 529.982.247-25|111.444.777-35
cn_id 11010519491231002X|440524188001010014
it_cf RSSMRA85T10A562S|MRTMTT91D08F205J
es_dni 12345678Z|X1234567L|00000000T
fr_nir 255081416802538|2 69 05 49 588 157 80
in_aadhaar 9999 4105 7058|2341 2341 2346
us_ssn 078-05-1120|219-09-9999
email simple@example.com|user.name+tag@example.co.uk|x@example.com
ip 192.0.2.1|198.51.100.42|2001:db8:85a3::8a2e:370:7334|2001:db8::1|::ffff:192.0.2.128
phone +1 202-555-0173|+44 20 7946 0958|+61 491 570 006|(202) 555-0143|07700 900461
"""
PUBLISHED: dict[str, list[str]] = {}
for kind, _, numbers in (line.partition(" ") for line in TESTS.strip().splitlines()):
    PUBLISHED.setdefault(kind, []).extend(numbers.split("|"))
"""Numbers that issuers, standards and regulators print for tests and examples."""


def some(rng: random.Random, size: int, first: str = string.digits) -> str:
    return rng.choice(first) + "".join(rng.choices(string.digits, k=size - 1))


def grouped(text: str, sizes: list[int], sep: str) -> str:
    parts, start = [], 0
    for size in sizes:
        parts.append(text[start : start + size])
        start += size
    return sep.join(part for part in parts if part)


def email(rng: random.Random) -> str:
    first, last = (
        rng.choice(["anna", "li.wei", "jo", "m_rossi", "o.brien", "kim"]),
        rng.choice(["", "88", "+news", ".b"]),
    )
    domain = rng.choice(["example.com", "mail.example.co.uk", "uni-bonn.example.de", "example.travel", "a.io", "x1.cn"])
    return rng.choice([str.lower, str.upper, str.title])(f"{first}{last}@{domain}")


def phone(rng: random.Random) -> str:
    area = some(rng, 3, "23456789")
    return rng.choice(
        [
            lambda: f"+1 {area} {some(rng, 3, '23456789')} {some(rng, 4)}",
            lambda: f"({area}) {some(rng, 3, '23456789')}-{some(rng, 4)}",
            lambda: f"{area}-{some(rng, 3, '23456789')}-{some(rng, 4)}",
            lambda: f"+44 7{some(rng, 3)} {some(rng, 6)}",
            lambda: f"020 7{some(rng, 3)} {some(rng, 4)}",
            lambda: f"+33 6 {' '.join(some(rng, 2) for _ in range(4))}",
            lambda: f"0{rng.choice('1234567')} {' '.join(some(rng, 2) for _ in range(4))}",
            lambda: f"+49 (0)171 {some(rng, 7)}",
            lambda: f"0{some(rng, 3, '23456789')}/{some(rng, 6)}",
            lambda: f"+86 13{some(rng, 9)}",
            lambda: f"1{rng.choice('35789')}{some(rng, 9)}",
            lambda: f"+91 {some(rng, 5, '6789')} {some(rng, 5)}",
            lambda: f"+81-90-{some(rng, 4)}-{some(rng, 4)}",
            lambda: f"010-{some(rng, 4)}-{some(rng, 4)}",
            lambda: f"(11) 9{some(rng, 4)}-{some(rng, 4)}",
            lambda: f"0041 44 {some(rng, 3, '2345')} {some(rng, 2)} {some(rng, 2)}",
            lambda: f"+34 6{some(rng, 2)} {some(rng, 3)} {some(rng, 3)}",
            lambda: f"+234 80{some(rng, 8)}",
        ]
    )()


def phone_compact(rng: random.Random) -> str:
    return some(rng, 3, "23456789") + some(rng, 3, "23456789") + some(rng, 4)


def luhn_digit(payload: str) -> str:
    doubled = "0246813579"  # a digit doubled, its own digits added
    total = sum(int(doubled[int(c)]) if place % 2 == 0 else int(c) for place, c in enumerate(reversed(payload)))
    return str(-total % 10)


CARDS = "4:16 51:16 55:16 34:15 37:15 6011:16 65:16 36:14 62:16 62:19 3530:16 2221:16 2720:16 2202:16"


def card(rng: random.Random) -> str:
    prefix, length = rng.choice(CARDS.split()).split(":")
    size = int(length)
    payload = prefix + "".join(rng.choices(string.digits, k=size - len(prefix) - 1))
    number = payload + luhn_digit(payload)
    sizes = {16: [4] * 4, 15: [4, 6, 5], 14: [4, 6, 4], 19: [4, 4, 4, 4, 3]}[size]
    return grouped(number, sizes, rng.choice(["", " ", "-"]))


IBANS = "DE:n18 FR:n10a11n2 GB:A4n14 IT:A1n10a12 ES:n20 NL:A4n10 AT:n16 NO:n11 CH:n5a12 PL:n24 TR:n6a16 BR:n23A1a1"


def iban(rng: random.Random) -> str:
    country, form = rng.choice(IBANS.split()).split(":")
    sets = {"n": string.digits, "a": string.digits + string.ascii_uppercase, "A": string.ascii_uppercase}
    body, place = "", 0
    while place < len(form):
        end = place + 1
        while end < len(form) and form[end].isdigit():
            end += 1
        body += "".join(rng.choices(sets[form[place]], k=int(form[place + 1 : end])))
        place = end
    rest = 0
    for c in body + country + "00":  # digit by digit, without large numbers
        for digit in str(string.digits.find(c)) if c.isdigit() else str(ord(c) - 55):
            rest = (10 * rest + int(digit)) % 97
    number = f"{country}{98 - rest:02d}{body}"
    return number if rng.random() < 0.4 else grouped(number, [4] * 9, " ")


def ip(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return ".".join(str(rng.randint(1, 254)) for _ in range(4)).replace("127.", "126.", 1)
    groups = [f"{rng.randrange(1, 65536):x}" for _ in range(8)]
    return rng.choice([":".join(groups), "2001:db8::" + groups[0], "fe80::" + ":".join(groups[:4])])


def us_ssn(rng: random.Random) -> str:
    area = rng.choice([n for n in range(1, 900) if n != 666])
    sep = rng.choice("--- ")
    return f"{area:03d}{sep}{rng.randint(1, 99):02d}{sep}{rng.randint(1, 9999):04d}"


def us_ssn_compact(rng: random.Random) -> str:
    return us_ssn(rng).replace("-", "").replace(" ", "")


def day(rng: random.Random) -> tuple[int, int, int]:
    return rng.randint(1930, 2010), rng.randint(1, 12), rng.randint(1, 28)


def cn_id(rng: random.Random) -> str:
    year, month, date = day(rng)
    body = f"{rng.choice([110105, 310115, 440305, 510104, 650102])}{year}{month:02d}{date:02d}{rng.randrange(1000):03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    check = "10X98765432"[sum(int(c) * w for c, w in zip(body, weights, strict=True)) % 11]
    return body + rng.choice([check, check.lower()])


def it_cf(rng: random.Random) -> str:
    year, month, date = day(rng)
    letters = "".join(rng.choices("BCDFGLMNPRSTV", k=6))
    body = f"{letters}{year % 100:02d}{'ABCDEHLMPRST'[month - 1]}{date + rng.choice([0, 40]):02d}"
    body += f"{rng.choice('ABCDEFGHIL')}{rng.randint(1, 999):03d}"
    odd = dict(zip(string.digits + string.ascii_uppercase, ODD_TABLE, strict=True))
    even = {c: n % 10 if c.isdigit() else n - 10 for n, c in enumerate(string.digits + string.ascii_uppercase)}
    total = sum((odd if place % 2 else even)[c] for place, c in enumerate(body, start=1))
    return rng.choice([str.upper, str.lower])(body + string.ascii_uppercase[total % 26])


ODD_TABLE = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21]
ODD_TABLE += [*ODD_TABLE, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23]
"""0 to 9, then A to Z, as the decree prints them."""


def es_dni(rng: random.Random) -> str:
    sep = rng.choice(["", "", "-", " "])
    if rng.random() < 0.7:
        number = rng.randrange(10**7, 10**8)
        return f"{number}{sep}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"
    first, number = rng.choice("XYZ"), rng.randrange(10**6, 10**7)
    return f"{first}{sep}{number}{sep}{'TRWAGMYFPDXBNJZSQVHLCKE'[('XYZ'.index(first) * 10**7 + number) % 23]}"


def fr_nir(rng: random.Random) -> str:
    year, month, _ = day(rng)
    place = rng.choice(["75", "13", "69", "2A", "2B", "99"])
    rest = f"{rng.randint(1, 990):03d}{rng.randint(1, 999):03d}"
    body = f"{rng.choice('12')}{year % 100:02d}{month:02d}{place}{rest}"
    value = int(body.replace("A", "0").replace("B", "0")) - {"2A": 10**6, "2B": 2 * 10**6}.get(place, 0)
    number = f"{body}{97 - value % 97:02d}"
    return number if rng.random() < 0.5 else grouped(number, [1, 2, 2, 2, 3, 3, 2], " ")


def de_steuer(rng: random.Random) -> str:
    while True:
        digits = rng.sample(string.digits, 9)
        digits.insert(rng.randint(0, 9), rng.choice(digits))
        if digits[0] != "0":
            break
    product = 10
    for digit in digits:
        total = (int(digit) + product) % 10
        product = (2 * (total if total else 10)) % 11
    check = 11 - product
    number = "".join(digits) + str(0 if check == 10 else check)
    return number if rng.random() < 0.5 else grouped(number, [2, 3, 3, 3], " ")


def uk_nhs(rng: random.Random) -> str:
    while True:
        body = some(rng, 9, "4679")
        check = next(
            c for c in range(11) if (sum(int(d) * w for d, w in zip(body, range(10, 1, -1), strict=True)) + c) % 11 == 0
        )
        if check < 10:
            return grouped(body + str(check), [3, 3, 4], " ")


def uk_nhs_compact(rng: random.Random) -> str:
    return uk_nhs(rng).replace(" ", rng.choice(["", "-"]))


def br_cpf(rng: random.Random) -> str:
    number = some(rng, 9)
    for _ in range(2):
        rest = sum(int(d) * w for d, w in zip(reversed(number), range(2, 20), strict=False)) % 11
        number += str(0 if rest < 2 else 11 - rest)
    return f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}"


def br_cpf_compact(rng: random.Random) -> str:
    return br_cpf(rng).replace(".", "").replace("-", "")


def in_aadhaar(rng: random.Random) -> str:
    """Verhoeff by reflections and rotations of a pentagon: a < 5 turns, a >= 5 turns and flips."""
    body = some(rng, 11, "23456789")

    def times(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b - 5) % 5
        return 5 + (a - 5 - b) % 5 if b < 5 else (a - b) % 5

    def turned(digit: int, places: int) -> int:
        for _ in range(places % 8):
            digit = {0: 1, 1: 5, 5: 8, 8: 9, 9: 4, 4: 2, 2: 7, 7: 0, 3: 6, 6: 3}[digit]
        return digit

    for check in string.digits:
        state = 0
        for place, digit in enumerate(reversed(body + check)):
            state = times(state, turned(int(digit), place))
        if state == 0:
            return grouped(body + check, [4, 4, 4], rng.choice(" -"))
    raise AssertionError("one of ten check digits fits")


def in_aadhaar_compact(rng: random.Random) -> str:
    return in_aadhaar(rng).replace(" ", "").replace("-", "")


def kr_rrn(rng: random.Random) -> str:
    year, month, date = day(rng)
    sex = rng.choice("12" if year < 2000 else "34")
    return f"{year % 100:02d}{month:02d}{date:02d}-{sex}{some(rng, 6)}"


def kr_rrn_compact(rng: random.Random) -> str:
    return kr_rrn(rng).replace("-", "")


MAKERS: dict[str, Maker] = {
    "email": email,
    "phone": phone,
    "card": card,
    "iban": iban,
    "ip": ip,
    "us_ssn": us_ssn,
    "cn_id": cn_id,
    "it_cf": it_cf,
    "es_dni": es_dni,
    "fr_nir": fr_nir,
    "de_steuer": de_steuer,
    "uk_nhs": uk_nhs,
    "br_cpf": br_cpf,
    "in_aadhaar": in_aadhaar,
    "kr_rrn": kr_rrn,
}
"""In the form in which people write them."""
COMPACT: dict[str, Maker] = {
    "phone": phone_compact,
    "us_ssn": us_ssn_compact,
    "uk_nhs": uk_nhs_compact,
    "br_cpf": br_cpf_compact,
    "in_aadhaar": in_aadhaar_compact,
    "kr_rrn": kr_rrn_compact,
}
"""Digits only, which look like any number."""
ANNOUNCED = {
    "email": ["E-mail: {}", "write to {} please", "邮箱：{}"],
    "phone": ["Tel. {}", "my phone number is {}", "手机号：{}", "Téléphone : {}", "call me at {} tomorrow"],
    "card": ["card number {}", "Visa {} exp 12/27", "银行卡 {}"],
    "iban": ["IBAN {}", "please transfer to {}.", "Konto: {}"],
    "ip": ["from {}", "client={} status=200", "login ({})"],
    "us_ssn": ["SSN: {}", "social security number {}", "my SSN is {}."],
    "cn_id": ["身份证号{}，请核对", "ID number {}", "身份证：{}"],
    "it_cf": ["codice fiscale {}", "CF: {}", "C.F. {}"],
    "es_dni": ["DNI {}", "NIE: {}", "con DNI {}, vecino de Madrid"],
    "fr_nir": ["n° de sécurité sociale {}", "NIR : {}", "numéro {}"],
    "de_steuer": ["Steuer-ID {}", "IdNr. {}", "Steuerliche Identifikationsnummer: {}"],
    "uk_nhs": ["NHS number {}", "NHS no: {}", "NHS: {}"],
    "br_cpf": ["CPF {}", "CPF: {}", "portador do CPF {}"],
    "in_aadhaar": ["Aadhaar {}", "Aadhaar number: {}", "UIDAI {}"],
    "kr_rrn": ["주민등록번호 {}", "RRN {}", "resident registration number {}"],
}
BARE = ["{}", "the customer gave {} and left", "{}, as said", "note ({}) added", "see {}.", "“{}”", "ok {} thanks"]


DATES = ["{y}-{m:02d}-{d:02d} {t}", "{d:02d}.{m:02d}.{y}", "{m:02d}/{d:02d}/{y}", "{d:02d}-{m:02d}-{y}"]
DATES += ["{y}{m:02d}{d:02d}T{t}Z", "{y}{m:02d}{d:02d}"]


def decoys(rng: random.Random) -> dict[str, str]:
    """One sentence of each sort that holds no personal data."""
    year, month, date = day(rng)
    hour = f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}"
    prices = [
        f"${rng.randrange(10**6):,}.99",
        f"€ {rng.randrange(1000)}.{some(rng, 3)},00",
        f"{rng.random() * 1e5:.4f}",
    ]
    return {
        "order number": rng.choice(["order {}", "invoice no. {}", "PO-{}", "#{}"]).format(
            some(rng, rng.randint(6, 12))
        ),
        "long number": rng.choice(["ref {}", "tracking {}", "{}"]).format(some(rng, rng.randint(13, 19))),
        "ten digits": f"record {some(rng, 10)}",
        "eleven digits": f"record {some(rng, 11)}",
        "groups of four": "license " + " ".join(some(rng, 4) for _ in range(rng.choice([3, 4]))),
        "groups of three": f"{rng.randint(1, 99)} {some(rng, 3)} {some(rng, 3)} rows",
        "epoch": f"at {rng.randint(15 * 10**8, 19 * 10**8)}{rng.choice(['', '000', f'{rng.randrange(1000):03d}'])}",
        "date and time": rng.choice(DATES).format(y=year, m=month, d=date, t=hour),
        "price": "costs " + rng.choice(prices),
        "version": f"v{rng.randrange(20)}.{rng.randrange(30)}.{rng.randrange(9999)}",
        "version of four parts": rng.choice(["version {}", "v{}", "upgrade to {}"]).format(
            ".".join(str(rng.randrange(30)) for _ in range(4))
        ),
        "decimal": f"{rng.uniform(-180, 180):.6f}, {rng.random():.17f}, {rng.random():.3e}",
        "uuid": str(uuid.UUID(int=rng.getrandbits(128))),
        "hash": f"{rng.getrandbits(160):040x}",
        "mac address": ":".join(f"{rng.randrange(256):02x}" for _ in range(6)),
        "barcode": "EAN " + rng.choice(["978", "400", "501", "379"]) + some(rng, 10),
        "part number": f"{rng.choice(['ABC', 'XK', 'PN'])}-{some(rng, 3)}-{some(rng, 2)}-{some(rng, 4)}",
        "handle": rng.choice(
            ["@alice said so", "root@localhost", "npm i pkg@1.2.3", "a @ b.c", "std::vector<int>::at"]
        ),
        "dimensions": f"{rng.randrange(999)}x{rng.randrange(99)} mm, {rng.randrange(99)}:{rng.randrange(99)}, 10-12-14",
    }


def broken(kind: str, rng: random.Random) -> str:
    """A number of the kind with one digit changed: the check digit must catch it."""
    text = MAKERS[kind](rng)
    places = [i for i, c in enumerate(text) if c.isdigit()]
    place = rng.choice(places[len(places) // 2 :])
    return text[:place] + str((int(text[place]) + rng.randint(1, 9)) % 10) + text[place + 1 :]


CHECKED = ("card", "iban", "cn_id", "it_cf", "es_dni", "fr_nir", "de_steuer", "uk_nhs", "br_cpf", "in_aadhaar")
"""Kinds with check digits."""
