"""Sounds: paths of files, arrays with their rate, and arrays alone where the column is said to hold sounds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from aet.cells.base import CELLS, Cells, Column, Faults, each, looked_at, share_of, shown
from aet.cells.waveform import NoSound, SoundWarning, is_pair, read_sound
from aet.errors import DataError

ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")


@CELLS.register("audio")
class Sounds(Cells):
    """Paths of sound files, pairs (rate, array), dicts of "array" and "sampling_rate", or arrays (N,) or (N, C).

    An array alone is not taken for a sound unless kinds={"column": "audio"} says so: it may be any series.
    """

    may_lack = True
    endings = ENDINGS
    measure = "loudness"

    @classmethod
    def recognises(cls, filled: Column[Any]) -> bool:
        """Pairs of a rate and an array, and dicts, in nine of ten of the first hundred cells."""
        return share_of(filled, _is_sound) > 0.9

    @classmethod
    def check(cls, column: Column[Any], faults: Faults) -> Column[Any]:
        """Sounds as given; SoundWarning where some are clipped, which are used as they are."""
        cells, found = looked_at(column, _seen)
        wrong = np.array([fault is not None for fault, _ in found], dtype=bool)
        faults.add(wrong, column.name, "a sound", lambda row: str(found[row][0]))
        if clipped := [row + faults.first for row, (_, cut) in enumerate(found) if cut]:
            rows = ", ".join(map(str, clipped[:5])) + ", ..." * (len(clipped) > 5)
            warnings.warn(
                f"Column {column.name!r}: {len(clipped)} of {len(found)} sounds are clipped, recorded louder than "
                f"their format can hold (row {rows}). They are used as they are; record them at a lower level.",
                SoundWarning,
                stacklevel=2,
            )
        return pd.Series(cells, dtype=object)

    @classmethod
    def measured(cls, cells: Column[Any]) -> Column[Any]:
        """Root of the mean square in decibels of full scale."""
        return each(cells, lambda cell: float(20 * np.log10(np.sqrt(np.square(read_sound(cell).wave).mean()))))

    @classmethod
    def sent(cls, column: str, value: Any) -> Any:
        """Dicts and pairs with lists of numbers; DataError for one that names a file."""
        if isinstance(value, str) or (isinstance(value, Mapping) and value.get("array") is None):  # names a file
            raise DataError(
                f"Column {column!r} holds sounds: expected {{'array': [...], 'sampling_rate': 8000}}, got "
                f"{shown(value)}. Files are not opened by name; send the samples."
            )
        return value


def _is_sound(cell: object) -> bool:
    if isinstance(cell, Mapping):
        if cell.get("array") is not None:
            return "sampling_rate" in cell
        content = cell.get("bytes")
        named = str(cell.get("path")).lower().endswith(ENDINGS)
        return named or (isinstance(content, bytes) and content[:4] in (b"RIFF", b"fLaC", b"OggS"))
    return is_pair(cell) and isinstance(cell[1], np.ndarray)  # type: ignore[index]  # a pair has two


def _seen(cell: Any) -> tuple[str | None, bool]:
    """What is wrong with a cell, and whether it is clipped."""
    if not isinstance(cell, str | np.ndarray | list | tuple | Mapping):
        return shown(cell), False
    try:
        return None, read_sound(cell).clipped
    except NoSound as fault:
        return str(fault), False
