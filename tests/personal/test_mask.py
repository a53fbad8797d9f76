"""Personal data is found, what is none is left, and nothing breaks or takes long."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aet.errors import ConfigError, MissingPackage, SchemaError
from aet.personal import KINDS, Masker, mask_text
from aet.personal.presidio import language_model

PUBLISHED = {
    "email": ["simple@example.com", "user.name+tag@example.co.uk", "jörg@müller.example.de", "X@EXAMPLE.ORG"],
    "phone": ["+1 202-555-0173", "+44 (0)20 7946 0958", "0044 20 7946 0958", "(202) 555-0143", "13800138000"],
    "card": ["4012888888881881", "5555 5555 5555 4444", "3782-822463-10005", "30569309025904", "6200000000000005"],
    "iban": ["DE89 3704 0044 0532 0130 00", "NO9386011117947", "MT84MALT011000012345MTLCAST001S"],
    "ip": ["192.0.2.1", "2001:db8:85a3::8a2e:370:7334", "::ffff:192.0.2.128"],
    "us_ssn": ["078-05-1120", "219 09 9999"],
    "cn_id": ["11010519491231002X", "440524188001010014"],
    "it_cf": ["RSSMRA85T10A562S", "mrtmtt91d08f205j"],
    "es_dni": ["12345678Z", "X-1234567-L", "12.345.678-Z"],
    "fr_nir": ["255081416802538", "2 69 05 49 588 157 80"],
    "de_steuer": ["86095742719", "47 036 892 816"],
    "uk_nhs": ["943 476 5919", "401 023 2137"],
    "br_cpf": ["529.982.247-25", "111.444.777-35"],
    "in_aadhaar": ["9999 4105 7058", "2341-2341-2346"],
    "kr_rrn": ["900101-1234567"],
}
"""Numbers that standards and issuers print as examples; of kr_rrn none is published."""
NOTHING = [
    "order 20240115-0007 of 2024-01-15 10:20:30, 01-02-2024, 20240115",
    "costs 1,234,567.89 or 1.234.567,89 EUR",
    "v1.2.3.4, version 10.0.19.41, 300.1.1.1, 127.0.0.1, ::1",
    "epoch 1700000000 and 1700000000000",
    "3.14159265358979, -122.419416, 1e-10, 4111.1111",
    "de305d54-75b4-431b-adb2-eb6b9e546014 aa:bb:cc:dd:ee:ff",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "EAN 4006381333931",
    "@alice, root@localhost, pkg@1.2.3, a @ b.c, std::vector",
    "ABC-536-22-1234 4111 1111 1111 1112 GB82 WEST 1234 5698 7654 33 00000000000",
    "The motor ran warm.",
    "",
]


def test_every_kind_has_examples_here():
    assert set(PUBLISHED) == set(KINDS)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
@pytest.mark.parametrize("sentence", ["{}", "he said {}, then left", "是{}。", "({})", "a\n{}\nb", "{}; {}"])
def test_published_numbers_are_masked_and_named(name, sentence):
    for number in PUBLISHED[name]:
        masked = mask_text(sentence.format(number, number))
        assert masked.text == sentence.format(*[KINDS[name].placeholder] * 2)
        assert masked.found == {name: sentence.count("{}")}


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_no_personal_data_is_left(text):
    assert mask_text(text).text == text
    assert mask_text(text).found == {}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("NHS number: 9434765919", "NHS number: [UK_NHS]"),
        ("record 9434765919", "record 9434765919"),
        ("my phone is 2025550143", "my phone is [PHONE]"),
        ("SSN 536221234", "SSN [US_SSN]"),
        ("CPF 52998224725", "CPF [BR_CPF]"),
        ("Aadhaar 999941057058", "Aadhaar [IN_AADHAAR]"),
        ("call +44 20 7946 0958 12 times", "call [PHONE] 12 times"),
        ("4111 1111 1111 1111 12/27 123", "[CARD] 12/27 123"),
    ],
)
def test_what_stands_before_and_behind(text, masked):
    assert mask_text(text).text == masked


def test_every_changed_digit_of_a_checked_number_is_seen():
    checked = ("card", "iban", "cn_id", "it_cf", "es_dni", "fr_nir", "de_steuer", "uk_nhs", "br_cpf", "in_aadhaar")
    for name in checked:
        number = PUBLISHED[name][0]
        for place in [i for i, c in enumerate(number) if c.isdigit()]:
            for other in set("0123456789") - {number[place]}:
                wrong = number[:place] + other + number[place + 1 :]
                assert name not in mask_text(wrong).found, wrong


def test_only_the_kinds_asked_for():
    text = "a@example.org 192.0.2.1"
    assert mask_text(text, kinds=["ip"]).text == "a@example.org [IP]"
    assert mask_text(text, kinds=[]).text == text
    with pytest.raises(ConfigError, match=r"no kind of personal data 'mail'.*'email'"):
        mask_text(text, kinds=["mail"])
    with pytest.raises(ConfigError, match="lists of names"):
        Masker(kinds="email")


def test_a_table():
    frame = pd.DataFrame(
        {
            "name": ["Ada", None, "Cy", "Di"],
            "note": ["write a@example.org", "fine", None, "fine"],
            "phone": ["2025550143", "n/a", "", None],
            "born": pd.to_datetime(["1990-01-01"] * 4),
            "salary": [1.0, 2.0, np.nan, 4.0],
            "x": [4111111111111111, 2, 3, 4],
            "tags": [["ok"], ["192.0.2.1", {"ip": "192.0.2.1"}], [], None],
        },
        index=[7, 7, 8, 9],
    )
    before = frame.copy(deep=True)
    made, rows = Masker(columns=["name", "born", "salary"]).frame(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert made["name"].fillna("missing").tolist() == ["[PRIVATE]", "missing", "[PRIVATE]", "[PRIVATE]"]
    assert made["note"].tolist()[:2] == ["write [EMAIL]", "fine"]
    assert made["phone"].tolist()[:3] == ["[PHONE]", "n/a", ""]  # the column's name says what the number is
    assert made["born"].isna().all()
    assert made["salary"].isna().all()
    assert made["x"].tolist() == [4111111111111111, 2, 3, 4]
    assert made["tags"].iloc[1] == ["[IP]", {"ip": "[IP]"}]
    assert made.index.tolist() == [7, 7, 8, 9]
    assert rows.tolist() == [True] * 4
    made, rows = Masker().frame(frame)
    assert rows.tolist() == [True, True, False, False]
    assert made["salary"].equals(frame["salary"])
    again, rows = Masker().frame(made)
    assert not rows.any()
    pd.testing.assert_frame_equal(again, made)


def test_columns_of_categories_and_the_same_name_twice():
    frame = pd.DataFrame([["a@example.org", "b@example.org"], ["x", "y"]], columns=["c", "c"]).astype("category")
    made, rows = Masker().frame(frame)
    assert made.to_numpy().tolist() == [["[EMAIL]", "[EMAIL]"], ["x", "y"]]
    assert rows.tolist() == [True, False]


def test_a_declared_column_that_is_not_there_is_an_error():
    with pytest.raises(
        SchemaError, match=r"'nmae' is declared as personal and is not in the table\. Did you mean 'name'"
    ):
        Masker(columns=["nmae"]).frame(pd.DataFrame({"name": ["Ada"]}))


def test_presidio_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingPackage, match=r"presidio-analyzer.*engine='patterns'"):
        Masker(engine="presidio")
    with pytest.raises(ConfigError, match="Did you mean 'presidio'"):
        Masker(engine="presido")


def test_presidio_finds_names_beside_the_patterns():
    pytest.importorskip("presidio_analyzer", reason="presidio-analyzer is not installed")
    pytest.importorskip("spacy", reason="spaCy is not installed")
    try:
        masker = Masker(engine="presidio")
    except MissingPackage as error:
        pytest.skip(str(error))
    masked = masker.mask("John Smith lives in Paris, mail ada@example.org")
    assert masked.text == "[PERSON] lives in [LOCATION], mail [EMAIL]"
    assert masker.mask(masked.text).text == masked.text


def test_presidio_without_a_language_model_says_so(monkeypatch):
    package = SimpleNamespace(get_installed_models=lambda: ["de_core_news_sm"])
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(util=package))
    monkeypatch.setitem(sys.modules, "spacy.util", package)
    with pytest.raises(MissingPackage, match=r"English models.*engine='patterns'"):
        language_model()
    package.get_installed_models = lambda: ["en_core_web_sm", "en_core_web_md"]
    assert language_model() == "en_core_web_md"


PIECES = [number for numbers in PUBLISHED.values() for number in numbers] + [*NOTHING[:9], "tel", "NHS", "call ", "CPF"]
SEPARATORS = ["", " ", ".", "-", "@", ":", "+", "/", "(", ")", ", ", "[", "]", "0", "00", "_", "\n"]
MIXED = st.lists(st.one_of(st.sampled_from(PIECES), st.sampled_from(SEPARATORS), st.text(max_size=4)), max_size=12).map(
    "".join
)


@settings(max_examples=150, deadline=None)
@given(text=MIXED)
def test_masking_twice_is_masking_once(text):
    masked = mask_text(text).text
    assert mask_text(masked).text == masked


@settings(max_examples=150, deadline=None)
@given(text=st.one_of(st.text(), st.text(alphabet="0123456789 .-+()@:[]ABXabx\u0660\uff11\n")))
def test_any_text_is_an_answer(text):
    masked = mask_text(text)
    assert masked.found or masked.text == text


def test_no_digit_of_a_found_number_is_left():
    for numbers in PUBLISHED.values():
        for number in numbers:
            assert not any(c.isdigit() for c in mask_text(number).text)


HOSTILE = {
    "digits": "1" * 60,
    "groups": "1234 " * 12,
    "threes": "123 456 " * 8,
    "dots": "1.2.3.4." * 8,
    "dashes": "1-" * 30,
    "at": "a@" * 30,
    "domain": "a@" + "b." * 30,
    "labels": "a@" + "-" * 60 + " ",
    "locals": "a." * 30,
    "colons": "a:" * 30,
    "hex": "abcdef" * 10 + " ",
    "plus": "+1 " * 20,
    "long plus": "+" + "1" * 30 + " ",
    "brackets": "(0) " * 15,
    "words": "tel nhs cpf ssn " * 4,
    "announced": "tel 1" * 12,
    "iban": "GB82 WEST 1234 " * 4,
    "letters": "ABCDEF" * 10,
    "code": "RSSMRA85T10A56" * 4 + " ",
    "zeros": "00" * 30 + " ",
    "mails": "a@b.co" * 10,
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_text_takes_time_linear_in_its_length(name):
    def seconds(size: int) -> float:
        text = (HOSTILE[name] * (size // len(HOSTILE[name]) + 1))[:size]
        times = []
        for _ in range(2):
            started = time.process_time()
            mask_text(text)
            times.append(time.process_time() - started)
        return min(times)

    short, long = seconds(4_000), seconds(32_000)
    assert long < 24 * short + 0.02  # 8 for linear time, 64 for quadratic


def test_a_megabyte_of_hostile_text_is_read_within_seconds():
    text = "".join(HOSTILE.values()) * 810
    assert len(text) > 1e6
    started = time.process_time()
    masked = mask_text(text)
    assert time.process_time() - started < 60
    assert masked.found
