"""The items that a model knows, each as one vector: its own and that of its content. An input reads it, an output too.

    v_i = id_i + content(x_i)

An item that no event of the training showed has the id of the unknown, one for all, beside its content. So that both
learn to stand for an item, training gives that id to some of the others at each step, where there is content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.state import active
from aet.cells.events import ITEM, plain_item
from aet.errors import ConfigError
from aet.inputs.content import Content, Record
from aet.tables import read_table

NOTHING, START, UNKNOWN, FIRST = -1, 0, 1, 2
"""Codes of places: no event there, the beginning of a history, an item that is not known, the first item."""
DROPPED = 0.1
"""Share of the items to which a training step gives the id of the unknown, where there is content."""


class Catalogue(nn.Module):
    """Codes of items and their vectors.

    codes (...) -> (..., dim); `vectors` gives (I, dim)

    >>> catalogue = Catalogue(4)
    >>> catalogue.add(["a", 7], seen=True)
    [0, 1]
    >>> catalogue.build()
    >>> catalogue.codes(["7", "a", "x"]), catalogue.vectors().shape
    ([3, 2, 1], torch.Size([2, 4]))
    """

    features: Tensor
    seen: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.items: list[Any] = []
        self.place: dict[str, int] = {}
        self.known: list[bool] = []
        self.content = Content(dim)
        self.records: dict[str, Record] = {}
        self.kept: tuple[tuple[int, ...], Tensor] | None = None
        """The vectors as they were made last, and what of."""

    def describe(self, table: Any, kinds: Mapping[str, str] | None = None) -> None:
        """Take in a table of items: the column `item`, and their content. ConfigError if it has no such column."""
        rows = records_of(table)
        self.records = {str(plain_item(row[ITEM])): row for row in rows}
        content = [{name: value for name, value in row.items() if name != ITEM} for row in rows]
        self.content.fit(content, kinds)
        self.add([row[ITEM] for row in rows], seen=False)

    def add(self, items: Iterable[Any], seen: bool) -> list[int]:
        """Take in those of these items that are new; the places of the new ones."""
        new = []
        for item in map(plain_item, items):
            key = str(item)
            if item is not None and key not in self.place:
                self.place[key] = len(self.items)
                self.items.append(item)
                self.known.append(seen)
                new.append(self.place[key])
            elif item is not None and seen:
                self.known[self.place[key]] = True
        return new

    def shown(self, items: Iterable[Any]) -> None:
        """Note that training shows these items, after the weights were made."""
        self.add(items, seen=True)
        now = torch.tensor(self.known, device=self.seen.device)
        with torch.no_grad():
            self.ids.weight[FIRST:][now & ~self.seen] = self.ids.weight[UNKNOWN]
        self.seen = now

    def codes(self, items: Iterable[Any]) -> list[int]:
        """Their codes."""
        return [self.place.get(str(item), UNKNOWN - FIRST) + FIRST for item in items]

    def build(self) -> None:
        """The weights, and what is known of the items' content."""
        self.ids = nn.Embedding(FIRST + len(self.items), self.dim)
        with torch.no_grad():
            self.ids.weight.mul_(0.02)
        self.register_buffer("seen", torch.tensor(self.known, dtype=torch.bool))
        if self.content.fields:
            self.content.build()
            # Codes are kept as they are read: loading a model brings the features of its items.
            blank: list[Record] = [{}] * FIRST
            records = [self.records.get(str(item), {}) for item in self.items]
            self.register_buffer("features", self.content.code([*blank, *records]))

    def extend(self, table: Any) -> list[Any]:
        """Items of a table that are new, with their content; the new ones."""
        rows = records_of(table)
        new = [self.items[place] for place in self.add([row[ITEM] for row in rows], seen=False)]
        if new:
            content = {str(plain_item(row[ITEM])): row for row in rows}
            old = self.ids.weight
            more = old.new_zeros(len(new), self.dim)
            self.ids = nn.Embedding.from_pretrained(torch.cat([old.detach(), more]), freeze=not old.requires_grad)
            self.seen = torch.cat([self.seen, self.seen.new_zeros(len(new))])
            if self.content.fields:
                coded = self.content.code([content[str(item)] for item in new]).to(self.features)
                self.features = torch.cat([self.features, coded])
        return new

    def settings(self) -> dict[str, Any]:
        """Items and fields."""
        return {"items": self.items, "known": self.known, "fields": self.content.fields}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take them back."""
        self.items, self.known = list(settings["items"]), list(settings["known"])
        self.place = {str(item): place for place, item in enumerate(self.items)}
        self.content.fields = {name: dict(field) for name, field in settings["fields"].items()}

    def forward(self, codes: Tensor) -> Tensor:
        """Vectors of codes, whichever way is shorter: of each by itself, or of all items and then chosen."""
        if self.content.fields and codes.numel() > len(self.ids.weight):
            return self.whole()[codes]
        own = self.own(codes)
        if not self.content.fields:
            return own
        of_content: Tensor = self.content(self.features[codes])
        return own + of_content

    def vectors(self) -> Tensor:
        """Those of all items, (I, dim)."""
        return self.whole()[FIRST:]

    def whole(self) -> Tensor:
        """Those of all codes; kept as long as the weights stand, where none of them takes a gradient."""
        ids: Tensor = self.ids.weight
        if not self.content.fields and all(self.known):
            return ids
        codes = torch.arange(len(ids), device=ids.device)
        if not self.content.fields:
            return self.own(codes)
        if self.training or (torch.is_grad_enabled() and active() is None):  # under a state only its dials move
            return self.made(codes)
        weights = (*self.parameters(), self.features, self.seen)
        stamp = tuple(number for t in weights for number in (t.data_ptr(), t._version))
        if self.kept is None or self.kept[0] != stamp:
            with torch.no_grad():
                self.kept = stamp, self.made(codes)
        return self.kept[1]

    def made(self, codes: Tensor) -> Tensor:
        """Ids and content together."""
        of_content: Tensor = self.content(self.features)
        return self.own(codes) + of_content

    def own(self, codes: Tensor) -> Tensor:
        """The ids (..., dim) of codes: the unknown one for items that were not seen, and while training for some."""
        ids: Tensor = self.ids(codes)
        drops = self.training and bool(self.content.fields)
        if not drops and all(self.known):
            return ids
        unknown = ~F.pad(self.seen, (FIRST, 0), value=True)[codes]
        if drops:
            unknown = unknown | (torch.rand(codes.shape, device=codes.device) < DROPPED) & (codes >= FIRST)
        return torch.where(unknown[..., None], self.ids.weight[UNKNOWN], ids)

    def blind(self) -> Tensor:
        """Items of which nothing is known, neither events nor content, (I,)."""
        if not self.content.fields:
            return ~self.seen
        return ~self.seen & (self.features[FIRST:].nan_to_num(0.0) == 0).all(-1)


def records_of(table: Any) -> list[dict[str, Any]]:
    """The rows of a table of items; ConfigError without the column `item`."""
    frame: pd.DataFrame = read_table(table)
    if ITEM not in frame:
        raise ConfigError(
            f"A table of items has one row an item: expected a column {ITEM!r} with their ids beside their content, "
            f"got {', '.join(map(str, frame.columns))}. Rename it."
        )
    rows: Sequence[dict[Any, Any]] = frame.to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows if plain_item(row[ITEM]) is not None]
