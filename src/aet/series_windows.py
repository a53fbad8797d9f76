"""A table of measurements over time as rows a model can forecast: one window of one series a row."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.cells.base import object_cells
from aet.cells.number import parse_numbers
from aet.errors import ConfigError, DataError, SchemaError, nearest
from aet.tables import read_table
from aet.timelines import Timeline

ROLES = {"target": "future", "id": "id", "time": "time", "until": "until"}
"""What the columns that `windows` makes are to a model."""
Floats = npt.NDArray[np.float64]


class WindowWarning(UserWarning):
    """Some series gives no window, or fewer than it might."""


def windows(
    source: Any,
    *,
    time: str,
    columns: Sequence[str] | str | None = None,
    series: str | None = None,
    lookback: int = 96,
    horizon: int = 24,
    every: int = 1,
    known: Sequence[str] | str = (),
    calendar: bool = True,
    ahead: bool = False,
) -> pd.DataFrame:
    """Cut a table into windows: the past of a series up to a time, and what followed.

    Args:
        source: any table (`aet.tables.read_table`) with one row a time, or of several series one row a time and series.
        time: column of times: numbers, or dates like 2024-05-31T12:00:00. Their order does not matter.
        columns: columns to forecast, each a series; all columns of numbers unless given.
        series: column that names the series of each row, in a long table.
        lookback: values of the past in a row.
        horizon: values that followed.
        every: steps from one window of a series to the next; 1 gives every one, `horizon` those whose futures do not
            overlap.
        known: columns of numbers known ahead (a forecast of the weather, a price list): a row holds them over its past
            and its future.
        calendar: add the hour, weekday and month of the row's time, as far as they differ from step to step.
        ahead: only the newest window of each series, up to its last value, which has no future yet; rows after it may
            give what is `known`.

    Returns:
        A row for each window: `id`; `series`, where there are several; `time` of its newest value; `until`, the time of
        the last value that followed, before which nobody knows the answer; `history` (lookback,); the columns `known`
        (lookback + horizon,); `hour`, `weekday`, `month`; `future` (horizon,), missing with `ahead`. Sorted by time.

    Times at which a series has no row are missing values (NaN) inside the lists, as empty cells are; windows without
    any value in past or future are left out. A series shorter than lookback + horizon gives its last window only, with
    a shorter past; one of `horizon` values or fewer gives none (WindowWarning). Times in zones count as instants (UTC).

    Raises:
        SchemaError: a column that is not there.
        DataError: times that cannot be read or have a zone in some rows only, a time given twice for a series, times
            that fit no regular step, columns without numbers, no window at all.
        ConfigError: a length below 1.

    >>> table = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=6), "sold": [3.0, 1, 4, 1, 5, 9]})
    >>> rows = windows(table, time="day", lookback=3, horizon=2)
    >>> rows[["history", "future"]].map(lambda cell: cell.tolist()).values.tolist()
    [[[3.0, 1.0, 4.0], [1.0, 5.0]], [[1.0, 4.0, 1.0], [5.0, 9.0]]]
    >>> rows["until"].dt.day.tolist(), rows["weekday"].tolist()
    ([5, 6], ['Wed', 'Thu'])
    """
    for name, value in (("lookback", lookback), ("horizon", horizon), ("every", every)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} counts values: expected a whole number of 1 or more, got {value!r}.")
    table = read_table(source)
    known = [known] if isinstance(known, str) else list(known)
    columns = [columns] if isinstance(columns, str) else columns
    for column in [time, *(columns or []), *known, *([series] if series else [])]:
        if column not in table.columns:
            raise SchemaError(
                f"There is no column {column!r} to cut windows of. {nearest(column, [str(one) for one in table])}"
            )
    others = [str(c) for c in table if c not in (time, series, *known)]
    wanted = columns or [column for column in others if table[column].dtype.kind in "iuf"]
    if not wanted:
        raise DataError("There is no column of numbers to forecast. Name one: columns=['...'].")
    line = Timeline.of(table[time])
    values = {column: _numbers(table[column]) for column in [*wanted, *known]}
    pieces, short = [], []
    for name, rows in _by_series(table, series):
        grid = line.grid(rows, name)
        for column in wanted:
            label = " ".join(
                str(one) for one in (name, column if len(wanted) > 1 or not series else None) if one is not None
            )
            x = grid.filled(values[column][rows])
            ends = _ends(x, lookback, horizon, every, ahead)
            if not len(ends):
                short.append(label)
                continue
            covariates = {one: grid.filled(values[one][rows], horizon if ahead else 0) for one in known}
            pieces.append(_cut(x, covariates, ends, lookback, horizon, ahead))
            pieces[-1] |= {"series": np.full(len(ends), label, dtype=object), "at": grid.start + ends}
    if short:
        text = f"{len(short)} series have no window ({', '.join(map(repr, short[:3]))}{', ...' * (len(short) > 3)})"
        mend = f"expected more than {0 if ahead else horizon} values each, one of them not missing in past and future"
        if not pieces:
            raise DataError(f"{text}: {mend}. Give a shorter horizon, or more rows.")
        warnings.warn(f"{text}: {mend}. They are left out.", WindowWarning, stacklevel=2)
    return _frame(pieces, line, horizon, known, calendar, ahead)


def table_of(source: Any, data: Mapping[str, Any], ahead: bool = False) -> pd.DataFrame:
    """A table read, and cut as the settings `data` of a run say, unless it is cut already (it has a `history`)."""
    return windowed({**data}, source, ahead)[1]


def windowed(data: dict[str, Any], source: Any, ahead: bool = False) -> tuple[dict[str, Any], pd.DataFrame]:
    """Arguments for `aet.schema.infer` and the frame they speak of, cut where `data` says how (its `windows`)."""
    frame = read_table(source, header=data.pop("header", "infer"))
    how = data.pop("windows", None)
    if not how:
        return data, frame
    allowed = ("columns", "series", "lookback", "horizon", "every", "known", "calendar")
    wrong = next((name for name in how if name not in allowed), None)
    if wrong is not None:
        raise ConfigError(f"data.windows has no {wrong!r}. {nearest(str(wrong), allowed)}")
    time, target = data.pop("time", None), data.pop("target", None)
    if time is None and "history" not in frame:
        raise ConfigError("Windows are cut by time: expected the column of times, got none. Say time='...'.")
    if "history" not in frame:
        frame = windows(frame, time=time, ahead=ahead, **{"columns": target, **how})
    return {**data, **ROLES}, frame


def _numbers(column: pd.Series[Any]) -> Floats:
    values, wrong = parse_numbers(column)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"row {row + 1}, column {column.name!r}: expected a number, got {column.iloc[row]!r:.40}. Mend it, or "
            "empty the cell where nothing was measured."
        )
    return np.where(np.isfinite(values), values, np.nan)


def _by_series(table: pd.DataFrame, series: str | None) -> Iterator[tuple[Any, npt.NDArray[np.int64]]]:
    if series is None:
        yield None, np.arange(len(table))
        return
    codes, names = pd.factorize(table[series], sort=True)
    if (codes < 0).any():
        raise DataError(
            f"row {int((codes < 0).argmax()) + 1}, column {series!r}: expected the name of a series, got none."
        )
    order = np.argsort(codes, kind="stable")
    yield from zip(names, np.split(order, np.cumsum(np.bincount(codes))[:-1]), strict=True)


def _ends(x: Floats, lookback: int, horizon: int, every: int, ahead: bool) -> npt.NDArray[np.int64]:
    """Places of the newest value of each window, its past or future not all missing."""
    after = 0 if ahead else horizon
    last = int(np.isfinite(x).nonzero()[0].max(initial=-1)) if ahead else len(x) - 1 - horizon
    first = last if ahead else min(lookback - 1, last)
    if last < 0:
        return np.array([], dtype=np.int64)
    ends = np.arange(last, first - 1, -every)[::-1]
    there = np.concatenate([[0], np.isfinite(x).cumsum()])
    past = there[ends + 1] - there[np.maximum(ends + 1 - lookback, 0)]
    future = there[ends + 1 + after] - there[ends + 1]
    kept: npt.NDArray[np.int64] = ends[(past > 0) & (future > 0 if after else True)]
    return kept


def _cut(
    x: Floats, known: dict[str, Floats], ends: npt.NDArray[np.int64], lookback: int, horizon: int, ahead: bool
) -> dict[str, Any]:
    def spans(values: Floats, before: int, after: int) -> list[Floats]:
        return [values[max(0, end + 1 - before) : end + 1 + after] for end in ends.tolist()]

    cut: dict[str, Any] = {"history": spans(x, lookback, 0)}
    cut |= {name: spans(values, lookback, horizon) for name, values in known.items()}
    cut["future"] = [None] * len(ends) if ahead else [span[-horizon:] for span in spans(x, 1, horizon)]
    return cut


def _frame(
    pieces: list[dict[str, Any]], line: Timeline, horizon: int, known: Sequence[str], calendar: bool, ahead: bool
) -> pd.DataFrame:
    at = np.concatenate([piece["at"] for piece in pieces])
    order = np.argsort(at, kind="stable")
    names = np.concatenate([piece["series"] for piece in pieces])[order]
    times = line.times(at[order])
    texts = times.astype(str)
    frame: dict[str, Any] = {"id": [f"{name} {text}" for name, text in zip(names, texts, strict=True)]}
    if len({*names.tolist()}) > 1:
        frame["series"] = names
    frame |= {"time": times, "until": line.times(at[order] + horizon)}
    lists = ["history", *known, "future"]
    cells = {name: object_cells([cell for piece in pieces for cell in piece[name]])[order] for name in lists}
    frame |= {name: cells[name] for name in lists[:-1]}
    if calendar:
        frame |= line.calendar(times)
    if not ahead:
        frame["future"] = cells["future"]
    return pd.DataFrame(frame)
