"""Nothing secret in a log: keys, `Authorization` and passwords in addresses are masked in every line."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

KEY = re.compile(r"aet_([0-9A-Za-z]{1,32})_[0-9A-Za-z_*-]{4,}", re.ASCII)
HEADER = re.compile(
    r"(\bauthorization\b['\"]?\s?[:=,]\s?(?:b(?=['\"]))?['\"]?)(?:(?:basic|bearer|digest|token)\s+)?[^\s'\",;&]+",
    re.ASCII | re.IGNORECASE,
)
SCHEME = re.compile(r"\b(bearer|basic)\s+[\w+/=.~-]{4,}", re.ASCII | re.IGNORECASE)
PASSWORD = re.compile(r"(://[^\s/:@]{1,128}:)[^\s/@]{1,256}@")
OWN = ("name", "levelname", "pathname", "filename", "module", "funcName", "threadName", "processName", "msg")
"""Fields of a line that no caller fills with data, and the one that is masked by itself."""


def redact(text: str) -> str:
    """The text without secrets; the public name of a key stays.

    >>> redact("GET / Authorization: Bearer aet_0123456789ab_" + 64 * "f")
    'GET / Authorization: ***'
    >>> redact("key aet_0123456789ab_" + 64 * "f" + " at postgresql://aet:pass@db/aet")
    'key aet_0123456789ab_*** at postgresql://aet:***@db/aet'
    """
    text = HEADER.sub(r"\1***", KEY.sub(r"aet_\1_***", text))
    return PASSWORD.sub(r"\1***@", SCHEME.sub(r"\1 ***", text))


class NoSecrets(logging.Filter):
    """A filter for handlers: every line that they write is redacted, its traceback too.

    Put it on handlers, not on loggers: those see only what is logged to themselves.

    Args:
        more: done to each text after that, such as `aet.personal.Masker().text`.
    """

    def __init__(self, more: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self.more = more

    def clean(self, text: str) -> str:
        """The text as it may be written."""
        text = redact(text)
        return self.more(text) if self.more else text

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the line; always let it pass."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(self.cleaned, record.args))
        elif record.args:
            record.args = {name: self.cleaned(value) for name, value in record.args.items()}
        whole = record.getMessage()
        if self.clean(whole) != whole:  # in the words around the parts, or put together from several
            record.msg, record.args = self.clean(whole), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        for name, value in vars(record).items():
            if isinstance(value, str) and name not in OWN:
                setattr(record, name, self.clean(value))
        return True

    def cleaned(self, value: object) -> object:
        """The value, as text only if its text has to be cleaned."""
        if value is None or isinstance(value, int | float):
            return value
        text = str(value)
        clean = self.clean(text)
        return value if clean == text else clean


def keep_secrets(more: Callable[[str], str] | None = None) -> None:
    """Put the filter on every handler there is now: call it once logging is set up."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if not any(isinstance(known, NoSecrets) for known in handler.filters):
            handler.addFilter(NoSecrets(more))
