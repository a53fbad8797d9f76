"""Rows in memory: objects become a frame, cells become numbers and texts, bad rows are kept aside."""

from __future__ import annotations

import datetime
import decimal
import numbers
import re
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.errors import ConfigError, DataError
from aet.roles import SeenIds, role_mends, whole
from aet.words import shown, tag_cells, word_cells

if TYPE_CHECKING:
    import pyarrow as pa

    from aet.schema import Schema

Column = pd.Series  # (N,)
Mask = npt.NDArray[np.bool_]  # (N,)
_NANS = ("NaN", "nan", "-NaN", "-nan")
MARKERS = (*_NANS, "", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NULL", "null", "None")
"""Texts that stand for a missing value."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
LARGEST = float(np.finfo(np.float32).max)


@dataclass
class Checked:
    """The good rows of a frame, typed; their positions; the positions of the others, each with a sentence."""

    frame: pd.DataFrame
    kept: npt.NDArray[np.int64]
    problems: dict[int, str]


def check_rows(
    frame: pd.DataFrame,
    schema: Schema,
    *,
    need_target: bool = False,
    infinite: str = "quarantine",
    first: int = 1,
    seen: SeenIds | None = None,
) -> Checked:
    """The rows of `frame` (N of them) that a model can use, typed, and why it cannot use the others.

    The result has those columns of the schema that the frame has, with the index 0, 1, ...: numbers as
    float64, NaN for missing (booleans 0 and 1, dates as seconds since 1970); categories and texts as strings
    or None, numbers among categories written in one way ("7" for 7, 7.0, "7.0" and "007": files do not tell
    them apart); images as given; labels and ids as given, whole floats as whole numbers. The texts in
    `MARKERS` are missing values. `kept` (K,) and the keys of `problems` share the positions 0 ... N-1, both
    in order.

    Kept aside: no number in a numeric column, an infinite one or one beyond single precision; another object
    in a category or text; what is no list of 1 to 128 words; an image that is missing, broken, not finite, or
    not (H, W) or (H, W, C) with 1, 3 or 4 channels; a weight that is missing, negative or infinite; a missing id,
    and each later row of an id; with `need_target` a missing or wrong target. Sentences count rows from `first`;
    `seen` holds the ids of earlier frames of the same table, and takes in those of this one.

    Raises `SchemaError` if columns are missing; `DataError` if `infinite="raise"` and a value is infinite,
    and with `need_target` (training) if a column is bad in over half of the rows for one reason, or no row is
    left.

    >>> from aet.schema import InputSpec, Schema
    >>> schema = Schema((InputSpec("age", "number", ("age",)),), ("risk",), "label")
    >>> checked = check_rows(pd.DataFrame({"age": ["41", "abc", None]}), schema)
    >>> checked.frame["age"].tolist(), checked.kept.tolist()
    ([41.0, nan], [0, 2])
    >>> checked.problems
    {1: "row 2, column 'age': expected a number, got 'abc'"}
    """
    if infinite not in ("quarantine", "raise"):
        raise ConfigError(f"infinite: expected 'quarantine' or 'raise', got {infinite!r}.")
    schema.check(frame, need_target=need_target)
    frame = frame.reset_index(drop=True)
    faults = _Faults(len(frame), first, training=need_target, infinite=infinite, mends=role_mends(schema))
    typed: dict[str, Any] = {}
    for spec in schema.inputs:
        typed |= {name: _INPUTS[spec.kind](frame[name], faults) for name in spec.columns}
    for name in frame.columns.intersection(list(schema.targets)):
        own = faults if need_target else None
        if schema.output == "tags":
            words = next(typed[spec.columns[0]] for spec in schema.inputs if spec.kind == "words")
            typed[name] = tag_cells(frame[name], words, own)
            continue
        typed[name] = _target(frame[name], schema.kind_of(name), own, not schema.target_kinds)
    if need_target and schema.target_kinds:
        none = np.logical_and.reduce([pd.isna(typed[name]) for name in schema.targets])
        faults.add(none, " ".join(schema.targets), "an answer for one of these or more", lambda row: "none")
    for role, name in schema.roles.items():
        if name in frame.columns:
            typed[name] = _role(frame[name], role, faults, seen)
    kept = np.flatnonzero(~faults.bad)
    if need_target and not len(kept):
        raise DataError(f"No row of {len(frame)} can be used. Mend {'; '.join([*faults.texts.values()][:3])}.")
    good = pd.DataFrame(typed, index=frame.index)
    if len(kept) < len(frame):
        good = good.iloc[kept].reset_index(drop=True)
    for column in {schema.id, schema.group, schema.target if schema.output == "label" else None} & {*good}:
        good[column] = whole(good[column])
    return Checked(good, kept, dict(sorted(faults.texts.items())))


class _Faults:
    """The bad rows found so far: a mask and a sentence each. `mends`: the way out for columns that are no inputs."""

    def __init__(self, rows: int, first: int, *, training: bool, infinite: str, mends: dict[Any, str]) -> None:
        self.bad: Mask = np.zeros(rows, dtype=bool)
        self.texts: dict[int, str] = {}
        self.first, self.training, self.infinite, self.mends = first, training, infinite, mends

    def add(self, wrong: Mask, name: object, expected: str, got: Callable[[int], str]) -> None:
        """Keep the rows of `wrong` aside; `got` is asked for these rows only."""
        rows = np.flatnonzero(wrong).tolist()
        self.bad[rows] = True
        for row in rows:
            text = f"row {row + self.first}, column {name!r}: expected {expected}, got {got(row)}"
            if self.training and 2 * len(rows) > len(wrong):
                kind = f"Likely it is of another kind: say kinds={{{name!r}: ...}} ('ignore' leaves it out)"
                mend = self.mends.get(name, f"{kind}, or mend the rows.")
                raise DataError(f"Column {name!r} is bad in {len(rows)} of {len(wrong)} rows; {text}. {mend}")
            self.texts[row] = f"{self.texts[row]}; {text}" if row in self.texts else text


def _shown(cells: Any) -> Callable[[int], str]:
    return lambda row: shown(cells[row].item() if isinstance(cells[row], np.generic) else cells[row])


def parse_numbers(column: Column[Any]) -> tuple[npt.NDArray[np.float64], Mask]:
    """Cells as (values (N,), wrong (N,)): numbers, NaN where missing, and which cells are no numbers at all.

    Booleans are 0 and 1, dates seconds since 1970 (UTC unless they say otherwise), durations seconds.

    >>> parse_numbers(pd.Series(["1.5", " 2 ", "NA", "abc", True, None], dtype=object))
    (array([1.5, 2. , nan, nan, 1. , nan]), array([False, False, False,  True, False, False]))
    """
    sort = "O" if isinstance(column.dtype, pd.CategoricalDtype) else getattr(column.dtype, "kind", "O")
    right = np.zeros(len(column), dtype=bool)
    if sort in "biuf":
        return column.to_numpy(dtype=np.float64, na_value=np.nan), right
    if sort in "mM":
        times = column.to_numpy(dtype="datetime64[us]" if sort == "M" else "timedelta64[us]")
        return np.where(np.isnat(times), np.nan, times.astype(np.int64) / 1e6), right
    cells = pd.Series(column.to_numpy(dtype=object), dtype=object)
    values = np.full(len(cells), np.nan)
    with suppress(OverflowError):  # a whole number beyond every float: then cell by cell
        parsed = pd.to_numeric(cells, errors="coerce")
        if parsed.dtype.kind in "biuf":
            values = parsed.to_numpy(dtype=np.float64, copy=True)
    wrong = np.isnan(values) & cells.notna().to_numpy()
    for row in np.flatnonzero(wrong):
        number = _number(cells.iloc[row])
        if number is not None:
            values[row], wrong[row] = number, False
    return values, wrong


def _number(cell: object) -> float | None:
    """A cell that pandas does not parse as a number; None if it is none."""
    if isinstance(cell, str):
        text = cell.strip()
        if NUMBER.fullmatch(text):
            return float(text)
        return np.nan if text in MARKERS else {"true": 1.0, "false": 0.0}.get(text.lower())
    if isinstance(cell, datetime.date | np.datetime64):
        return pd.Timestamp(cell).timestamp()
    if isinstance(cell, datetime.timedelta | np.timedelta64):
        return pd.Timedelta(cell).total_seconds()
    with suppress(OverflowError):
        return float(cell) if isinstance(cell, numbers.Real) else None
    return np.inf


def _numbers(column: Column[Any], faults: _Faults, *, needed: str = "") -> npt.NDArray[np.float64]:
    """Finite numbers, or NaN for missing unless `needed` says what must be there."""
    values, wrong = parse_numbers(column)
    beyond = np.abs(values) > LARGEST
    if faults.infinite == "raise" and beyond.any():
        row = int(beyond.argmax())
        raise DataError(
            f"row {row + faults.first}, column {column.name!r}: expected a finite number, got {values[row]} "
            f"(such values in {beyond.sum()} rows). "
            + faults.mends.get(column.name, "Replace infinite values by missing ones or drop them.")
        )
    faults.add(wrong, column.name, "a number", _shown(column.array))
    faults.add(beyond, column.name, f"a finite number of at most {LARGEST:.2g} in size", _shown(values))
    if needed:
        faults.add(np.isnan(values) & ~wrong, column.name, needed, lambda row: "a missing value")
    return values


def _distinct(column: Column[Any]) -> tuple[npt.NDArray[np.int64], Any]:
    """Codes (N,) with -1 for missing, and the cells they stand for."""
    try:
        return pd.factorize(column)
    except TypeError:  # lists and dicts have no hash
        hashable = [cell if pd.api.types.is_scalar(cell) else (repr(cell),) for cell in column]
        return pd.factorize(object_cells(hashable))


def _texts(column: Column[Any], faults: _Faults, *, category: bool) -> Column[Any]:
    codes, cells = _distinct(column)
    words = np.array([*(_word(cell, category) for cell in cells), None], dtype=object)
    wrong = np.array([word is False for word in words], dtype=bool)[codes]
    faults.add(wrong, column.name, "a category" if category else "a text", _shown(column.array))
    return pd.Series(words[codes], dtype=object)  # pandas 3 would make strings of its own, without None


def _word(cell: object, category: bool) -> str | bool | None:
    """The one way of writing a cell; None if missing, False if it is no text, number, flag or date."""
    if isinstance(cell, str):
        text = cell.strip()
        if text in MARKERS:
            return None
        if not category:
            return cell
        if text.lower() in ("true", "false"):
            return text.capitalize()
        if not NUMBER.fullmatch(text):
            return text
        cell = int(text) if text.lstrip("+-").isdecimal() else float(text)
    cell = cell.item() if isinstance(cell, np.generic) else cell
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell) if isinstance(cell, int | float | decimal.Decimal | datetime.date | Path) else False


def _images(column: Column[Any], faults: _Faults) -> Column[Any]:
    cells = object_cells([str(cell) if isinstance(cell, Path) else cell for cell in column])
    look = lru_cache(maxsize=None)(_file_fault)  # a file may stand in many rows
    found = [look(cell) if isinstance(cell, str) else _array_fault(cell) for cell in cells]
    wrong = np.array([fault is not None for fault in found], dtype=bool)
    faults.add(wrong, column.name, "an image", lambda row: str(found[row]))
    return pd.Series(cells, dtype=object)


def _file_fault(path: str) -> str | None:
    from PIL import Image

    if not Path(path).is_file():
        return f"{path!r}, where there is no file"
    try:
        with Image.open(path) as image:
            image.draft("L", (1, 1))  # a JPEG's end is reached soonest by a small draft; only PNG has checksums
            image.verify() if image.format == "PNG" else image.load()
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        return f"{path!r}, a broken file ({error})"
    return None


def _array_fault(cell: Any) -> str | None:
    if type(cell).__module__.startswith("PIL."):
        return None
    if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "biuf":
        return _shown([cell])(0)
    if cell.ndim not in (2, 3) or 0 in cell.shape or (cell.ndim == 3 and cell.shape[2] not in (1, 3, 4)):
        return f"an array of the shape {cell.shape}, not (H, W) or (H, W, C) with 1, 3 or 4 channels"
    return "an array that is not finite" if cell.dtype.kind == "f" and not np.isfinite(cell).all() else None


def _target(column: Column[Any], output: str, faults: _Faults | None, alone: bool) -> Any:
    """A target typed for its output; its faults count only where it is needed, a missing one if it is `alone`."""
    if output == "label":
        codes, cells = _distinct(column)
        fine = [bool(c.strip()) if isinstance(c, str) else pd.api.types.is_scalar(c) for c in cells]
        wrong = ~np.array([*fine, False], dtype=bool)[codes]
        if faults and alone:
            faults.add(wrong, column.name, "a class as the target", _shown(column.array))
        return column.where(~wrong, None) if wrong.any() else column
    if not faults:
        return parse_numbers(column)[0]
    values = _numbers(column, faults, needed="a number as the target" if alone else "")
    if output == "multilabel":
        faults.add(~np.isin(values, (0, 1)) & np.isfinite(values), column.name, "0 or 1", _shown(values))
    return values


def _role(column: Column[Any], role: str, faults: _Faults, seen: SeenIds | None) -> Any:
    if role == "weight":
        values = _numbers(column, faults, needed="a weight")
        faults.add(values < 0, column.name, "a weight of 0 or more", _shown(values))
        return values
    if role == "id":
        codes, _ = _distinct(column)
        _, starts, place = np.unique(codes, return_index=True, return_inverse=True)
        rows, present, show = np.arange(len(codes)) + faults.first, codes >= 0, _shown(column.array)
        origin = rows[starts[place]]
        if seen is not None:
            origin[present] = np.minimum(origin[present], seen.first(column[present], rows[present]))
        faults.add(~present, column.name, "an id", show)
        faults.add(present & (origin < rows), column.name, "a new id", lambda r: f"{show(r)} of row {origin[r]} again")
    return column


_INPUTS: dict[str, Callable[[Column[Any], _Faults], Any]] = {
    "number": _numbers,
    "category": partial(_texts, category=True),
    "text": partial(_texts, category=False),
    "image": _images,
    "words": word_cells,
}


def memory_frames(source: Any, rows: int | None) -> Iterator[pd.DataFrame]:
    """A table that is held in memory, in frames of `rows` rows or as one; see `aet.tables.read_table`."""
    import pyarrow as pa

    package = type(source).__module__.partition(".")[0]
    step = rows or sys.maxsize
    if package == "datasets" and hasattr(source, "select") and hasattr(source, "__len__"):
        for start in range(0, len(source), step):
            yield _dataset_frame(source.select(range(start, min(start + step, len(source)))))
        return
    if isinstance(source, np.ndarray) and source.ndim > 1:
        frame = _column_frame({"image" if source.ndim > 2 else "x": source})
    elif isinstance(source, pd.DataFrame):
        frame = source
    elif isinstance(source, pa.Table):
        frame = arrow_frame(source)
    elif package == "polars" and hasattr(source, "lazy"):
        frame = arrow_frame(source.lazy().collect().to_arrow())
    elif isinstance(source, Mapping) and package != "datasets":
        frame = _column_frame(source)
    elif isinstance(source, list) and all(isinstance(record, dict) for record in source):
        frame = pd.DataFrame(source)
    else:
        raise DataError(
            "Expected a path, a pandas or polars frame, an Arrow table, one split of a Hugging Face dataset, "
            "a dict of columns, a list of dicts or an array (N, D), (N, H, W) or (N, H, W, C); got "
            f"{type(source).__name__}{getattr(source, 'shape', '')}. Convert it to one of these."
        )
    yield from (frame.iloc[start : start + step] for start in range(0, len(frame), step))


def arrow_frame(table: pa.Table) -> pd.DataFrame:
    """A frame with decimals as floats and without the unnamed index that pandas leaves in files."""
    import pyarrow as pa

    table = table.select([i for i, n in enumerate(table.column_names) if not n.startswith("__index_level_")])
    fields = [f.with_type(pa.float64()) if pa.types.is_decimal(f.type) else f for f in table.schema]
    table = table.cast(pa.schema(fields))
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True, date_as_object=False)
    return frame


def _dataset_frame(part: Any) -> pd.DataFrame:
    part = part.with_format(None)
    kinds = {name: type(feature).__name__ for name, feature in part.features.items()}
    arrays = [name for name, kind in kinds.items() if kind in ("Image", "Array2D", "Array3D")]
    frame = part.remove_columns(arrays).to_pandas() if len(arrays) < len(kinds) else pd.DataFrame()
    for name in arrays:
        frame[name] = object_cells([cell if cell is None else np.asarray(cell) for cell in part[name]])
    return frame[list(kinds)]


def object_cells(values: Any) -> npt.NDArray[Any]:
    """One object a row: NumPy would stack arrays of equal shapes."""
    cells = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        cells[row] = value
    return cells


def _column_frame(columns: Mapping[Any, Any]) -> pd.DataFrame:
    """Lists and arrays as columns: (N, D) named "x" as x0, x1, ..., a larger one as a column of arrays."""
    parts: list[tuple[str, Any]] = []
    for name, given in columns.items():
        values: Any = given if isinstance(given, list | tuple | pd.Series) else np.asarray(given)
        ndim = getattr(values, "ndim", 1)
        if ndim not in (1, 2, 3, 4):
            raise DataError(
                f"Column {name!r}: expected a list, or an array (N,), (N, D), (N, H, W) or (N, H, W, C); got "
                f"{type(given).__name__} of shape {np.shape(values)}. Write one row as {{{name!r}: [value]}}."
            )
        if ndim == 2:
            parts += [(f"{name}{position}", values[:, position]) for position in range(values.shape[1])]
        elif ndim > 2 or not all(map(pd.api.types.is_scalar, values[:1])):
            parts.append((str(name), object_cells(values)))
        else:
            parts.append((str(name), values))
    lengths = {name: len(values) for name, values in parts}
    if len(set(lengths.values())) > 1:
        raise DataError(f"The columns have different lengths: {lengths}. Expected one value a row in each.")
    series = dict(enumerate(pd.Series(values).reset_index(drop=True) for _, values in parts))
    return pd.DataFrame(series).set_axis([name for name, _ in parts], axis="columns")
