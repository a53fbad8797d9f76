"""Plain text: a byte-pair tokenizer trained on the column itself, learned positions, one token a piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from aet.config import Section
from aet.inputs.base import INPUTS, Input
from aet.schema import InputSpec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN, START = 0, 1, 2


def train_tokenizer(texts: Iterator[str], vocabulary: int) -> Tokenizer:
    """Byte-pair encoding on lower-cased, NFKC-normalised text (Sennrich et al. 2016)."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["[PAD]", "[UNK]", "[START]"], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class TextSettings(Section):
    """`inputs.text`."""

    vocabulary: PositiveInt = Field(4000, description="Pieces of the tokenizer at most.")
    max_pieces: PositiveInt = Field(128, description="Pieces of a text at most; the rest is cut off.")


@INPUTS.register("text")
class TextInput(Input):
    """One text column. Encoded: (B, L) piece numbers, 0 where there is no piece; the first is always [START]."""

    kind = "text"

    def __init__(self, specs: Sequence[InputSpec], dim: int) -> None:
        super().__init__(specs, dim)
        self.column = specs[0].columns[0]
        self.tokenizer: Tokenizer | None = None
        self.length = 1

    @classmethod
    def bundle(cls, specs: Sequence[InputSpec]) -> list[list[InputSpec]]:
        """Each text column has its own tokenizer."""
        return [[spec] for spec in specs]

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """Train the tokenizer and choose the length: the 98th percentile, at most `max_pieces`."""
        chosen = TextSettings.checked("inputs.text", settings)
        texts = self.texts(frame)
        self.tokenizer = train_tokenizer(iter(texts), chosen.vocabulary)
        lengths = [len(e.ids) for e in self.tokenizer.encode_batch_fast(texts)]
        longest = int(np.percentile(lengths, 98)) + 1
        self.length = min(longest, chosen.max_pieces)

    def build(self) -> None:
        """Embeddings of pieces and positions."""
        assert self.tokenizer is not None
        self.pieces = nn.Embedding(self.tokenizer.get_vocab_size(), self.dim, padding_idx=PAD)
        self.positions = nn.Parameter(0.1 * torch.randn(self.length, self.dim))

    def settings(self) -> dict[str, Any]:
        """The tokenizer as its own JSON text, and the length."""
        assert self.tokenizer is not None
        return {"tokenizer": self.tokenizer.to_str(), "length": self.length}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take back the tokenizer and the length."""
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_str(settings["tokenizer"])
        self.length = int(settings["length"])

    def texts(self, frame: pd.DataFrame) -> list[str]:
        """The cells as strings, missing ones empty."""
        return [str(cell) for cell in frame[self.column].fillna("")]

    def token_names(self) -> list[str]:
        """One name a position."""
        return [f"{self.specs[0].name}[{i}]" for i in range(self.length)]

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Piece numbers, cut or padded to the length."""
        assert self.tokenizer is not None
        coded = torch.full((len(frame), self.length), PAD)
        coded[:, 0] = START
        for row, encoding in enumerate(self.tokenizer.encode_batch_fast(self.texts(frame))):
            ids = encoding.ids[: self.length - 1]
            coded[row, 1 : 1 + len(ids)] = torch.tensor(ids, dtype=torch.long)
        return coded

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (B, L) -> tokens (B, L, dim), mask (B, L)."""
        return self.pieces(values) + self.positions, values != PAD

    def behind(self, values: Tensor) -> tuple[Tensor, int]:
        """The pieces (B, L); not the start, nor unknown ones."""
        return values.masked_fill(values <= START, -1), self.pieces.num_embeddings

    def augment(self, values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Some pieces become unknown: other words for the same thing."""
        amount = 0.2 * strength * torch.rand((), generator=generator)
        hidden = (torch.rand(values.shape, generator=generator) < amount) & (values > START)
        return values.masked_fill(hidden, UNKNOWN)
