"""Entities in sequences of BIO tags, and how many of them are found: precision, recall and F1 over whole entities."""

from __future__ import annotations

import re
from collections.abc import Sequence

BIO = re.compile(r"O|[BI](-.+)?")
Span = tuple[str, int, int]


def spans(tags: Sequence[str], strict: bool = False) -> list[Span]:
    """Type, first word, and the word after the last of each entity.

    An entity begins with B-x, or with an I-x that follows neither B-x nor I-x, as in the program conlleval of
    CoNLL-2000 and in seqeval's default mode; with `strict` only with B-x, and what begins otherwise is none, as in
    seqeval's mode "strict" with the scheme IOB2.

    >>> spans(["B-PER", "I-PER", "O", "B-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4)]
    >>> spans(["I-NP", "I-NP", "O"]), spans(["I-NP", "I-NP", "O"], strict=True)
    ([('NP', 0, 2)], [])
    """
    found: list[Span] = []
    kind, start, counts = "", -1, True  # start is -1 outside
    for place, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        if start >= 0 and (mark != "I" or name != kind):
            found += [(kind, start, place)] if counts else []
            start = -1
        if mark != "O" and start < 0:
            kind, start, counts = name, place, mark == "B" or not strict
    return found


def begun(tags: Sequence[str]) -> list[str]:
    """The tags with B-x where an entity begins with I-x: the same entities, each of which begins with B-x.

    >>> begun(["I-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    ['B-PER', 'I-PER', 'O', 'B-LOC', 'B-LOC']
    """
    mended = list(tags)
    for name, start, _ in spans(tags):
        mended[start] = f"B-{name}" if name else "B"
    return mended


def entity_figures(
    truth: Sequence[Sequence[str]], guess: Sequence[Sequence[str]], strict: bool = False, typed: bool = True
) -> dict[str, float]:
    """Precision, recall and F1 over the entities of all rows together (micro); 0 where there is nothing to divide by.

    An entity is found if its first word, its last word and its type are right; of no type if not `typed`, for label
    sets that differ.

    >>> figures = entity_figures([["B-PER", "I-PER", "O"]], [["B-LOC", "I-LOC", "B-PER"]])
    >>> figures["f1"], round(entity_figures([["B-PER", "O"]], [["B-LOC", "B-PER"]], typed=False)["f1"], 3)
    (0.0, 0.667)
    """
    wanted, given = (
        {(row, *span[not typed :]) for row, tags in enumerate(rows) for span in spans(tags, strict)}
        for rows in (truth, guess)
    )
    return f_score(len(wanted & given), len(given), len(wanted))


def f_score(hits: float, given: float, wanted: float) -> dict[str, float]:
    """Precision, recall and F1 of so many hits.

    >>> f_score(1, 2, 4)["f1"]
    0.333...
    """
    return {
        "precision": hits / given if given else 0.0,
        "recall": hits / wanted if wanted else 0.0,
        "f1": 2 * hits / (given + wanted) if given + wanted else 0.0,
    }
