"""Streams of rows with known answers, made from labelled parts: the orders in which shifts are served in the papers.

A name joins pieces with `+`: how parts follow each other (`continual` unless said), how rows lie inside (`shuffled`
unless said), and `recurring`:

    reset_each_shift   part after part, a method is reset before each        (Wang et al. 2021, 2006.10726)
    continual          part after part, never reset                          (Wang et al. 2022, 2203.13591)
    gradual            the next part mixes in before the last one ends       (Marsden et al. 2024, 2306.00650)
    mixed              rows of all parts together                            (Niu et al. 2023, 2302.12400)
    shuffled           rows of a part in random order
    as_filed           rows of a part in their own order
    correlated         sorted by class, or classes drawn from Dirichlet      (Gong et al. 2022, 2208.05117)
    recurring          the whole, twenty times                               (Hoang et al. 2024, 2311.18193)

So `mixed + correlated` sorts the rows of all parts by class. Rows are neither lost nor invented; `recurring` repeats
them. A new piece is one class and one decorator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from aet.adaptation.scenario import Rows, Scenario
from aet.config import checked_settings
from aet.errors import ConfigError, DataError
from aet.registry import Registry

Within = Callable[[Rows], Rows]
"""Puts the rows of one stretch into order."""
Part = tuple[str, pd.DataFrame]

PIECES: Registry[type[Piece]] = Registry("piece of a stream")

BINS = 10
"""Numbers are correlated by their tenths."""


class Piece:
    """One piece of a stream's name. `axis` says what it decides: "follow", "order" or "repeat"."""

    axis: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, rng: np.random.Generator, settings: Mapping[str, Any]) -> None:
        self.rng, self.settings = rng, settings


class Order(Piece, ABC):
    """Puts the rows of one stretch into order; `classes` (N,) are numbers of the answers of all rows given."""

    axis = "order"

    @abstractmethod
    def order(self, rows: Rows, classes: Rows) -> Rows:
        """`rows` (n,) permuted."""


class Follow(Piece, ABC):
    """Lets parts follow each other."""

    axis = "follow"

    @abstractmethod
    def follow(self, parts: Sequence[Rows], within: Within) -> tuple[Rows, tuple[int, ...]]:
        """All rows of the parts in order, and where a method is reset."""


class Repeat(Piece, ABC):
    """Lets the whole come again."""

    axis = "repeat"

    @property
    @abstractmethod
    def visits(self) -> int:
        """How often the whole comes."""


@PIECES.register("as_filed")
class AsFiled(Order):
    """The own order."""

    def order(self, rows: Rows, classes: Rows) -> Rows:
        """`rows`."""
        return rows


@PIECES.register("shuffled")
class Shuffled(Order):
    """Random order."""

    def order(self, rows: Rows, classes: Rows) -> Rows:
        """A permutation."""
        return self.rng.permutation(rows)


@PIECES.register("correlated")
class Correlated(Order):
    """Class after class, the classes in random order; with a `concentration` δ > 0 as in Gong et al. 2022.

    Each class c is dealt out over as many slots as there are classes, p_c ~ Dirichlet(δ, ..., δ), and slot comes after
    slot: a small δ gives long runs of a class, a large one random order. Inside a class rows are shuffled.
    """

    defaults: ClassVar[dict[str, Any]] = {"concentration": 0.0}

    def order(self, rows: Rows, classes: Rows) -> Rows:
        """The formula above."""
        rows = self.rng.permutation(rows)
        runs = [rows[classes[rows] == c] for c in self.rng.permutation(np.unique(classes[rows]))]
        if not self.settings["concentration"]:
            return np.concatenate([*runs, rows[:0]])
        slots: list[list[Rows]] = [[] for _ in runs]
        for run in runs:
            shares = self.rng.dirichlet([self.settings["concentration"]] * len(runs))
            edges = np.round(np.nan_to_num(np.cumsum(shares)[:-1]) * len(run)).astype(np.int64)
            for slot, dealt in zip(slots, np.split(run, edges), strict=True):
                slot.append(dealt)
        return np.concatenate([self.rng.permutation(np.concatenate(slot)) for slot in slots] or [rows])


@PIECES.register("continual")
class Continual(Follow):
    """Part after part."""

    def follow(self, parts: Sequence[Rows], within: Within) -> tuple[Rows, tuple[int, ...]]:
        """Each part in its inner order."""
        return np.concatenate([within(rows) for rows in parts]), ()


@PIECES.register("reset_each_shift")
class ResetEachShift(Continual):
    """Part after part, with a reset before each."""

    def follow(self, parts: Sequence[Rows], within: Within) -> tuple[Rows, tuple[int, ...]]:
        """As `continual`."""
        starts = np.cumsum([len(rows) for rows in parts])[:-1]
        return super().follow(parts, within)[0], tuple(int(start) for start in starts)


@PIECES.register("gradual")
class Gradual(Follow):
    """Neighbours blend over the last `overlap`/2 of the one and as many rows of the next, at most half of each.

    In the transition the probability of the next part rises linearly from 0 to 1; each part keeps its inner order.
    """

    defaults: ClassVar[dict[str, Any]] = {"overlap": 1.0}

    def follow(self, parts: Sequence[Rows], within: Within) -> tuple[Rows, tuple[int, ...]]:
        """Parts in their inner order, blended from left to right."""
        share = min(1.0, self.settings["overlap"])
        ordered = [within(rows) for rows in parts]
        out, rest = [], ordered[0]
        for before, after in pairwise(ordered):
            width = int(share * min(len(before), len(after))) // 2
            out += [rest[: len(rest) - width], self.blended(rest[len(rest) - width :], after[:width])]
            rest = after[width:]
        return np.concatenate([*out, rest]), ()

    def blended(self, before: Rows, after: Rows) -> Rows:
        """Two queues merged, the second ever more often."""
        total, queues, out = len(before) + len(after), [deque(before), deque(after)], []
        for slot in range(total):
            late = bool(self.rng.random() < (slot + 0.5) / total)
            out.append((queues[late] or queues[not late]).popleft())
        return np.array(out, dtype=np.int64)


@PIECES.register("mixed")
class Mixed(Follow):
    """Rows of all parts together, each part's own order kept, then put into order as one stretch."""

    def follow(self, parts: Sequence[Rows], within: Within) -> tuple[Rows, tuple[int, ...]]:
        """Every place takes the next row of a part drawn by its rows left."""
        turns = self.rng.permutation(np.repeat(np.arange(len(parts)), [len(rows) for rows in parts]))
        together = np.empty(len(turns), dtype=np.int64)
        for number, rows in enumerate(parts):
            together[turns == number] = rows
        return within(together), ()


@PIECES.register("recurring")
class Recurring(Repeat):
    """`visits` times, each drawn anew."""

    defaults: ClassVar[dict[str, Any]] = {"visits": 20}

    @property
    def visits(self) -> int:
        """As set."""
        return int(self.settings["visits"])


def build_stream(
    name: str, parts: Iterable[Part], target: str | None = None, seed: int = 0, **settings: Any
) -> Scenario:
    """The stream of that name over labelled parts, (name, frame) each, as `aet.replay` takes them.

    Args:
        name: pieces joined by `+`, at most one of each sort, e.g. "gradual", "mixed + correlated".
        parts: frames with the same columns.
        target: column of the answers, for `correlated`.
        seed: of every draw.
        settings: of the pieces: `overlap`, `concentration`, `visits`.

    Raises ConfigError for an unknown name or setting, DataError for parts without rows or without the target.

    >>> import pandas as pd
    >>> june, july = pd.DataFrame({"y": list("abab")}), pd.DataFrame({"y": ["a"]})
    >>> parts = [("june", june), ("july", july)]
    >>> build_stream("as_filed + reset_each_shift", parts).resets
    (4,)
    >>> rows = build_stream("mixed + correlated", parts, target="y", seed=1)
    >>> "".join(rows.frame["y"]) in ("aaabb", "bbaaa"), sorted(rows.part), rows.segments()
    (True, ['july', 'june', 'june', 'june', 'june'], [(0, 5)])
    """
    listed = [(str(part), frame) for part, frame in parts]
    if not any(len(frame) for _, frame in listed):
        raise DataError("A stream needs parts with rows: got none.")
    rng = np.random.default_rng(seed)
    chosen = pieces_of(name, rng, settings)
    frame = pd.concat([frame for _, frame in listed], ignore_index=True)
    edges = np.cumsum([0, *(len(frame) for _, frame in listed)])
    groups = [np.arange(a, b) for a, b in pairwise(edges) if b > a]
    names = np.repeat(np.array([part for part, _ in listed], dtype=object), np.diff(edges))

    follow, order, repeat = chosen["follow"], chosen["order"], chosen.get("repeat")
    assert isinstance(follow, Follow)
    assert isinstance(order, Order)
    classes = classes_of(frame, target) if isinstance(order, Correlated) else np.zeros(len(frame), dtype=np.int64)
    visits = repeat.visits if isinstance(repeat, Repeat) else 1
    drawn = [follow.follow(groups, lambda rows: order.order(rows, classes)) for _ in range(visits)]
    origin = np.concatenate([rows for rows, _ in drawn])
    # Between visits of a stream with resets there is one too.
    resets = [len(frame) * n + at for n, (_, inside) in enumerate(drawn) for at in ((0, *inside) if inside else ())]
    return Scenario(
        frame.iloc[origin].reset_index(drop=True),
        names[origin],
        origin,
        np.repeat(np.arange(visits), len(frame)),
        tuple(at for at in resets if at),
    )


def pieces_of(name: str, rng: np.random.Generator, settings: Mapping[str, Any]) -> dict[str, Piece]:
    """The pieces that a name joins, by axis."""
    kinds: dict[str, tuple[str, type[Piece]]] = {}
    for word in (part.strip() for part in name.split("+")):
        kind = PIECES[word]
        if kind.axis in kinds:
            raise ConfigError(
                f"The stream {name!r} names both {kinds[kind.axis][0]!r} and {word!r}: expected at most one of a sort. "
                f"Use one of {', '.join(repr(known) for known in PIECES if PIECES[known].axis == kind.axis)}."
            )
        kinds[kind.axis] = word, kind
    kinds = {"follow": ("continual", Continual), "order": ("shuffled", Shuffled), **kinds}
    defaults = {key: value for _, kind in kinds.values() for key, value in kind.defaults.items()}
    checked = checked_settings(f"stream {name!r}", defaults, settings)
    return {axis: kind(rng, checked) for axis, (_, kind) in kinds.items()}


def classes_of(frame: pd.DataFrame, target: str | None) -> Rows:
    """Numbers (N,) of the answers: classes as they are, numbers by their tenths, a missing answer on its own."""
    if target is None or target not in frame:
        raise DataError(
            f"'correlated' sorts rows by their answers: expected target= one of {', '.join(map(repr, frame.columns))}, "
            f"got {target!r}."
        )
    answers = frame[target]
    if pd.api.types.is_float_dtype(answers) and answers.nunique() > BINS:
        answers = pd.qcut(answers, BINS, labels=False, duplicates="drop")
    return pd.factorize(answers, use_na_sentinel=True)[0].astype(np.int64)
