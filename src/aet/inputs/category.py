"""Categories: each column is a token, each value an embedding; missing and unseen values have places of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from aet.config import Section
from aet.inputs.base import INPUTS, Input
from aet.schema import InputSpec

if TYPE_CHECKING:
    from aet.graph.neighbours import Neighbours

MISSING, UNSEEN, FIRST = 0, 1, 2


class CategorySettings(Section):
    """`inputs.category`."""

    max_values: PositiveInt = Field(1000, description="Values a column keeps, the most frequent ones.")


@INPUTS.register("category")
class CategoryInput(Input):
    """Category columns. Encoded: (B, G) places; 0 is missing, 1 unseen.

    Values that occur once in training count as unseen, so that the unseen place is trained.
    """

    kind = "category"
    starts: Tensor
    neighbours: Neighbours | None
    """The table of embeddings -> the same table, each value informed by its neighbours in a graph."""

    def __init__(self, specs: Sequence[InputSpec], dim: int) -> None:
        super().__init__(specs, dim)
        self.columns = [spec.columns[0] for spec in specs]
        self.places: list[dict[str, int]] = [{} for _ in specs]
        self.neighbours = None

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """The values of each column, the most frequent `max_values` of them."""
        limit = CategorySettings.checked("inputs.category", settings).max_values
        for column, places in zip(self.columns, self.places, strict=True):
            counts = frame[column].dropna().astype(str).value_counts()
            often = counts[counts > 1] if (counts > 1).any() else counts
            places.update({value: place for place, value in enumerate(sorted(often.index[:limit]), FIRST)})

    def build(self) -> None:
        """One table for all columns, each with its own stretch."""
        sizes = [FIRST + len(places) for places in self.places]
        starts = torch.tensor([0, *np.cumsum(sizes)[:-1].tolist()])
        self.register_buffer("starts", starts, persistent=False)
        self.embedding = nn.Embedding(sum(sizes), self.dim)

    def settings(self) -> dict[str, Any]:
        """The values in the order of their places."""
        return {"values": [list(places) for places in self.places]}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take back the values."""
        self.places = [{value: place for place, value in enumerate(values, FIRST)} for values in settings["values"]]

    def token_names(self) -> list[str]:
        """The columns' names."""
        return [spec.name for spec in self.specs]

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Places of the values."""
        coded = []
        for column, places in zip(self.columns, self.places, strict=True):
            cells = frame[column]
            found = cells.astype(str).map(places).fillna(UNSEEN).to_numpy(np.int64)
            coded.append(np.where(cells.isna().to_numpy(), MISSING, found))
        return torch.from_numpy(np.stack(coded, 1))

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (B, G) -> tokens (B, G, dim)."""
        if self.neighbours is None:
            return self.embedding(values + self.starts), None
        return F.embedding(values + self.starts, self.neighbours(self.embedding.weight)), None

    def vocabulary(self) -> list[list[tuple[str | None, int]]]:
        """Missing and unseen, which name no value, then the values of each column."""
        sizes = [FIRST + len(places) for places in self.places]
        starts = [0, *np.cumsum(sizes)[:-1].tolist()]
        marks: list[tuple[str | None, int]] = [(None, MISSING), (None, UNSEEN)]
        return [
            [(value, start + place) for value, place in [*marks, *places.items()]]
            for start, places in zip(starts, self.places, strict=True)
        ]

    def held(self, values: Tensor) -> Tensor:
        """Places in the one table of all columns (B, G)."""
        return values + self.starts

    def behind(self, values: Tensor) -> tuple[Tensor, int]:
        """Places in the one table of all columns (B, G); a missing or unseen value is not asked for."""
        return (values + self.starts).masked_fill(values < FIRST, -1), self.embedding.num_embeddings

    def augment(self, values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Some values become unseen."""
        amount = 0.2 * strength * torch.rand((), generator=generator)
        hidden = torch.rand(values.shape, generator=generator) < amount
        return values.masked_fill(hidden, UNSEEN)
