"""What is known of an item or an event beside its id: fields of numbers, categories and texts, read as one vector.

    x = Σ_f mean_p E[p] + W [u, missing]

The pieces p of a category are its values; those of a text its words and the letter triples of its words; each from a
vocabulary of the pieces that occur twice or more. Numbers u are standardised. A field that is missing adds nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.cells.base import object_cells
from aet.cells.number import parse_numbers

FieldKind = Literal["number", "category", "text"]
ROOM: dict[str, int] = {"number": 1, "category": 8, "text": 32}
"""Values of a field at most: one number, so many categories, so many pieces."""
PIECES = 4096
"""Pieces of a field at most, the most frequent ones."""
WORD = re.compile(r"\w+")
Record = Mapping[str, Any]


@lru_cache(maxsize=65_536)
def text_pieces(text: str) -> tuple[str, ...]:
    """Words, then the letter triples of each, in lower case.

    >>> text_pieces("Toy Story")
    ('toy', 'story', '#to', '#toy', '#oy', '#st', '#sto', '#tor', '#ory', '#ry')
    """
    words = WORD.findall(text.lower())[: ROOM["text"]]
    triples = [f"#{f' {word} '[i : i + 3].strip()}" for word in words for i in range(len(word))]
    return tuple(dict.fromkeys([*words, *triples]))[: ROOM["text"]]


def pieces_of(value: Any, kind: str) -> Sequence[str]:
    """The pieces of a field's value; of categories those of a list, or divided by |.

    >>> pieces_of("Comedy|Drama", "category"), pieces_of(["a", 3], "category"), pieces_of(1995, "category")
    (['Comedy', 'Drama'], ['a', '3'], ['1995'])
    """
    if kind == "text":
        return text_pieces(" ".join(map(str, value)) if isinstance(value, list | tuple | np.ndarray) else str(value))
    values = value if isinstance(value, list | tuple | np.ndarray) else str(value).split("|")
    return [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v).strip() for v in values][
        : ROOM["category"]
    ]


def field_kind(values: Sequence[Any]) -> FieldKind:
    """Numbers, unless a value is none; texts of two words or more and mostly different ones; else categories.

    >>> field_kind([1995, 2001.5]), field_kind(["Comedy|Drama", "Drama"]), field_kind(["Toy Story", "The Rock"])
    ('number', 'category', 'text')
    """
    if any(isinstance(value, list | tuple | np.ndarray) for value in values):
        return "category"
    if not parse_numbers(pd.Series(object_cells(values), dtype=object))[1].any():
        return "number"
    texts = [str(value) for value in values]
    several = sum(len(text.split()) for text in texts) >= 2 * len(texts)
    return "text" if several and 2 * len(set(texts)) > min(len(texts), 400) else "category"


class Content(nn.Module):
    """Fields of records as vectors.

    codes (..., F) -> (..., dim)

    >>> content = Content(4)
    >>> content.fit([{"year": 1995, "genre": "Drama"}, {"genre": "Drama|Crime"}, {}])
    >>> content.build()
    >>> codes = content.code([{"genre": "Crime"}, {"year": 1995}])
    >>> content(codes).shape, content.fields["genre"]["pieces"]
    (torch.Size([2, 4]), ['Drama'])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.fields: dict[str, dict[str, Any]] = {}

    def fit(self, records: Sequence[Record], kinds: Mapping[str, str] | None = None) -> None:
        """Kinds, vocabularies and moments of the fields; those of `kinds` alone if it is given."""
        names = kinds if kinds is not None else dict.fromkeys(name for record in records for name in record)
        for name in names:
            values = [record[name] for record in records if _filled(record.get(name))]
            if not values:
                continue
            kind = kinds[name] if kinds is not None else field_kind(values)
            self.fields[str(name)] = {"kind": kind, **(_moments if kind == "number" else _vocabulary)(values, kind)}

    def build(self) -> None:
        """The weights."""
        sizes = [len(field.get("pieces", ())) for field in self.fields.values()]
        self.numbers = sum(field["kind"] == "number" for field in self.fields.values())
        self.pieces = nn.Embedding(1 + sum(sizes), self.dim)
        self.weight = nn.Linear(2 * self.numbers, self.dim, bias=False) if self.numbers else None
        with torch.no_grad():
            self.pieces.weight.mul_(0.02)

    @property
    def width(self) -> int:
        """F."""
        return sum(ROOM[field["kind"]] for field in self.fields.values())

    def spans(self) -> Iterator[tuple[str, dict[str, Any], slice, int]]:
        """Each field, the places of its values, and the number of its first piece."""
        place, first = 0, 1
        for name, field in self.fields.items():
            room = ROOM[field["kind"]]
            yield name, field, slice(place, place + room), first
            place, first = place + room, first + len(field.get("pieces", ()))

    def code(self, records: Iterable[Record]) -> Tensor:
        """Records as numbers (N, F): pieces by their numbers, 0 for none; numbers standardised, NaN for none."""
        rows = list(records)
        coded = torch.zeros(len(rows), self.width)
        for name, field, span, first in self.spans():
            values = [record.get(name) for record in rows]
            if field["kind"] == "number":
                known, wrong = parse_numbers(pd.Series(object_cells(values), dtype=object))
                known[wrong | np.isinf(known)] = np.nan
                coded[:, span.start] = torch.from_numpy((known - field["center"]) / field["spread"]).float()
                continue
            numbers = {piece: first + place for place, piece in enumerate(field["pieces"])}
            for row, value in enumerate(values):
                if _filled(value):
                    found = [numbers[piece] for piece in pieces_of(value, field["kind"]) if piece in numbers]
                    coded[row, span.start : span.start + len(found)] = torch.tensor(found, dtype=torch.float32)
        return coded

    def forward(self, codes: Tensor) -> Tensor:
        """The sum over the fields."""
        out = codes.new_zeros(*codes.shape[:-1], self.dim)
        numbers = []
        for _, field, span, _ in self.spans():
            if field["kind"] == "number":
                numbers.append(codes[..., span])
                continue
            pieces = codes[..., span].long().flatten(0, -2)
            means = F.embedding_bag(pieces, self.pieces.weight, mode="mean", padding_idx=0)  # without those that are 0
            out = out + means.view(out.shape)
        if self.weight is not None:
            u = torch.cat(numbers, -1)
            missing = u.isnan()
            out = out + self.weight(torch.cat([u.nan_to_num(0.0).clamp(-8, 8), missing.to(u.dtype)], -1))
        return out


def _filled(value: Any) -> bool:
    return value is not None and not (pd.api.types.is_scalar(value) and pd.isna(value)) and value != ""


def _vocabulary(values: Sequence[Any], kind: str) -> dict[str, Any]:
    counts = Counter(piece for value in values for piece in pieces_of(value, kind))
    return {"pieces": [piece for piece, count in counts.most_common(PIECES) if count > 1]}


def _moments(values: Sequence[Any], kind: str) -> dict[str, Any]:
    known, wrong = parse_numbers(pd.Series(object_cells(values), dtype=object))
    known = known[~wrong & np.isfinite(known)]
    center = float(known.mean()) if len(known) else 0.0
    return {"center": center, "spread": (float(known.std()) if len(known) else 0.0) or 1.0}
