"""Histories: each of the last events is a token, made of its item, its content, its place and the time since the last.

    x_j = √dim · v_{item_j} + content(event_j) + w log(1 + gap_j) + p_{j - n}

v as in `aet.inputs.catalogue`, which an output that ranks items reads too; places are counted from the last event.
Beside the tokens stand their times, in units of a typical history's length: the mechanism `decay` of `model.attention`
makes of them forgetting in real time (`aet.attention.decay`), of rank one and so on the fused kernel.

A history shorter than `length` begins with a token of its own, so that one without an event has a token too: what is
answered then is what training showed of first events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from aet.cells.events import ITEM, TIME, Event
from aet.config import Section
from aet.inputs.base import INPUTS, Input
from aet.inputs.catalogue import FIRST, NOTHING, START, UNKNOWN, Catalogue
from aet.inputs.content import Content
from aet.schema import InputSpec

OWN = 3
"""Channels before the content: code, time before the last event, gap to the event before."""
LONGEST = 50.0
"""Units of time that are looked back at most."""


class EventsSettings(Section):
    """`inputs.events`."""

    length: PositiveInt = Field(50, description="Events that are read, the last ones.")
    content: dict[str, Literal["number", "category", "text"]] | None = Field(
        None, description="Fields of an event beside item and time that are read, and their kinds; None: all, by rule."
    )
    items: str | list[dict[str, Any]] | None = Field(
        None, description="Table of items: a file, or its rows, with the column item and their content."
    )
    about: dict[str, Literal["number", "category", "text"]] | None = Field(
        None, description="Columns of `items` that are read, and their kinds; None: all, by rule."
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Share of a token's channels left out in training.")


@INPUTS.register("events")
class EventsInput(Input):
    """One column of histories. Encoded: (B, W, 3 + F), events at the end, nothing before.

    >>> from aet.schema import InputSpec
    >>> part = EventsInput([InputSpec("history", "events", ("history",))], dim=8)
    >>> frame = pd.DataFrame({"history": [[{"item": 5, "time": 0.0}, {"item": 7, "time": 60.0}], []]})
    >>> part.fit(frame, {"length": 4})
    >>> part.encode(frame)[..., 0].tolist()  # nothing, the beginning, two items
    [[-1.0, 0.0, 2.0, 3.0], [-1.0, -1.0, -1.0, 0.0]]
    """

    kind = "events"

    def __init__(self, specs: Sequence[InputSpec], dim: int) -> None:
        super().__init__(specs, dim)
        self.column = specs[0].columns[0]
        self.catalogue, self.content = Catalogue(dim), Content(dim)
        self.length, self.unit, self.dropout = 0, 1.0, 0.0

    @classmethod
    def bundle(cls, specs: Sequence[InputSpec]) -> list[list[InputSpec]]:
        """Each column has its own catalogue."""
        return [[spec] for spec in specs]

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """The items, the events' content, and the unit of time: 9 of 10 events are no longer before the last."""
        chosen = EventsSettings.checked("inputs.events", settings)
        self.length, self.dropout = chosen.length, chosen.dropout
        histories: list[list[Event]] = list(frame[self.column])
        if chosen.items is not None:
            self.catalogue.describe(chosen.items, chosen.about)
        events = [event for history in histories for event in history]
        self.catalogue.add(sorted({event[ITEM] for event in events}, key=lambda item: (str(type(item)), item)), True)
        fields = [{name: value for name, value in event.items() if name not in (ITEM, TIME)} for event in events]
        self.content.fit(fields, chosen.content)
        ages = np.concatenate([ago(history[-self.length :]) for history in histories]) if histories else np.zeros(0)
        self.unit = float(np.quantile(ages[ages > 0], 0.9)) if (ages > 0).any() else 1.0

    def build(self) -> None:
        """Catalogue, content, places."""
        self.catalogue.build()
        self.content.build()
        self.positions = nn.Parameter(0.02 * torch.randn(self.length, self.dim))
        self.gap = nn.Parameter(torch.zeros(self.dim))

    def settings(self) -> dict[str, Any]:
        """Items, fields, length and unit."""
        return {
            "catalogue": self.catalogue.settings(),
            "content": self.content.fields,
            "length": self.length,
            "unit": self.unit,
            "dropout": self.dropout,
        }

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take them back."""
        self.catalogue.load_settings(settings["catalogue"])
        self.content.fields = {name: dict(field) for name, field in settings["content"].items()}
        self.length, self.unit, self.dropout = (settings[name] for name in ("length", "unit", "dropout"))

    def token_names(self) -> list[str]:
        """Counted from the last event."""
        return [f"{self.specs[0].name}[{place - self.length}]" for place in range(self.length)]

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Codes, times and content of the last events."""
        histories: list[list[Event]] = [history[-self.length :] for history in frame[self.column]]
        coded = torch.zeros(len(histories), self.length, OWN + self.content.width)
        coded[..., 0] = NOTHING
        fields = self.content.code([event for history in histories for event in history])
        done = 0
        for row, history in enumerate(histories):
            count = len(history)
            if count < self.length:
                coded[row, self.length - count - 1, 0] = START
            if not count:
                continue
            own = coded[row, self.length - count :]
            own[:, 0] = torch.tensor(self.catalogue.codes(event[ITEM] for event in history), dtype=torch.float32)
            before = ago(history)
            own[:, 1] = torch.from_numpy(np.minimum(before / self.unit, LONGEST))
            own[1:, 2] = torch.from_numpy(np.log1p(np.maximum(before[:-1] - before[1:], 0.0)))
            own[:, OWN:] = fields[done : done + count]
            done += count
        if count := self.length - 1:  # the beginning is as long ago as the first event
            first = (coded[..., 0] == START).long().argmax(1)
            at = torch.arange(len(coded))
            started = (coded[at, first, 0] == START) & (first < count)
            coded[at[started], first[started], 1] = coded[at[started], first[started] + 1, 1]
        return coded

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (B, W, 3 + F) -> tokens (B, W, dim), mask (B, W)."""
        codes = values[..., 0].long()
        tokens = self.dim**0.5 * self.catalogue(codes.clamp_min(START))
        if self.content.fields:
            tokens = tokens + self.content(values[..., OWN:])
        tokens = tokens + values[..., 2:3] * self.gap + self.positions
        return F.dropout(tokens, self.dropout, self.training), codes != NOTHING

    def beside(self, values: Tensor) -> dict[str, Tensor]:
        """Times (B, W), the last event's being 0, and codes of items (B, W), -1 where there is none."""
        codes = values[..., 0].long() - FIRST
        return {"times": -values[..., 1], "items": codes.clamp_min(-1)}

    def behind(self, values: Tensor) -> tuple[Tensor, int]:
        """The items (B, W); no beginnings, nor unknown ones."""
        return (values[..., 0].long() - FIRST).clamp_min(-1), len(self.catalogue.items)

    def augment(self, values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Some items become unknown."""
        amount = 0.2 * strength * torch.rand((), generator=generator)
        hidden = (torch.rand(values.shape[:2], generator=generator) < amount) & (values[..., 0] >= FIRST)
        moved = values.clone()
        moved[..., 0] = values[..., 0].masked_fill(hidden, UNKNOWN)
        return moved


def ago(history: Sequence[Event]) -> np.ndarray:
    """How long before the last event each was, in seconds (n,); one without a time takes that of the event before it.

    >>> ago([{"time": 10.0}, {"time": None}, {"time": 40.0}]).tolist(), ago([{"time": None}]).tolist()
    ([30.0, 30.0, 0.0], [0.0])
    """
    times = pd.Series([event[TIME] for event in history], dtype=np.float64).ffill().bfill()
    filled = times.fillna(0.0).to_numpy()
    before: np.ndarray = filled[-1] - filled if len(filled) else filled
    return before
