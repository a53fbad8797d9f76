"""Rows in memory: objects become a frame, cells become numbers and texts, bad rows are kept aside."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.cells import CELLS, TARGETS, Faults, object_cells
from aet.cells.base import Column, Mask, distinct, showing
from aet.cells.number import MARKERS, number_cells
from aet.errors import ConfigError, DataError
from aet.plain_rows import plain_numbers
from aet.roles import SeenIds, role_mends, whole

if TYPE_CHECKING:
    import pyarrow as pa

    from aet.schema import Schema


@dataclass
class Checked:
    """The good rows of a frame, typed; their positions; the positions of the others, each with a sentence; and the
    declared ids of all rows (N,), None where one is missing or comes again.
    """

    frame: pd.DataFrame
    kept: npt.NDArray[np.int64]
    problems: dict[int, str]
    ids: npt.NDArray[np.object_] | None = None


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
    them apart); images and sounds as given; labels and ids as given, whole floats as whole numbers. The texts in
    `MARKERS` are missing values. `kept` (K,) and the keys of `problems` share the positions 0 ... N-1, both
    in order.

    Where there are several inputs, a row may lack an image or a sound: the cell is None, and no fault unless all are
    missing.

    Kept aside: no number in a numeric column, an infinite one or one beyond single precision; another object
    in a category or text; what is no list of 1 to 128 words; an image that is missing, broken, not finite, or
    not (H, W) or (H, W, C) with 1, 3 or 4 channels; a sound that is missing, broken, silent or not finite; a
    weight that is missing, negative or infinite; a missing id, and each later row of an id; with `need_target` a
    missing or wrong target. Sentences count rows from `first`; `seen` holds the ids of earlier frames of the same
    table, and takes in those of this one.

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
    if (plain := plain_numbers(frame, schema)) is not None:
        return Checked(plain, np.arange(len(plain)), {})
    frame = frame.reset_index(drop=True)
    faults = Faults(len(frame), first, training=need_target, infinite=infinite, mends=role_mends(schema))
    typed: dict[str, Any] = {}
    lacks: list[Mask] = []
    for spec in schema.inputs:
        cells, lacking = CELLS[spec.kind], len(schema.inputs) > 1
        for name in spec.columns:
            faults.spared = absent(frame[name]) if lacking and cells.may_lack else None
            typed[name] = cells.check(frame[name], faults)
            if faults.spared is not None:
                typed[name] = typed[name].where(~faults.spared, None)
                lacks.append(faults.spared)
    faults.spared = None
    if len(lacks) == len(schema.inputs) > 1:
        names = " ".join(map(str, schema.input_columns))
        faults.add(np.logical_and.reduce(lacks), names, "a value in one of these or more", lambda row: "none")
    for name in frame.columns.intersection(list(schema.targets)):
        own = faults if need_target else None
        kind = TARGETS[schema.kind_of(name)]
        read = {spec.kind: typed[spec.columns[0]] for spec in schema.inputs if spec.kind == kind.reads}
        typed[name] = kind.check(frame[name], own, read, not schema.target_kinds)
    if need_target and schema.target_kinds:
        none = np.logical_and.reduce([pd.isna(typed[name]) for name in schema.targets])
        faults.add(none, " ".join(schema.targets), "an answer for one of these or more", lambda row: "none")
    ids = None
    for role, name in schema.roles.items():
        if name in frame.columns:
            typed[name] = frame[name] if role != "weight" else _weights(frame[name], faults)
            if role == "id":
                ids = _ids(frame[name], faults, seen)
    kept = np.flatnonzero(~faults.bad)
    if need_target and not len(kept):
        raise DataError(f"No row of {len(frame)} can be used. Mend {'; '.join([*faults.texts.values()][:3])}.")
    good = pd.DataFrame(typed, index=frame.index)
    if len(kept) < len(frame):
        good = good.iloc[kept].reset_index(drop=True)
    for column in {schema.id, schema.group, schema.target if schema.output == "label" else None} & {*good}:
        good[column] = whole(good[column])
    return Checked(good, kept, dict(sorted(faults.texts.items())), ids)


def absent(column: Column[Any]) -> Mask:
    """Which cells (N,) hold nothing: missing values and the texts that stand for them."""
    marked = np.array([isinstance(cell, str) and cell.strip() in MARKERS for cell in column], dtype=bool)
    return marked | column.isna().to_numpy()


def _weights(column: Column[Any], faults: Faults) -> npt.NDArray[np.float64]:
    values = number_cells(column, faults, needed="a weight")
    faults.add(values < 0, column.name, "a weight of 0 or more", showing(values))
    return values


def _ids(column: Column[Any], faults: Faults, seen: SeenIds | None) -> npt.NDArray[np.object_]:
    """Those that name a row (N,), else None. A row kept aside for another reason takes no id from a later one."""
    codes, _ = distinct(column)
    rows, present, show = np.arange(len(codes)) + faults.first, codes >= 0, showing(column.array)
    odd = np.zeros_like(present)
    if column.dtype == object:  # no other holds lists
        odd = present & ~np.fromiter(map(pd.api.types.is_scalar, column), dtype=bool, count=len(codes))
    takes = present & ~odd & ~faults.bad
    _, starts, place = np.unique(codes[takes], return_index=True, return_inverse=True)
    origin = rows[takes][starts[place]]
    if seen is not None:
        origin = np.minimum(origin, seen.first(column[takes], rows[takes]))
    first = np.array(rows)
    first[takes] = origin
    faults.add(~present, column.name, "an id", show)
    faults.add(odd, column.name, "an id that is a text or a number", show)
    faults.add(first < rows, column.name, "a new id", lambda r: f"{show(r)} of row {first[r]} again")
    ids, good = np.full(len(codes), None, dtype=object), present & ~odd & (first == rows)
    ids[good] = whole(column[good]).to_numpy(object)
    return ids


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
