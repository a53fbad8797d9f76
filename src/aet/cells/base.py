"""What a cell may hold: one file a kind, which tells its cells from others, checks them and types them.

A kind of input and a kind of target each stand in a registry; `aet.schema` and `aet.rows` know no kind by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.errors import DataError
from aet.registry import Registry

Column = pd.Series  # (N,)
Mask = npt.NDArray[np.bool_]  # (N,)

CELLS: Registry[type[Cells]] = Registry("kind of column")
TARGETS: Registry[type[Target]] = Registry("kind of target")


class Cells(ABC):
    """One kind of input column."""

    endings: ClassVar[tuple[str, ...]] = ()
    """How the names of files end that such cells may be paths of."""
    by_itself: ClassVar[bool] = True
    """Whether such a column is an input of any model; if not, only where the target `reads` it or its kind is given."""
    may_lack: ClassVar[bool] = False
    """Whether a row may lack the cell where the model has other inputs; such a cell is then None."""
    plain: ClassVar[bool] = False
    """Whether a cell is one value of a table, which says little without the others."""
    grouped: ClassVar[bool] = False
    """Whether several columns may be one input."""
    measure: ClassVar[str] = ""
    """What `measured` gives, in a word; empty where the cells are numbers or categories themselves."""
    datatype: ClassVar[str] = "BYTES"
    """What a cell is in the Open Inference Protocol."""

    @classmethod
    def recognises(cls, filled: Column[Any]) -> bool:
        """Whether these objects, none of them missing, are of this kind; not where dtypes or texts tell."""
        return False

    @classmethod
    @abstractmethod
    def check(cls, column: Column[Any], faults: Faults) -> Any:
        """The cells typed (N,); what is none of the kind is noted in `faults`."""

    @classmethod
    @abstractmethod
    def measured(cls, cells: Column[Any]) -> Column[Any]:
        """One number a checked cell, or a text, by which columns are compared: (N,), missing cells stay so."""

    @classmethod
    def sent(cls, column: str, value: Any) -> Any:
        """A cell of a request as a cell; DataError for one that names a file: no path of a request is opened."""
        return value


class Target(ABC):
    """One kind of target column."""

    several: ClassVar[bool] = False
    """Whether the answer is of two or more columns, and never of one."""
    parts: ClassVar[tuple[str, ...]] = ()
    """The kinds of the columns, in their order, where each means something else."""
    reads: ClassVar[str | None] = None
    """The kind of the one input that such a target speaks of."""
    one_value: ClassVar[bool] = True
    """Whether the answer is a value, or values, that a column can be compared with."""

    @classmethod
    def recognises(cls, filled: Column[Any]) -> bool:
        """Whether these cells, none of them missing, ask for this kind of output."""
        return False

    @classmethod
    def learnable(cls, frame: pd.DataFrame, targets: Sequence[str]) -> None:
        """DataError where these columns leave nothing to learn; nothing to say by default."""
        return

    @classmethod
    @abstractmethod
    def check(cls, column: Column[Any], faults: Faults | None, typed: Mapping[str, Any], alone: bool) -> Any:
        """The cells typed (N,), missing where they are none of the kind.

        Args:
            column: as given.
            faults: takes what is wrong where the target is needed; None where it is not.
            typed: the column of the input that the target `reads`, under that kind.
            alone: whether it is the only answer, so that a missing one is a fault.
        """


class Faults:
    """The bad rows found so far: a mask and a sentence each. `mends`: the way out for columns that are no inputs."""

    def __init__(self, rows: int, first: int, *, training: bool, infinite: str, mends: dict[Any, str]) -> None:
        self.bad: Mask = np.zeros(rows, dtype=bool)
        self.texts: dict[int, str] = {}
        self.first, self.training, self.infinite, self.mends = first, training, infinite, mends
        self.spared: Mask | None = None
        """Rows in which nothing is a fault at present: they lack what is looked at."""

    def add(self, wrong: Mask, name: object, expected: str, got: Callable[[int], str]) -> None:
        """Keep the rows of `wrong` aside; `got` is asked for these rows only."""
        rows = np.flatnonzero(wrong if self.spared is None else wrong & ~self.spared).tolist()
        self.bad[rows] = True
        for row in rows:
            text = f"row {row + self.first}, column {name!r}: expected {expected}, got {got(row)}"
            if self.training and 2 * len(rows) > len(wrong):
                kind = f"Likely it is of another kind: say kinds={{{name!r}: ...}} ('ignore' leaves it out)"
                mend = self.mends.get(name, f"{kind}, or mend the rows.")
                raise DataError(f"Column {name!r} is bad in {len(rows)} of {len(wrong)} rows; {text}. {mend}")
            self.texts[row] = f"{self.texts[row]}; {text}" if row in self.texts else text


def shown(cell: Any) -> str:
    """A cell for people to read, short."""
    if pd.api.types.is_scalar(cell) and pd.isna(cell):
        return "a missing value"
    return f"{' '.join(repr(cell).split()):.60}"


def showing(cells: Any) -> Callable[[int], str]:
    """The cell of a row, for people to read."""
    return lambda row: shown(cells[row].item() if isinstance(cells[row], np.generic) else cells[row])


def share_of(filled: Column[Any], told: Callable[[Any], bool]) -> float:
    """How many of the first hundred cells, none of them missing, are told to be of a kind; 0 where there is none."""
    head = list(filled.iloc[:100])
    return sum(map(told, head)) / max(len(head), 1)


def looked_at(column: Column[Any], look: Callable[[Any], Any]) -> tuple[npt.NDArray[Any], list[Any]]:
    """Cells (N,), paths as texts, and what `look` finds of each; of a file once, however many rows it stands in."""
    cells = object_cells([str(cell) if isinstance(cell, Path) else cell for cell in column])
    once = lru_cache(maxsize=None)(look)
    return cells, [once(cell) if isinstance(cell, str) else look(cell) for cell in cells]


def each(cells: Column[Any], number: Callable[[Any], float]) -> Column[Any]:
    """A number of each cell that is not missing (N,)."""
    return cells.astype(object).map(number, na_action="ignore").astype(np.float64)


def distinct(column: Column[Any]) -> tuple[npt.NDArray[np.int64], Any]:
    """Codes (N,) with -1 for missing, and the cells they stand for."""
    try:
        return pd.factorize(column)
    except TypeError:  # lists and dicts have no hash
        hashable = [cell if pd.api.types.is_scalar(cell) else (repr(cell),) for cell in column]
        return pd.factorize(object_cells(hashable))


def object_cells(values: Any) -> npt.NDArray[Any]:
    """One object a row: NumPy would stack arrays of equal shapes."""
    cells = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        cells[row] = value
    return cells
