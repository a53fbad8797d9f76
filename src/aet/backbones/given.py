"""A module of the user's as the rooms of aet see it: it reads the columns, and what it says is its only token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from aet.errors import ConfigError
from aet.inputs.base import Input
from aet.model import Model
from aet.outputs.label import LabelOutput
from aet.schema import InputSpec, Schema

if TYPE_CHECKING:
    from aet.training.update import Update

Reader = Callable[[pd.DataFrame], Tensor]
"""Checked rows -> what the module reads of them, (B, ...)."""
Call = Callable[[nn.Module, Tensor], Any]
"""How the module is asked: the module, and what the reader gave for some rows."""


class Given(Input):
    """The module: (B, ...) -> one token a row, its logits (B, 1, C)."""

    kind = "given"

    def __init__(self, specs: Sequence[InputSpec], module: nn.Module, read: Reader, call: Call, width: int) -> None:
        super().__init__(specs, width)
        self.module, self.read, self.call = module, read, call

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """Nothing: the module is trained."""

    def build(self) -> None:
        """Nothing: the module has its weights."""

    def token_names(self) -> list[str]:
        """The module's own name."""
        return [type(self.module).__name__]

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

    def forward(self, values: Tensor) -> tuple[Tensor, None]:
        """Ask the module; of what Hugging Face's models return, `logits`."""
        if not len(values):
            return torch.zeros(0, 1, self.dim, device=values.device), None
        said = self.call(self.module, values)
        logits = getattr(said, "logits", said)
        if not isinstance(logits, Tensor) or logits.shape != (len(values), self.dim):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ConfigError(
                f"The module must give logits of the {self.dim} classes named in `outputs`, (rows, {self.dim}): got "
                f"{got} for {len(values)} rows. Name its classes in their order, or say `call` how to ask it."
            )
        return logits[:, None], None


class Passing(nn.Module):
    """Where a trunk would be: the summary is the module's own answer."""

    dynamic = wide = worlds = None
    emits = False
    blocks: tuple[nn.Module, ...] = ()

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        taps: list[Tensor] | None = None,
        parts: Any = None,
        concepts: Any = None,
    ) -> Tensor:
        """Tokens (B, 1, C) -> (B, C)."""
        if taps is not None:
            taps.append(tokens)
        return tokens[:, 0]

    def focus(self, tokens: Tensor, mask: Tensor | None = None, concepts: Any = None) -> Tensor:
        """All on the only token, (B, 1)."""
        return tokens.new_ones(tokens.shape[:2])

    def acted(self) -> dict[str, str]:
        """No mechanism of aet's own."""
        return {}


class WrappedModel(Model):
    """Made by `aet.wrap`."""

    def __init__(self, schema: Schema, config: Any, given: Given, classes: Sequence[Any], rows: int) -> None:
        super().__init__(schema, config)
        assert isinstance(self.output, LabelOutput)
        self.rows = rows
        self.inputs = nn.ModuleDict({"given": given})
        self.trunk = Passing()  # type: ignore[assignment]
        self.gate = None
        self.output.load_settings({"classes": list(classes)})
        self.output.build()
        assert isinstance(self.output.head, nn.Linear)
        # The answer is the module's: a head that changes nothing, with the bias as its dial.
        nn.init.eye_(self.output.head.weight)
        nn.init.zeros_(self.output.head.bias)
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
