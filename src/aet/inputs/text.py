"""Texts: pieces of a tokenizer trained on the column itself, or the hidden states of a pretrained network.

Own pieces have an embedding and learned positions, one token a piece. With `inputs.text.backbone` the tokens are the
network's hidden states, projected only where their width is not `model.dim`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from aet.backbones import elasticize
from aet.config import Section
from aet.errors import ConfigError
from aet.inputs.backbone import Backbone
from aet.inputs.base import INPUTS, Input
from aet.inputs.pieces import CHARACTERS, PAD, START, UNKNOWN, Marks, cleaned, coded, split, train_tokenizer
from aet.inputs.pretrained import Pretrained, marks, pretrained, rebuilt, width
from aet.inputs.tuning import FROZEN, FULL, RATES, TUNINGS, tuning
from aet.schema import InputSpec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["PAD", "START", "UNKNOWN", "TextInput", "TextSettings", "train_tokenizer"]


class TextSettings(Section):
    """`inputs.text`."""

    vocabulary: PositiveInt = Field(4000, description="Pieces of the tokenizer at most.")
    max_pieces: PositiveInt = Field(128, description="Pieces of a text, or of a window, at most; the rest is cut off.")
    backbone: str | None = Field(
        None,
        description="A pretrained network: minilm, a folder, or a name of the hub; None: a tokenizer trained on the "
        "data, and the trunk.",
    )
    rate: PositiveFloat | None = Field(
        None,
        description="Learning rate of the network over that of the rest; None: 0.05 where all of it trains, else 1.",
    )
    tuning: str | dict[str, dict[str, Any]] = Field(
        FULL, description=f"What of the network trains: {', '.join(TUNINGS)}; or one of them with its settings."
    )
    windows: PositiveInt = Field(1, description="Windows of a text at most, each through the network on its own.")


WITH_BACKBONE, WITHOUT = ("rate", "tuning", "windows"), ("vocabulary",)
"""Settings that say something only with a pretrained network, or only without one."""


@INPUTS.register("text")
class TextInput(Input):
    """One text column. Encoded: (B, L) piece numbers, `pad` where there is no piece; no row is without one.

    For kinds made of this one: `tokenizer` (of the package tokenizers, without cutting or padding), `marks`, and
    `length`, which they may set after `fit`, hold with and without a pretrained network; `forward` takes (B, L).
    """

    kind = "text"
    backbone: Backbone | None
    project: nn.Linear | None

    def __init__(self, specs: Sequence[InputSpec], dim: int) -> None:
        super().__init__(specs, dim)
        self.column = specs[0].columns[0]
        self.tokenizer: Tokenizer | None = None
        self.marks = Marks()
        self.windows, self.length = 1, 1
        self.network: dict[str, Any] | None = None
        """Settings of the pretrained network, its rate, what of it trains, its positions; None without one."""
        self.fresh: nn.Module | None = None
        self.shared = False
        """Whether the tokenizer is the output's own."""

    @property
    def pad(self) -> int:
        """The number that stands where there is no piece."""
        return self.marks.pad

    @property
    def window(self) -> int:
        """Places of one window."""
        return self.length // self.windows

    @classmethod
    def bundle(cls, specs: Sequence[InputSpec]) -> list[list[InputSpec]]:
        """Each text column has its own tokenizer."""
        return [[spec] for spec in specs]

    @classmethod
    def own_width(cls, settings: Mapping[str, Any]) -> int | None:
        """Channels of the hidden states."""
        backbone = settings.get("backbone")
        return width(backbone) if isinstance(backbone, str) else None

    def share(self, tokenizer: Tokenizer) -> None:
        """Read in the output's pieces, unless there is a pretrained network, which has its own."""
        self.tokenizer, self.shared = tokenizer, True

    @torch.no_grad()
    def begin_with(self, table: Tensor) -> None:
        """Start from the output's embeddings, so that a piece that is read is known as the one that is written."""
        if self.shared:
            self.pieces.weight[START:].copy_(table[START:])

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """Train or load the tokenizer and choose the length: the 98th percentile, at most `max_pieces` a window."""
        chosen = self.chosen(settings)
        if chosen.backbone is not None:
            chosen, self.shared = self.take(pretrained(chosen.backbone), chosen), False
        if self.shared and "vocabulary" in settings:
            raise ConfigError(
                f"inputs.{self.kind}.vocabulary does nothing beside an output that answers in pieces, which are read "
                "too. Set output.vocabulary instead."
            )
        self.length = chosen.max_pieces * chosen.windows  # how much of a text is read until the lengths are known
        texts = self.texts(frame)
        if chosen.backbone is None and not self.shared:
            self.tokenizer = train_tokenizer(iter(texts), chosen.vocabulary)
        assert self.tokenizer is not None
        self.fit_length([len(pieces) for pieces in split(self.tokenizer, texts)], chosen)

    @classmethod
    def chosen(cls, settings: Mapping[str, Any]) -> TextSettings:
        """The user's settings; ConfigError for one that would do nothing."""
        made = TextSettings.checked(f"inputs.{cls.kind}", settings)
        told = tuning(made.tuning, f"inputs.{cls.kind}.tuning")
        for name in WITH_BACKBONE if made.backbone is None else WITHOUT:
            if name in settings:
                beside = "without" if made.backbone is None else "with"
                mend = "name a backbone" if made.backbone is None else "leave the backbone out"
                raise ConfigError(
                    f"inputs.{cls.kind}.{name} does nothing {beside} inputs.{cls.kind}.backbone. Leave it out, or "
                    f"{mend}."
                )
        if told["name"] == FROZEN and "rate" in settings:
            raise ConfigError(
                f"inputs.{cls.kind}.rate does nothing with inputs.{cls.kind}.tuning: frozen. Leave one of them out."
            )
        return made

    def take(self, given: Pretrained, chosen: TextSettings) -> TextSettings:
        """Take over a pretrained network and its tokenizer; the settings with no more pieces than it has positions for.

        ConfigError where the user asked for more, or for too few.
        """
        most = chosen.max_pieces if given.longest is None else min(chosen.max_pieces, given.longest)
        if most < chosen.max_pieces and "max_pieces" in chosen.model_fields_set:
            raise ConfigError(
                f"inputs.{self.kind}.max_pieces={chosen.max_pieces} is more than the backbone has positions for: "
                f"expected at most {most}. Lower it, and set inputs.{self.kind}.windows: "
                f"{-(-chosen.max_pieces // most)} to read long texts in windows."
            )
        if given.marks.room(most) < 1:
            raise ConfigError(
                f"inputs.{self.kind}.max_pieces={chosen.max_pieces} leaves no place for a piece beside the marks of "
                f"{chosen.backbone!r}: expected {1 - given.marks.room(0)} or more. Raise it."
            )
        self.tokenizer, self.marks, self.fresh = given.tokenizer, given.marks, given.module
        told = tuning(chosen.tuning, f"inputs.{self.kind}.tuning")
        rate = RATES.get(told["name"], 1.0) if chosen.rate is None else chosen.rate
        self.network = {"settings": given.settings, "rate": rate, "tuning": told, "longest": given.longest}
        return chosen.model_copy(update={"max_pieces": most})

    def fit_length(self, lengths: Sequence[int], chosen: TextSettings) -> None:
        """Places for nearly all texts of so many pieces: one window as long as they are, or several full ones."""
        longest = int(np.percentile(lengths, 98)) if len(lengths) else 0
        room = max(1, self.marks.room(chosen.max_pieces))
        self.windows = min(chosen.windows, max(1, -(-longest // room)))
        whole = longest - self.marks.room(0)
        self.length = self.windows * chosen.max_pieces if self.windows > 1 else max(1, min(whole, chosen.max_pieces))

    def build(self) -> None:
        """Embeddings of pieces and positions, or the network, and a projection if it is of another width."""
        assert self.tokenizer is not None
        self.backbone = self.project = None
        if self.network is None:
            self.pieces = nn.Embedding(self.tokenizer.get_vocab_size(), self.dim, padding_idx=PAD)
            self.positions = nn.Parameter(0.1 * torch.randn(self.length, self.dim))
            return
        if self.network["longest"] is not None and self.window > self.network["longest"]:
            raise ConfigError(
                f"A row of the {self.kind} input {self.specs[0].name!r} takes {self.window} places, the backbone has "
                f"positions for {self.network['longest']}. Name a backbone with more, such as 'minilm'."
            )
        module: Any = rebuilt(self.network["settings"]) if self.fresh is None else self.fresh
        self.fresh, hidden = None, int(module.config.hidden_size)
        elastic = elasticize(module)
        frozen = self.network["tuning"]["name"] == FROZEN
        self.backbone = Backbone(elastic, hidden, self.window, self.network["rate"], frozen)
        self.project = None if hidden == self.dim else nn.Linear(hidden, self.dim)

    def settings(self) -> dict[str, Any]:
        """The tokenizer as its own JSON text, the length, and what makes the network again."""
        assert self.tokenizer is not None
        kept: dict[str, Any] = {"tokenizer": self.tokenizer.to_str(), "length": self.length}
        if self.shared:
            kept["shared"] = True
        return kept if self.network is None else {**kept, "windows": self.windows, "network": self.network}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take back the tokenizer, the length and the network."""
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_str(settings["tokenizer"])
        self.length, self.shared = int(settings["length"]), bool(settings.get("shared", False))
        if "network" in settings:
            kept = {"tuning": tuning(FROZEN if settings["network"].get("freeze") else FULL), **settings["network"]}
            self.network, self.windows = kept, int(settings["windows"])
            self.marks = marks(self.tokenizer, self.network["settings"])

    def texts(self, frame: pd.DataFrame) -> list[str]:
        """The cells as strings that can be split, missing ones empty."""
        return [cleaned(str(cell), CHARACTERS * self.length) for cell in frame[self.column].fillna("")]

    def token_names(self) -> list[str]:
        """One name a position."""
        return [f"{self.specs[0].name}[{i}]" for i in range(self.length)]

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Piece numbers, cut or padded to the length."""
        assert self.tokenizer is not None
        return coded(split(self.tokenizer, self.texts(frame)), self.marks, self.window, self.windows)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (B, L) -> tokens (B, L, dim), mask (B, L)."""
        mask = values != self.pad
        if self.backbone is None:
            return self.pieces(values) + self.positions, mask
        hidden = self.backbone(values, mask)
        return hidden if self.project is None else self.project(hidden), mask

    def there(self, values: Tensor) -> Tensor | None:
        """Which texts have a piece."""
        nothing = torch.tensor([self.pad, *self.marks.fixed], device=values.device)
        found = (~torch.isin(values, nothing)).any(1)
        return None if found.all() else found

    def pieces_shared(self, values: Tensor) -> Tensor | None:
        """The pieces (B, L); not the marks."""
        return values.masked_fill(values <= START, -1) if self.shared else None

    def behind(self, values: Tensor) -> tuple[Tensor, int] | None:
        """The pieces (B, L); not the start, nor unknown ones. None with a network: its tokens know each other."""
        if self.backbone is not None:
            return None
        return values.masked_fill(values <= START, -1), self.pieces.num_embeddings

    def augment(self, values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Some pieces become unknown: other words for the same thing."""
        if self.marks.unknown is None:
            return values
        amount = 0.2 * strength * torch.rand((), generator=generator)
        others = torch.tensor([*self.marks.fixed, self.marks.unknown], device=values.device)
        words = ~torch.isin(values, others)
        hidden = (torch.rand(values.shape, generator=generator) < amount) & words
        return values.masked_fill(hidden, self.marks.unknown)
