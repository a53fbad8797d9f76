"""Images: arrays, PIL images, or paths of files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aet.cells.base import CELLS, Cells, Column, Faults, each, looked_at, share_of, shown
from aet.errors import DataError


@CELLS.register("image")
class Images(Cells):
    """Arrays (H, W) or (H, W, C) with 1, 3 or 4 channels, PIL images, or paths of image files."""

    may_lack = True
    endings = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
    measure = "brightness"
    datatype = "FP32"

    @classmethod
    def recognises(cls, filled: Column[Any]) -> bool:
        """Arrays of 2 or 3 axes and PIL images, in nine of ten of the first hundred cells."""
        return share_of(filled, _is_image) > 0.9

    @classmethod
    def check(cls, column: Column[Any], faults: Faults) -> Column[Any]:
        """Images as given."""
        cells, found = looked_at(column, _fault)
        wrong = np.array([fault is not None for fault in found], dtype=bool)
        faults.add(wrong, column.name, "an image", lambda row: str(found[row]))
        return pd.Series(cells, dtype=object)

    @classmethod
    def measured(cls, cells: Column[Any]) -> Column[Any]:
        """Mean over the pixels, 0 to 1."""
        from aet.inputs.image import read_image

        return each(cells, lambda cell: float(read_image(cell).mean()))

    @classmethod
    def sent(cls, column: str, value: Any) -> Any:
        """Nested lists as an array."""
        if isinstance(value, str):
            raise DataError(
                f"Column {column!r} holds images: expected nested lists of numbers, (H, W) or (H, W, C), got a text. "
                "Files are not opened by name; send the pixels."
            )
        try:
            return None if value is None else np.asarray(value, dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise DataError(f"Column {column!r} holds images: expected nested lists of numbers; {error}.") from error


def _is_image(cell: object) -> bool:
    if isinstance(cell, np.ndarray):
        return cell.ndim in (2, 3)
    return type(cell).__module__.startswith("PIL.")


def _fault(cell: Any) -> str | None:
    """What is wrong with a cell; None if nothing is."""
    return _file_fault(cell) if isinstance(cell, str) else _array_fault(cell)


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
        return shown(cell.item() if isinstance(cell, np.generic) else cell)
    if cell.ndim not in (2, 3) or 0 in cell.shape or (cell.ndim == 3 and cell.shape[2] not in (1, 3, 4)):
        return f"an array of the shape {cell.shape}, not (H, W) or (H, W, C) with 1, 3 or 4 channels"
    return "an array that is not finite" if cell.dtype.kind == "f" and not np.isfinite(cell).all() else None
