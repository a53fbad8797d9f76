"""CoNLL files: one token a line, its tag last, a blank line between sentences (Tjong Kim Sang and De Meulder 2003)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from aet.cells.words import objects
from aet.errors import DataError

WORDS, TAGS = "words", "tags"
DOCUMENT = "-DOCSTART-"


def conll_frames(lines: Iterable[str], where: str, rows: int | None) -> Iterator[pd.DataFrame]:
    """Frames of `rows` sentences, or one of all: `words`, and `tags` if the lines have more than one column.

    Columns are divided by tabs, or by blanks where a line has no tab; the first is the token, the last its tag. Lines
    that start with -DOCSTART- are left out.

    Raises DataError for a line with another number of columns than the first.

    >>> text = "EU\\tB-ORG\\nrejects\\tO\\n\\nPeter\\tB-PER\\n"
    >>> next(conll_frames(text.splitlines(), "news.conll", None)).to_dict("list")
    {'words': [['EU', 'rejects'], ['Peter']], 'tags': [['B-ORG', 'O'], ['B-PER']]}
    """
    held: list[list[list[str]]] = []
    for sentence in sentences(lines, where):
        held.append(sentence)
        if len(held) == rows:
            yield framed(held)
            held = []
    if held:
        yield framed(held)


def sentences(lines: Iterable[str], where: str) -> Iterator[list[list[str]]]:
    """Sentences as lists of lines, each a list of cells."""
    width, sentence = 0, list[list[str]]()
    for number, line in enumerate(lines, 1):
        cells = line.strip("\r\n").split("\t") if "\t" in line else line.split()
        if not line.strip() or cells[0] == DOCUMENT:
            if sentence:
                yield sentence
            sentence = []
            continue
        width = width or len(cells)
        if len(cells) != width or not all(cell.strip() for cell in (cells[0], cells[-1])):
            raise DataError(
                f"{where}, line {number}: expected {width} columns, a token and its tag as in the first line, got "
                f"{line.strip()[:60]!r}. Mend that line; sentences are divided by a blank line."
            )
        sentence.append([cell.strip() for cell in cells])
    if sentence:
        yield sentence


def framed(held: list[list[list[str]]]) -> pd.DataFrame:
    """Sentences as rows."""
    frame = pd.DataFrame({WORDS: objects([[cells[0] for cells in sentence] for sentence in held])})
    if len(held[0][0]) > 1:
        frame[TAGS] = objects([[cells[-1] for cells in sentence] for sentence in held])
    return frame
