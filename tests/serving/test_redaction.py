"""No secret reaches a log, in whatever part of a line it stands."""

from __future__ import annotations

import base64
import io
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.logging import AccessFormatter

from aet.personal import Masker
from aet.serving.redaction import NoSecrets, keep_secrets, redact

SECRET = "0123456789abcdef" * 4
TOKEN = f"aet_0123456789ab_{SECRET}"
BASIC = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()


@pytest.fixture
def written():
    """A logger, and what its handler wrote."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(message)s %(extra)s", defaults={"extra": ""}))
    handler.addFilter(NoSecrets())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger, text


class Thing:
    def __str__(self) -> str:
        return f"<Thing {TOKEN}>"


def fail() -> None:
    raise ValueError(f"bad key {TOKEN}")


@pytest.mark.parametrize(
    "log",
    [
        lambda logger: logger.info(TOKEN),
        lambda logger: logger.info("key %s of %d", TOKEN, 3),
        lambda logger: logger.info("%(key)s", {"key": TOKEN}),
        lambda logger: logger.info("%s", Thing()),
        lambda logger: logger.info("%s%s", TOKEN[:30], TOKEN[30:]),
        lambda logger: logger.info("%r", [(b"authorization", f"Bearer {TOKEN}".encode())]),
        lambda logger: logger.info("%s", {"Authorization": f"Bearer {SECRET}"}),
        lambda logger: logger.info("Authorization: Basic %s", BASIC),
        lambda logger: logger.info("sent bearer %s", SECRET),
        lambda logger: logger.info("x", extra={"extra": f"GET /?key={TOKEN}"}),
        lambda logger: logger.info(ValueError(TOKEN)),
    ],
)
def test_secrets_are_masked_wherever_they_stand(written, log):
    logger, text = written
    log(logger)
    assert "***" in text.getvalue()
    for part in (SECRET, SECRET[:20], SECRET[-20:], BASIC):
        assert part not in text.getvalue()


def test_tracebacks_too(written):
    logger, text = written
    try:
        fail()
    except ValueError:
        logger.exception("it failed")
    assert "ValueError: bad key aet_0123456789ab_***" in text.getvalue()
    assert SECRET[:20] not in text.getvalue()


def test_what_is_no_secret_stays_as_it_is(written):
    logger, text = written
    logger.info("%d rows of %s in %.1f s, the authorization of aet_demo", 3, "gas", 0.5)
    assert text.getvalue() == "3 rows of gas in 0.5 s, the authorization of aet_demo \n"


def test_the_servers_own_lines_keep_their_form():
    record = logging.LogRecord(
        "uvicorn.access",
        logging.INFO,
        "",
        0,
        '%s - "%s %s HTTP/%s" %d',
        ("1.2.3.4:5", "GET", f"/?k={TOKEN}", "1.1", 200),
        None,
    )
    assert NoSecrets().filter(record)
    line = AccessFormatter("%(client_addr)s %(request_line)s %(status_code)s", use_colors=False).format(record)
    assert line == "1.2.3.4:5 GET /?k=aet_0123456789ab_*** HTTP/1.1 200 OK"


def test_personal_data_as_well_if_asked_for(written):
    logger, text = written
    logger.handlers[0].filters[0].more = Masker().text
    logger.info("row of %s from %s", "ada@example.org", "192.0.2.1")
    assert text.getvalue().strip() == "row of [EMAIL] from [IP]"


def test_passwords_in_addresses():
    assert redact("postgresql+psycopg://aet:s3cr-t@db:5432/x") == "postgresql+psycopg://aet:***@db:5432/x"
    assert redact("http://127.0.0.1:8000/predict") == "http://127.0.0.1:8000/predict"


def test_put_on_every_handler_once():
    logger, handler = logging.getLogger("aet.test.redaction"), logging.StreamHandler(io.StringIO())
    logger.addHandler(handler)
    try:
        keep_secrets()
        keep_secrets()
        assert [type(f) for f in handler.filters] == [NoSecrets]
    finally:
        logger.removeHandler(handler)
        for one in logging.getLogger().handlers:
            one.filters = [f for f in one.filters if not isinstance(f, NoSecrets)]


@settings(max_examples=150, deadline=None)
@given(before=st.text(max_size=20), after=st.text(alphabet=" \n,;'\")]}", max_size=5))
def test_a_key_is_masked_in_any_text_and_twice_is_once(before, after):
    text = before + TOKEN + after
    assert SECRET not in redact(text)
    assert redact(redact(text)) == redact(text)
