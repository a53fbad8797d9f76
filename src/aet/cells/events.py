"""Histories: the events of one person or machine in order, each an item with a time and content of its own."""

from __future__ import annotations

import itertools
import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from aet.cells.base import CELLS, TARGETS, Cells, Column, Faults, Target, each, object_cells, shown
from aet.cells.number import dates, parse_numbers
from aet.cells.target import two_or_raise

ITEM, TIME = "item", "time"
"""Names of an event's own two fields; all others are content."""
ZONE = re.compile(r"(Z|[+-]\d{2}(:?\d{2})?)$")
Event = dict[str, Any]


class HistoryWarning(UserWarning):
    """Histories were put in order, or their times are written in different ways."""


def plain_item(item: Any) -> Any:
    """An item's id as JSON holds it, whole floats as integers; None if it is none.

    >>> plain_item(7.0), plain_item("a7"), plain_item([7]), plain_item(float("nan"))
    (7, 'a7', None, None)
    """
    item = item.item() if isinstance(item, np.generic) else item
    if isinstance(item, float):
        return int(item) if item.is_integer() else None
    if isinstance(item, str):
        return item.strip() or None
    return item if isinstance(item, int) and not isinstance(item, bool) else None


def parsed(cell: Any) -> list[Any] | None:
    """The events of a cell as they are written: a list, or the JSON text of one; none for a missing cell.

    >>> parsed('[3, {"item": 4}]'), parsed((3,)), parsed(None), parsed("3"), parsed(3)
    ([3, {'item': 4}], [3], [], None, None)
    """
    if isinstance(cell, str):
        try:
            cell = json.loads(cell) if cell.lstrip().startswith("[") else None
        except ValueError:
            return None
        return cell if isinstance(cell, list) else None
    if isinstance(cell, list | tuple) or (isinstance(cell, np.ndarray) and cell.ndim == 1):
        return list(cell)
    return [] if pd.api.types.is_scalar(cell) and pd.isna(cell) else None


@CELLS.register("events")
class Events(Cells):
    """Lists of events in order: dicts `{"item": ..., "time": ..., further content}`, or plain ids of items.

    A missing cell or an empty list is a history without an event yet.
    """

    measure = "length"

    @classmethod
    def measured(cls, cells: Column[Any]) -> Column[Any]:
        """Events."""
        return each(cells, len)

    @classmethod
    def recognises(cls, filled: Column[Any]) -> bool:
        """Lists of dicts with an item, as such or as JSON text, in most cells that are not empty."""
        read = [cell for cell in map(parsed, filled.iloc[:100]) if cell != []]
        return 2 * sum(map(_told, read)) > len(read)

    @classmethod
    def check(cls, column: Column[Any], faults: Faults) -> pd.Series:
        """Lists of events sorted by time: item, time in seconds since 1970 or None, and what else is known."""
        rows, found = Times(), [parsed(cell) for cell in column]
        wrong: dict[int, str] = {}
        made: list[list[Event]] = []
        for row, events in enumerate(found):
            read = [] if events is None else [_event(event) for event in events]
            bad = next((place for place, event in enumerate(read) if event is None), None)
            if events is None:
                wrong[row] = shown(column.iloc[row])
            elif bad is not None:
                wrong[row] = f"the event {shown(events[bad])}"
            else:
                rows.note(row, [event for event in read if event is not None])
            made.append([event for event in read if event is not None])
        wrong |= rows.read()
        mask = np.array([row in wrong for row in range(len(found))], dtype=bool)
        faults.add(mask, column.name, "a list of events, each with an item and a time that can be read", wrong.get)  # type: ignore[arg-type]
        ordered = [[] if bad else in_order(events) for events, bad in zip(made, mask.tolist(), strict=True)]
        moved = sum(new is not old for new, old in zip(ordered, made, strict=True) if new)
        rows.tell(str(column.name), moved)
        return pd.Series(object_cells(ordered), dtype=object)


def _told(events: list[Any] | None) -> bool:
    return bool(events) and all(isinstance(event, Mapping) and ITEM in event for event in events or ())


def _event(given: Any) -> Event | None:
    """One event with its fields that are filled; None without an item."""
    fields = dict(given) if isinstance(given, Mapping) else {ITEM: given}
    item = plain_item(fields.pop(ITEM, None))
    if item is None:
        return None
    time = fields.pop(TIME, None)
    return {ITEM: item, TIME: time, **{str(name): value for name, value in fields.items() if value is not None}}


class Times:
    """The times of all rows' events, read together: numbers (seconds since 1970), dates, or ISO 8601 texts."""

    def __init__(self) -> None:
        self.events: list[tuple[int, Event]] = []
        self.zoned = self.bare = 0

    def note(self, row: int, events: Sequence[Event]) -> None:
        """Take the events of a row in whose times are not seconds yet."""
        for event in events:
            time = event[TIME]
            if type(time) is float and math.isfinite(time):
                continue
            if type(time) is int:
                event[TIME] = float(time)
            elif time is not None:
                self.events.append((row, event))

    def read(self) -> dict[int, str]:
        """Put seconds, or None for a missing time, in their place; a sentence for each row with another time."""
        if not self.events:
            return {}
        times = pd.Series(object_cells([event[TIME] for _, event in self.events]), dtype=object)
        values, wrong = parse_numbers(times)
        texts = np.flatnonzero(wrong)
        if len(texts):
            written = times.iloc[texts].map(lambda time: time if isinstance(time, str) else "?")
            zoned = written.map(lambda time: bool(ZONE.search(time) and "T" in time.replace(" ", "T")))
            self.zoned, self.bare = int(zoned.sum()), int((~zoned).sum())
            read = dates(written)
            values[texts], wrong[texts] = parse_numbers(read)[0], read.isna().to_numpy()
        wrong |= np.isinf(values)
        found: dict[int, str] = {}
        for (row, event), value, bad in zip(self.events, values.tolist(), wrong.tolist(), strict=True):
            if bad:
                found.setdefault(row, f"the time {shown(event[TIME])}")
            event[TIME] = None if bad or math.isnan(value) else value
        return found

    def tell(self, name: str, moved: int) -> None:
        """One warning for all that was changed."""
        said = [f"{moved} histories were not in order of time and were sorted"] if moved else []
        if self.zoned and self.bare:
            said.append(f"{self.bare} times without a zone stand beside {self.zoned} with one and were read as UTC")
        if said:
            warnings.warn(f"Column {name!r}: {'; '.join(said)}.", HistoryWarning, stacklevel=4)


def in_order(events: list[Event]) -> list[Event]:
    """Sorted by time; those of the same time, and those without one, stay behind the event that they came after.

    >>> [event["item"] for event in in_order([{"item": "b", "time": 2.0}, {"item": "?", "time": None},
    ...     {"item": "a", "time": 1.0}])]
    ['a', 'b', '?']
    """
    last, keys = -math.inf, []
    for event in events:
        last = last if event[TIME] is None else event[TIME]
        keys.append(last)
    if all(one <= two for one, two in itertools.pairwise(keys)):
        return events
    return [events[place] for place in sorted(range(len(events)), key=keys.__getitem__)]


@TARGETS.register("rank")
class NextItem(Target):
    """The item that comes next, after the events of the one input of events."""

    reads = "events"

    @classmethod
    def learnable(cls, frame: pd.DataFrame, targets: Sequence[str]) -> None:
        """Two items or more."""
        two_or_raise({text for name in targets for text in frame[name].dropna().map(str)}, targets)

    @classmethod
    def check(cls, column: Column[Any], faults: Faults | None, typed: Mapping[str, Any], alone: bool) -> Any:
        """Ids of items, None where there is none."""
        cells = [plain_item(cell) for cell in column]
        wrong = np.array([cell is None for cell in cells], dtype=bool)
        if faults:
            faults.add(wrong, column.name, "the id of an item as the target", lambda row: shown(column.iloc[row]))
        return pd.Series(object_cells(cells), dtype=object)
