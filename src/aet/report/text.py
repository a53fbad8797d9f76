"""Words and numbers of the report: escaping, units, and which way a metric is good."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aet.errors import DataError

SPACE = "\u00a0"
MINUS = "\u2212"
UNKNOWN = "–"


def escape(value: object) -> str:
    """Text that is safe inside an element and inside a quoted attribute.

    >>> escape('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    # Lone surrogates come from badly decoded files and could not be written as UTF-8.
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"), quote=True)


def number(value: Any) -> float | None:
    """A finite number, or None where it is missing, not a number or infinite.

    Raises:
        DataError: the value is no number at all.

    >>> number(1), number(None), number(float("nan"))
    (1.0, None, None)
    """
    if value is None:
        return None
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise DataError(
            f"The report record holds {value!r} where a number belongs. Expected a number or null. "
            "Mend the entry or leave it out."
        ) from None
    return result if math.isfinite(result) else None


def mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under `key`, empty where missing."""
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def entries(record: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The list of mappings under `key`, empty where missing."""
    value = record.get(key)
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, Sequence) else []


def decimal(value: float | None, digits: int = 1) -> str:
    """A number with thousands separated and a true minus sign.

    >>> decimal(-1234.56), decimal(None)
    ('−1,234.6', '–')
    """
    if value is None:
        return UNKNOWN
    rounded = round(value, digits) or 0.0  # no negative zero
    return f"{rounded:,.{digits}f}".replace("-", MINUS)


def signed(value: float | None, digits: int = 1) -> str:
    """A difference, always with its sign.

    >>> signed(3.14), signed(-3.14), signed(0.0)
    ('+3.1', '−3.1', '0.0')
    """
    text = decimal(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text


def count(value: float | None) -> str:
    """A whole number with thousands separated.

    >>> count(9395)
    '9,395'
    """
    return decimal(value, 0)


def plural(value: float | None, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "label"), plural(12, "label").replace(SPACE, " ")
    ('1\xa0label', '12 labels')
    """
    return f"{count(value)}{SPACE}{one if value == 1 else many or one + 's'}"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as a percentage.

    >>> percent(0.8312).replace(SPACE, " ")
    '83.1 %'
    """
    return UNKNOWN if value is None else f"{decimal(100 * value, digits)}{SPACE}%"


def compact(value: float | None) -> str:
    """A number of any size in about three figures.

    >>> compact(0.08), compact(0.00123), compact(12.34), compact(1234.5)
    ('0.080', '0.0012', '12.3', '1,234')
    """
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4 or size > 9:
        return f"{value:.2g}".replace("-", MINUS)
    return decimal(value, 1 - size if size < -2 else min(3, max(0, 2 - size)))


def volume(value: float | None) -> str:
    """Bytes in a unit that people read.

    >>> volume(12_000).replace(SPACE, " ")
    '12.0 KB'
    """
    if value is None:
        return UNKNOWN
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if value >= size:
            return f"{decimal(value / size)}{SPACE}{unit}"
    return f"{count(value)}{SPACE}B"


def duration(value: float | None) -> str:
    """Seconds in units that people read.

    >>> duration(134).replace(SPACE, " "), duration(1.234).replace(SPACE, " ")
    ('2 min 14 s', '1.2 s')
    """
    if value is None:
        return UNKNOWN
    if value < 60:
        return f"{decimal(value) if value >= 0.1 else compact(value)}{SPACE}s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{SPACE}h {minutes}{SPACE}min" if hours else f"{minutes}{SPACE}min {seconds}{SPACE}s"


def date(value: object) -> str:
    """An ISO time as a person writes it; anything else as it stands.

    >>> date("2025-03-04T10:20:30+00:00"), date("2025-03-04")
    ('4 March 2025, 10:20', '4 March 2025')
    """
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    day = f"{moment.day} {moment:%B %Y}"
    return f"{day}, {moment:%H:%M}" if len(str(value)) > len("2025-03-04") else day


@dataclass(frozen=True)
class Metric:
    """What the numbers of a run measure, how to write them and which way is up.

    >>> Metric("accuracy").show(0.91).replace(SPACE, " "), Metric("r2").show(0.91)
    ('91.0 %', '0.910')
    >>> Metric("mae").gain(2.0, 1.5)
    0.5
    """

    key: str

    @property
    def name(self) -> str:
        """The name in a sentence."""
        names = {"r2": "R²", "f1": "F1", "macro_f1": "macro F1", "entity_f1": "entity F1", "auc": "AUC", "chrf": "chrF"}
        names |= {"mae": "MAE", "mse": "MSE", "rmse": "RMSE"}
        return names.get(self.key, self.key.replace("_", " "))

    @property
    def title(self) -> str:
        """The name at the beginning of a sentence."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def share(self) -> bool:
        """Whether the metric is a share of answers, written in percent."""
        return self.key.endswith(("accuracy", "f1", "precision", "recall", "match", "jaccard", "closeness"))

    @property
    def lower(self) -> bool:
        """Whether less is better."""
        return self.key.endswith(("loss", "error", "mae", "mse", "rmse", "ece", "pinball", "perplexity"))

    def show(self, value: float | None) -> str:
        """A value with its unit."""
        if self.share:
            return percent(value)
        return decimal(value, 3) if value is None or abs(value) < 10 else compact(value)

    def gain(self, before: float | None, after: float | None) -> float | None:
        """How much better `after` is, in the metric's own unit; positive is better."""
        if before is None or after is None:
            return None
        return before - after if self.lower else after - before

    def size(self, gain: float | None) -> str:
        """A difference without its sign: points for shares."""
        if gain is None:
            return UNKNOWN
        return decimal(abs(100 * gain)) if self.share else self.show(abs(gain))

    def amount(self, gain: float | None) -> str:
        """A difference without its sign, with its unit if it has one."""
        return f"{self.size(gain)} points" if self.share else self.size(gain)

    def change(self, gain: float | None) -> str:
        """A difference with its sign: points for shares."""
        text = self.size(gain)
        if gain is None or not text.strip("0."):
            return text
        return ("+" if gain > 0 else MINUS) + text
