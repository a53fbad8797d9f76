"""Times of a table on a regular grid: which step they keep, and where one is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.cells.number import dates, parse_numbers
from aet.errors import DataError

Whole = npt.NDArray[np.int64]
DAY = pd.Timedelta(days=1)
SPARSE = 50
"""Places of a grid for each time that is there, at most."""


@dataclass(frozen=True)
class Grid:
    """The places of a series on the common grid: `start` and the place of each row after it."""

    start: int
    places: Whole

    def filled(self, values: npt.NDArray[np.float64], least: int = 0) -> npt.NDArray[np.float64]:
        """Values of the rows (N,) in order of time, NaN where there is no row; `least` more places at the end."""
        out = np.full(int(self.places.max()) + 1 + least, np.nan)
        out[self.places] = values
        return out


@dataclass(frozen=True)
class Timeline:
    """Places (N,) of a table's times on a grid of whole steps from `origin`; steps are times, numbers or months."""

    name: str
    places: Whole
    shown: pd.Series
    """The times as given."""
    origin: Any
    step: Any
    months: int = 0
    """Months of a step, where steps are months."""

    @classmethod
    def of(cls, column: pd.Series[Any]) -> Timeline:
        """The step that most times keep; DataError where they are no times, or keep none."""
        name, times = str(column.name), instants(column)
        unique = times.drop_duplicates().sort_values()
        if len(unique) < 2:
            raise DataError(
                f"The time column {name!r} holds one time: expected several, a regular step apart. Add rows."
            )
        if months := whole_months(unique):
            number = times.dt.year.to_numpy() * 12 + times.dt.month.to_numpy()
            places = (number - number.min()) // months
            return cls(name, places.astype(np.int64), column, unique.iloc[0], None, months)
        steps = unique.diff().iloc[1:]
        step = steps.mode().iloc[0]
        places = ((times - unique.iloc[0]) / step).to_numpy(dtype=np.float64)
        off = np.abs(places - places.round()) > 0.01
        if off.any() or places.max() > SPARSE * len(unique):
            row = int(off.argmax())
            raise DataError(
                f"The times of {name!r} keep no regular step: most are {step} apart, and {int(off.sum())} of "
                f"{len(off)} do not fit, as that of row {row + 1}, {column.iloc[row]}. Bring them to one step, as "
                f"with pandas: table.resample('1h', on={name!r}).mean()."
            )
        return cls(name, places.round().astype(np.int64), column, unique.iloc[0], step)

    def grid(self, rows: Whole, series: object) -> Grid:
        """Of one series; DataError for a time given twice."""
        places = self.places[rows]
        order = np.argsort(places, kind="stable")
        twice = np.flatnonzero(np.diff(places[order]) == 0)
        if len(twice):
            one, other = rows[order[twice[0]]], rows[order[twice[0] + 1]]
            of = "" if series is None else f" of the series {series!r}"
            raise DataError(
                f"The time {self.shown.iloc[one]}{of} stands in the rows {one + 1} and {other + 1} (such times: "
                f"{len(twice)}): expected one row a time. Name the column that tells series apart (series='...'), or "
                "drop or average what is double; clocks put back in autumn need times with a zone."
            )
        start = int(places.min())
        return Grid(start, places - start)

    def times(self, places: Whole) -> pd.Series:
        """The times at these places of the grid."""
        if self.months:
            first = self.origin.to_period("M")
            months = pd.PeriodIndex(first + places * self.months)
            if self.origin.day > 28 and self.origin.is_month_end:
                return pd.Series(months.end_time.normalize() + (self.origin - self.origin.normalize()))
            return pd.Series(months.start_time + (self.origin - first.start_time))
        return pd.Series(self.origin + places * self.step)

    def calendar(self, times: pd.Series) -> dict[str, Any]:
        """Hour, weekday and month, those that differ from step to step; nothing for numbers."""
        if times.dtype.kind != "M":
            return {}
        step = pd.Timedelta(days=30) if self.months else self.step
        found: dict[str, Any] = {}
        if step < DAY:
            found["hour"] = times.dt.strftime("%H h").to_numpy(dtype=object)
        if step < 7 * DAY:
            found["weekday"] = times.dt.day_name().str[:3].to_numpy(dtype=object)
        return {**found, "month": times.dt.month_name().str[:3].to_numpy(dtype=object)}


def instants(column: pd.Series[Any]) -> pd.Series:
    """Numbers, or times without a zone (of times with zones those of UTC); DataError for others."""
    name = column.name
    if column.isna().any():
        raise DataError(
            f"row {int(column.isna().argmax()) + 1}, column {name!r}: expected a time, got none. Drop the row."
        )
    if column.dtype.kind == "M":
        return (
            column.reset_index(drop=True).dt.tz_convert(None)
            if column.dt.tz is not None
            else column.reset_index(drop=True)
        )
    values, wrong = parse_numbers(column)
    if not wrong.any() and not any(isinstance(cell, pd.Timestamp) for cell in column.iloc[:1]):
        return pd.Series(values)
    texts = column.astype(str).str.strip()
    made = dates(texts)
    if made.isna().any():
        row = int(made.isna().argmax())
        raise DataError(
            f"row {row + 1}, column {name!r}: expected a number or a date like 2024-05-31 or "
            f"2024-05-31T12:00:00+02:00, got {column.iloc[row]!r:.40}. Write all of them in one of these ways."
        )
    zoned = texts.str.contains(r"(?:Z|[+-]\d{2}:?\d{2})$", regex=True).to_numpy()
    if zoned.any() and not zoned.all():
        one, other = int(zoned.argmax()), int((~zoned).argmax())
        raise DataError(
            f"The column {name!r} mixes times with a zone (row {one + 1}: {texts.iloc[one]}) and without one (row "
            f"{other + 1}: {texts.iloc[other]}): expected all of one sort. Write the zone of each, as +02:00 or Z."
        )
    local: pd.Series = made.dt.tz_localize(None).reset_index(drop=True)
    return local


def whole_months(times: pd.Series) -> int:
    """Months from one of these sorted times to the next, at the least; 0 where steps are not whole months."""
    if times.dtype.kind != "M" or times.diff().min() < pd.Timedelta(days=28):
        return 0
    days, ends = times.dt.day, times.dt.is_month_end
    if not (days.nunique() == 1 or ends.all()):
        return 0
    gaps: Sequence[int] = np.diff(times.dt.year.to_numpy() * 12 + times.dt.month.to_numpy()).tolist()
    return int(np.gcd.reduce(gaps))
