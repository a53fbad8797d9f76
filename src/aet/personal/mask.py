"""Masking: personal data in texts and tables gives way to what kind it was."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.errors import ConfigError, SchemaError, nearest
from aet.personal.kind import KINDS, Kind

PASSES = 8
"""What is masked may lay open what stood beside it, so a text is read until nothing more is found; so often at most."""
HINT = re.compile(r"[0-9@]|::")
"""Every kind has one of these."""
DECLARED = "[PRIVATE]"
ENGINES = ("patterns", "presidio")

Find = Callable[[str], tuple[str, Counter[str]]]


@dataclass(frozen=True)
class Masked:
    """A text without personal data, and how many of each kind were found: never what they were."""

    text: str
    found: dict[str, int] = field(default_factory=dict)


def mask_text(text: str, kinds: Sequence[str] | None = None) -> Masked:
    """The text with personal data of the `kinds` (default: all) masked.

    >>> mask_text("Mail ada@example.org, card 4111 1111 1111 1111, order 4111 1111 1111 1112.")
    Masked(text='Mail [EMAIL], card [CARD], order 4111 1111 1111 1112.', found={'email': 1, 'card': 1})
    """
    return Masker(kinds=kinds).mask(text)


class Masker:
    """Masks texts and tables.

    Args:
        columns: declared as personal: every value is masked, whatever it holds.
        kinds: looked for in texts (default: all); () looks for none.
        engine: "patterns", or "presidio" for Microsoft Presidio's analyzer on top of them, if it is installed.

    Numbers are not looked at, only texts: a column of phone numbers that was read as numbers must be declared.

    >>> frame = pd.DataFrame({"name": ["Ada", "Bo"], "note": ["call +44 20 7946 0958", "fine"], "age": [36, 41]})
    >>> masked, rows = Masker(columns=["name"]).frame(frame)
    >>> masked.to_dict("records")[0], rows.tolist()
    ({'name': '[PRIVATE]', 'note': 'call [PHONE]', 'age': 36}, [True, True])
    """

    def __init__(
        self, columns: Sequence[str] = (), kinds: Sequence[str] | None = None, engine: str = "patterns"
    ) -> None:
        if engine not in ENGINES:
            raise ConfigError(f"There is no engine {engine!r} to find personal data. {nearest(engine, ENGINES)}")
        if isinstance(columns, str) or isinstance(kinds, str):
            raise ConfigError("columns and kinds are lists of names, such as ['email'], not one name.")
        self.columns = tuple(columns)
        self.kinds: tuple[Kind, ...] = tuple(
            sorted((KINDS[name] for name in (KINDS if kinds is None else kinds)), key=lambda kind: kind.order)
        )
        self.finders: list[Find] = [self.once] if self.kinds else []
        if engine == "presidio":
            from aet.personal.presidio import Presidio

            self.finders.append(Presidio().once)

    def once(self, text: str) -> tuple[str, Counter[str]]:
        """One pass over a text: what is left of it, and how many of each kind were found."""
        found: Counter[str] = Counter()
        if HINT.search(text) is None:
            return text, found
        for kind in self.kinds:
            spans = list(kind.find(text))
            if spans:
                found[kind.name] += len(spans)
                text = replaced(text, spans, [kind.placeholder] * len(spans))
        return text, found

    def mask(self, text: str) -> Masked:
        """The text masked; masked again it stays as it is."""
        found: Counter[str] = Counter()
        for _ in range(PASSES):
            new: Counter[str] = Counter()
            for once in self.finders:
                text, more = once(text)
                new += more
            if not new:
                break
            found += new
        return Masked(text, dict(found))

    def text(self, text: str) -> str:
        """The text masked."""
        return self.mask(text).text

    def value(self, value: Any, column: str = "") -> Any:
        """A value masked: texts, and those in lists and dicts. The column's name announces numbers as a word would."""
        if isinstance(value, str):
            head = f"{column}: "
            whole = self.text(head + value)
            return whole[len(head) :] if whole.startswith(head) else self.text(value)
        if isinstance(value, list | tuple):
            return [self.value(part, column) for part in value]
        if isinstance(value, dict):
            return {self.text(str(name)): self.value(part, str(name)) for name, part in value.items()}
        return value

    def frame(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, npt.NDArray[np.bool_]]:
        """A copy with personal data masked, and which rows (N,) something was masked in.

        In declared columns texts become `[PRIVATE]`, all else missing. Raises SchemaError if one is not in the table:
        misspelt, it would be kept as it is.
        """
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            raise SchemaError(
                f"The column {missing[0]!r} is declared as personal and is not in the table. "
                f"{nearest(missing[0], map(str, frame.columns))}"
            )
        made, rows = frame.copy(), np.zeros(len(frame), dtype=bool)
        for place, name in enumerate(frame.columns):
            column = frame.iloc[:, place]
            if name in self.columns:
                masked = hidden(column)
                rows |= column.notna().to_numpy()
            elif pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
                continue
            else:
                masked, changed = self.column(column, str(name))
                rows |= changed
            made.isetitem(place, masked.array)
        return made, rows

    def within(self, columns: Collection[str]) -> Masker:
        """The same for a table that has only these columns: declared ones that it lacks are not missed."""
        made = copy(self)
        made.columns = tuple(name for name in self.columns if name in columns)
        return made

    def column(self, column: pd.Series, name: str) -> tuple[pd.Series, npt.NDArray[np.bool_]]:
        """A column of texts masked, each different text once, and which rows changed."""
        known: dict[str, str] = {}
        values: list[Any] = []
        changed = np.zeros(len(column), dtype=bool)
        for row, value in enumerate(column.tolist()):
            if isinstance(value, str):
                new = known.get(value)
                if new is None:
                    new = known[value] = self.value(value, name)
            else:
                new = self.value(value, name)
            changed[row] = new is not value and isinstance(value, str | list | tuple | dict) and new != value
            values.append(new)
        if not changed.any():
            return column, changed
        return pd.Series(values, index=column.index, dtype=object), changed


def hidden(column: pd.Series) -> pd.Series:
    """Texts as `[PRIVATE]`, all else missing."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        empty = pd.NaT if pd.api.types.is_datetime64_any_dtype(column) else np.nan
        return pd.Series([empty] * len(column), index=column.index)
    return pd.Series([DECLARED if isinstance(v, str) else None for v in column], index=column.index, dtype=object)


def replaced(text: str, spans: Sequence[tuple[int, int]], by: Sequence[str]) -> str:
    """The text with spans, rising and apart, replaced."""
    parts, end = [], 0
    for (start, stop), instead in zip(spans, by, strict=True):
        parts += [text[end:start], instead]
        end = stop
    return "".join([*parts, text[end:]])
