"""From a table of events, one a row, to histories: what a person or machine did so far, and what came next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from aet.cells.base import object_cells
from aet.cells.events import ITEM, TIME, plain_item
from aet.errors import ConfigError, DataError, SchemaError, nearest
from aet.tables import read_table
from aet.training.split import instants

PARTS = ("train", "valid", "test")
Span = tuple[int, int, str]
"""Events before the history's first and before what came next, and the part."""


def histories(
    table: Any,
    user: str,
    item: str,
    time: str | None = None,
    *,
    content: Sequence[str] = (),
    length: int = 50,
    split: Literal["leave_last_out"] | None = None,
    after: Any = None,
) -> pd.DataFrame:
    """A long table of events as rows (user, time, history, next, part), each user's events in order of time.

    A row for training holds up to `length` events and the one that came next; a model that answers `output="rank"` is
    trained on every event of the row, so each event of the table is an answer once. What is held out has a row each:

    - `split="leave_last_out"`: of each user the last event is in the part "test", the one before in "valid", and the
      rest in "train"; users of fewer than three events train only.
    - `after`: a time. Events from then on are in the part "test", each after all that its user did before.

    `aet.train(rows[rows["part"] != "test"], "next", output="rank", part="part", ignore=[user, "time"])` trains on one
    part and chooses the best epoch on the other.

    Args:
        table: whatever `aet.train` reads.
        user: column of whose history it is.
        item: column of the items.
        time: column of the times: numbers (seconds since 1970), dates or texts like 2024-05-31T12:00:00. Without it the
            rows stand in order.
        content: columns that are kept with each event. Columns named as in the table of items are not needed here.
        length: events of a history at most.
        split: "leave_last_out", or None.
        after: a time of the column `time`; not with `split`.

    Raises SchemaError for columns that are not there, ConfigError for settings, and DataError for times that cannot be
    read.

    >>> table = {"who": [1, 1, 1, 2], "what": ["a", "b", "c", "a"], "at": [10, 30, 20, 5]}
    >>> rows = histories(table, "who", "what", "at", split="leave_last_out")
    >>> [(row.who, [event["item"] for event in row.history], row.next, row.part) for row in rows.itertuples()]
    [(2, [], 'a', 'train'), (1, [], 'a', 'train'), (1, ['a'], 'c', 'valid'), (1, ['a', 'c'], 'b', 'test')]
    """
    if split not in (None, "leave_last_out"):
        raise ConfigError(f"split: expected 'leave_last_out' or None, got {split!r}.")
    if length < 1:
        raise ConfigError(f"length is how many events a history holds: expected 1 or more, got {length}.")
    if after is not None and (split is not None or time is None):
        raise ConfigError("after cuts by time: expected a column `time` and no `split` beside it. Leave one out.")
    frame = read_table(table)
    for column in (user, item, *([time] if time else []), *content):
        if column not in frame:
            raise SchemaError(f"There is no column {column!r}. {nearest(column, map(str, frame.columns))}")
    items = [plain_item(cell) for cell in frame[item]]
    if (wrong := next((row for row, one in enumerate(items) if one is None), None)) is not None:
        raise DataError(
            f"row {wrong + 1}, column {item!r}: expected the id of an item, got {frame[item].iloc[wrong]!r:.60}. Drop "
            "or mend such rows."
        )
    times = instants(frame[time]) if time else None
    order = np.arange(len(frame)) if times is None else np.argsort(times, kind="stable")
    cut = float(instants(pd.Series([after], name=time))[0]) if after is not None else None
    seconds = [None] * len(frame) if times is None else [t if np.isfinite(t) else None for t in times.tolist()]
    kept = frame[list(content)].to_dict("records") if content else [{}] * len(frame)
    made: list[dict[str, Any]] = []
    for who, rows in frame.iloc[order].groupby(user, sort=False).indices.items():
        own = order[rows].tolist()
        events = [{ITEM: items[row], TIME: seconds[row], **kept[row]} for row in own]
        late = None if cut is None or times is None else int((times[own] < cut).sum())
        for first, next_, part in spans(len(events), length, split is not None, late):
            came = events[next_]
            history = events[first:next_]
            made.append({user: who, "time": came[TIME], "history": history, "next": came[ITEM], "part": part})
    if not made:
        raise DataError(f"No event of {len(frame)} has a user: expected some in the column {user!r}. Mend the column.")
    columns: dict[str, Any] = {name: [row[name] for row in made] for name in (user, "time", "history", "next", "part")}
    columns["history"] = pd.Series(object_cells(columns["history"]), dtype=object)
    columns["next"] = pd.Series(object_cells(columns["next"]), dtype=object)
    return pd.DataFrame(columns)


def spans(count: int, length: int, last_out: bool, late: int | None = None) -> Iterator[Span]:
    """The rows of a user of so many events: for training stretches that end where the next begins, from the end back.

    >>> list(spans(8, 3, last_out=True))
    [(0, 2, 'train'), (2, 5, 'train'), (3, 6, 'valid'), (4, 7, 'test')]
    >>> list(spans(4, 3, last_out=False, late=2))
    [(0, 1, 'train'), (0, 2, 'test'), (0, 3, 'test')]
    """
    trained = count - 2 if last_out and count > 2 else count if late is None else late
    ends = list(range(trained - 1, -1, -length))[::-1]
    for end in ends:
        yield max(0, end - length), end, "train"
    for end in range(trained, count):
        yield max(0, end - length), end, "valid" if last_out and end == count - 2 else "test"
