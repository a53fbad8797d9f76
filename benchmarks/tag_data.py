"""Tagged sentences of the benchmarks, from the folder that AET_DATA names (or `../shared/data` beside a checkout)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from common import folder

from aet.cells.words import objects
from aet.conll import conll_frames

DOMAINS = ("politics", "science", "music", "literature", "ai")
"""Of CrossNER (Liu et al. 2020, 2012.04373), each with types of its own."""


def sentences(path: Path) -> pd.DataFrame:
    """All sentences of a file: columns words and tags."""
    with path.open(encoding="utf-8") as lines:
        return next(conll_frames(lines, str(path), None))


def crossner(domain: str, part: str) -> pd.DataFrame:
    """`part` "train", "dev" or "test" of a domain, or of "conll2003"."""
    return sentences(folder("crossner") / domain / f"{part}.txt")


def wnut(part: str) -> pd.DataFrame:
    """WNUT-17 (Derczynski et al. 2017): Twitter to train, comments of YouTube as dev, several forums as test."""
    files = {"train": "wnut17train.conll", "dev": "emerging.dev.conll", "test": "emerging.test.annotated"}
    return sentences(folder("wnut17") / files[part])


def untyped(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with the spans alone, B and I, where label sets differ; sentences of at most 128 words."""
    frame = frame[frame["words"].map(len) <= 128].reset_index(drop=True)
    return frame.assign(tags=objects([[tag[0] for tag in tags] for tags in frame["tags"]]))
