"""How what a user's module says becomes the tokens and the head of a model of aet, so that its answers stay."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor, nn

from aet.errors import ConfigError, SchemaError
from aet.outputs.base import Output
from aet.places import Places
from aet.registry import Registry

Reader = Callable[[pd.DataFrame], Tensor]
"""Checked rows -> what the module reads of them, (B, ...)."""
Call = Callable[[nn.Module, Tensor], Any]
"""How the module is asked: the module, and what the reader gave for some rows."""

ANSWERS: Registry[type[Answer]] = Registry("answer of a wrapped module")


class Answer(ABC):
    """One kind of output.

    Args:
        outputs: the user's classes in the order of the logits; None where there are none.
    """

    pieces: ClassVar[int] = 128
    """Of a row that a tokenizer reads, unless told."""
    width: int
    """Channels of a token: what the module says of one place."""
    places: ClassVar[Places | None] = None
    """What the output reads, where that is not one token a row."""

    @abstractmethod
    def __init__(self, outputs: Any) -> None: ...

    @abstractmethod
    def fit(self, output: Output, frame: pd.DataFrame) -> None:
        """Give the output its classes or scale, and a head that changes nothing."""

    @abstractmethod
    def tokens(self, said: Tensor, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the module said of rows that were read as `values` -> tokens (B, T, width), mask (B, T) or None.

        ConfigError for logits of another shape.
        """

    @abstractmethod
    def tokenized(self, tokenizer: Any, columns: Sequence[str], pieces: int) -> tuple[Reader, Call]:
        """How a tokenizer of Hugging Face reads the only column, and how the module is then asked."""

    def names(self, module: nn.Module) -> list[str]:
        """One a token."""
        return [type(module).__name__]


def classes_of(outputs: Any) -> list[Any]:
    """Classes in the order of the logits, from a list or a mapping by number; ConfigError unless two or more differ."""
    listed = isinstance(outputs, Mapping) or (isinstance(outputs, Sequence) and not isinstance(outputs, str))
    if isinstance(outputs, Mapping):
        outputs = [outputs[i] for i in range(len(outputs))] if set(outputs) == set(range(len(outputs))) else []
    if not listed or len(outputs) < 2 or len(set(outputs)) < len(outputs):
        raise ConfigError(f"`outputs` names two or more different classes in the order of the logits: got {outputs}.")
    return list(outputs)


def one_to_one(output: Output) -> None:
    """A head that gives on what it is given: the answer is the module's, and the head's bias its dial."""
    assert isinstance(output.head, nn.Linear)
    nn.init.eye_(output.head.weight)
    nn.init.zeros_(output.head.bias)


def wrong_shape(expected: str, said: Any, rows: int) -> ConfigError:
    """What the module should have said."""
    got = tuple(said.shape) if isinstance(said, Tensor) else type(said).__name__
    return ConfigError(
        f"The module must give {expected}: got {got} for {rows} rows. Name its classes in their order, or say `call` "
        "how to ask it."
    )


def only_column(tokenizer: Any, columns: Sequence[str]) -> tuple[str, int]:
    """The one column that a tokenizer reads, and its padding; SchemaError, ConfigError."""
    if len(columns) != 1:
        raise SchemaError(
            f"A tokenizer reads one column; the rows have {len(columns)}: {list(columns)}. Leave the others out with "
            "kinds={'...': 'ignore'}, or give `inputs` a function of the frame."
        )
    if tokenizer.pad_token_id is None:
        raise ConfigError("The tokenizer has no padding token, so texts cannot stand in one tensor. Give it one.")
    return columns[0], int(tokenizer.pad_token_id)


def texts_read(tokenizer: Any, columns: Sequence[str], pieces: int) -> tuple[Reader, Call]:
    """A column of texts, cut or padded to so many pieces (B, pieces)."""
    column, pad = only_column(tokenizer, columns)

    def read(frame: pd.DataFrame) -> Tensor:
        texts = [str(text) for text in frame[column].fillna("")]
        coded: Tensor = tokenizer(
            texts, padding="max_length", truncation=True, max_length=pieces, return_tensors="pt"
        ).input_ids
        return coded

    def ask(module: nn.Module, values: Tensor) -> Any:
        longest = max(1, int((values != pad).sum(1).max()))
        values = values[:, :longest] if tokenizer.padding_side == "right" else values[:, -longest:]
        return module(input_ids=values, attention_mask=(values != pad).to(torch.long))

    return read, ask
