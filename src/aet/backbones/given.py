"""A module of the user's as the rooms of aet see it: it reads the columns, and what it says are its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from aet.backbones.answers import Answer, Call, Reader
from aet.errors import ConfigError
from aet.inputs.base import Input
from aet.model import Model
from aet.places import Places
from aet.schema import InputSpec, Schema

if TYPE_CHECKING:
    from aet.training.update import Update


class Given(Input):
    """The module: (B, ...) -> what it says, tokens (B, T, C)."""

    kind = "given"

    def __init__(self, specs: Sequence[InputSpec], module: nn.Module, read: Reader, call: Call, answer: Answer) -> None:
        super().__init__(specs, answer.width)
        self.module, self.read, self.call, self.answer = module, read, call, answer

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """Nothing: the module is trained."""

    def build(self) -> None:
        """Nothing: the module has its weights."""

    def token_names(self) -> list[str]:
        """The module's own name."""
        return self.answer.names(self.module)

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """What the reader gives, one entry a row."""
        if not len(frame):
            return torch.empty(0)
        values = self.read(frame)
        if not isinstance(values, Tensor) or len(values) != len(frame):
            got = f"{len(values)} of them" if isinstance(values, Tensor) else type(values).__name__
            raise ConfigError(
                f"`inputs` gives a tensor with one entry a row: expected {len(frame)}, got {got}. Pad what differs "
                "in length to one length."
            )
        return values

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ask the module; of what Hugging Face's models return, `logits`."""
        if not len(values):
            return torch.zeros(0, len(self.token_names()), self.dim, device=values.device), None
        said: Any = self.call(self.module, values)
        return self.answer.tokens(getattr(said, "logits", said), values)


class Passing(nn.Module):
    """Where a trunk would be: the summary is the module's own answer, or the answers of its places."""

    dynamic = wide = worlds = None
    emits = False
    blocks: tuple[nn.Module, ...] = ()

    def __init__(self, places: Places | None) -> None:
        super().__init__()
        self.places = places

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        taps: list[Tensor] | None = None,
        parts: Any = None,
        concepts: Any = None,
    ) -> Tensor:
        """Tokens (B, 1, C) -> (B, C), or (B, W, C) -> (B, W, C + 1) as `Places.words` gives them."""
        summary = tokens[:, 0] if self.places is None else self.places(tokens, mask)[0]
        if taps is not None:
            taps.append(summary[:, None])
        return summary if self.places is None else self.places.words(tokens, mask)

    def focus(self, tokens: Tensor, mask: Tensor | None = None, concepts: Any = None) -> Tensor:
        """All on the only token, (B, 1), or the same on every word, (B, W)."""
        return tokens.new_ones(tokens.shape[:2]) if self.places is None else self.places(tokens, mask)[1]

    def acted(self) -> dict[str, str]:
        """No mechanism of aet's own."""
        return {}


class WrappedModel(Model):
    """Made by `aet.wrap`."""

    def __init__(self, schema: Schema, config: Any, given: Given, frame: pd.DataFrame, rows: int) -> None:
        super().__init__(schema, config)
        self.rows = rows
        self.inputs = nn.ModuleDict({"given": given})
        self.trunk = Passing(given.answer.places)  # type: ignore[assignment]
        self.gate = None
        given.answer.fit(self.output, frame)
        self.output.requires_grad_(False)

    def update(self, source: Any, **settings: Any) -> Update:
        """Refused: ConfigError."""
        raise ConfigError(
            "A wrapped model is trained where it comes from: an update of it is not offered. Train the module on the "
            "new rows and wrap it again, or let a stream adapt its elastic state."
        )

    def rows_at_once(self) -> int:
        """As many as `wrap` was told."""
        return self.rows
