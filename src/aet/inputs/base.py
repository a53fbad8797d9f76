"""What an input kind is: columns in, tokens out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from aet.attention.state import ElasticModule
from aet.cells import CELLS
from aet.errors import DataError
from aet.registry import Registry
from aet.schema import InputSpec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

INPUTS: Registry[type[Input]] = Registry("input kind")


class Input(ElasticModule):
    """Some columns of one kind, turned into tokens.

    `fit` learns scales and vocabularies from the training rows, `encode` turns rows into tensors without a gradient,
    `forward` turns those into tokens. What `fit` learned lives in buffers or in `settings`.
    """

    kind: str

    def __init__(self, specs: Sequence[InputSpec], dim: int) -> None:
        super().__init__()
        self.specs, self.dim = tuple(specs), dim

    @classmethod
    def bundle(cls, specs: Sequence[InputSpec]) -> list[list[InputSpec]]:
        """Which inputs of the kind share one module; by default all."""
        return [list(specs)]

    @classmethod
    def check(cls, specs: Sequence[InputSpec], settings: Mapping[str, Any]) -> None:
        """ConfigError for settings that none of the kind's inputs can use; nothing to say by default."""

    @classmethod
    def own_width(cls, settings: Mapping[str, Any]) -> int | None:
        """Channels of the tokens that a pretrained network named in the settings gives; None without one."""
        return None

    def share(self, tokenizer: Tokenizer) -> None:
        """Before `fit`: the pieces that the output answers in, for a kind that can read the same; else nothing."""

    def begin_with(self, table: Tensor) -> None:
        """After `build`: the output's embeddings (V, dim) of the pieces that are shared; nothing for other kinds."""

    @abstractmethod
    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """Learn from the training rows; `settings` are the user's for this kind, checked here (ConfigError).

        `target` is the answers as the output kind encodes them, for kinds that look at them.
        """

    @abstractmethod
    def build(self) -> None:
        """Make the weights, once the sizes are known from `fit` or from `load_settings`."""

    def settings(self) -> dict[str, Any]:
        """JSON-able part of what `fit` learned."""
        return {}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take back what `settings` gave."""

    @abstractmethod
    def token_names(self) -> list[str]:
        """One name a token, for people to read."""

    @abstractmethod
    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Rows as one tensor (B, ...)."""

    @property
    def may_lack(self) -> bool:
        """Whether rows may lack the cells (`aet.cells.Cells.may_lack`)."""
        return self.kind in CELLS and CELLS[self.kind].may_lack

    def given(self, frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Which checked rows (N,) have the input's cells; all of them where the kind has a way to show missing ones."""
        if not self.may_lack:
            return np.ones(len(frame), dtype=bool)
        columns = [column for spec in self.specs for column in spec.columns]
        there: npt.NDArray[np.bool_] = frame[columns].notna().all(axis=1).to_numpy()
        return there

    def fit_given(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor) -> None:
        """`fit` on the rows that have the cells; DataError where none has."""
        there = self.given(frame)
        if not there.any():
            raise DataError(
                f"The {self.kind} input {self.specs[0].name!r} is missing from every row that is trained on. Leave it "
                f"out: kinds={{{self.specs[0].name!r}: 'ignore'}}, or give rows that have it."
            )
        if there.all():
            self.fit(frame, settings, target)
        else:
            self.fit(frame[there].reset_index(drop=True), settings, target[torch.tensor(there)])

    def encoded(self, frame: pd.DataFrame) -> Tensor:
        """`encode`, with NaN throughout for rows that lack the cells."""
        there = self.given(frame)
        if there.all():
            return self.encode(frame)
        some = self.encode(frame[there].reset_index(drop=True))
        whole = some.new_full((len(frame), *some.shape[1:]), torch.nan)
        whole[torch.tensor(there)] = some
        return whole

    def there(self, values: Tensor) -> Tensor | None:
        """Which rows (B,) have the input; None where all do."""
        if not self.may_lack or not values.numel() or not values.flatten(1)[:, 0].isnan().any():
            return None
        return ~values.flatten(1).isnan().all(1)

    def some(self, values: Tensor) -> Tensor:
        """The rows that have the input."""
        there = self.there(values)
        return values if there is None else values[there]

    def tokens_of(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """`forward` for rows of which some lack the input: no token of theirs is real."""
        there = self.there(values)
        if there is None:
            return self(values)  # type: ignore[no-any-return]
        blank = ~there.view(-1, *(1 for _ in values.shape[1:]))
        tokens, mask = self(values.masked_fill(blank, 0) if values.is_floating_point() else values)
        return tokens, there[:, None].expand(tokens.shape[:2]) if mask is None else mask & there[:, None]

    @abstractmethod
    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values -> tokens (B, T, dim) and mask (B, T), True where a token is real, or None if all are."""

    def vocabulary(self) -> list[list[tuple[str | None, int]]]:
        """For each token the values that it may hold, with their places among all of the kind's; None names no value.

        Empty for a kind whose tokens hold no named values; `held` then gives None.
        """
        return []

    def held(self, values: Tensor) -> Tensor | None:
        """The place of the value that each token holds, (B, T)."""
        return None

    def beside(self, values: Tensor) -> dict[str, Tensor]:
        """Figures of each token (B, T, ...) that mechanisms and outputs may read, by name (`aet.attention.beside`)."""
        return {}

    def pieces_shared(self, values: Tensor) -> Tensor | None:
        """Which of the output's pieces each token is (B, T), -1 where it is none; None for a kind that shares none."""
        return None

    def behind(self, values: Tensor) -> tuple[Tensor, int] | None:
        """What stands behind each token, for training that hides some and asks for it.

        Figures (B, T, S), NaN where unknown, and S; or classes (B, T), -1 where unknown, and how many there are. None
        for a kind whose tokens cannot be hidden.
        """
        return None

    def augment(self, values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """The same rows as a drifted world would show them: one drift for the whole batch."""
        return values

    def aged(self, values: Tensor, amount: float, generator: torch.Generator) -> Tensor:
        """The same rows as worn devices would give them: further than training simulates, to rehearse adaptation."""
        return self.augment(values, amount, generator)

    def channels(self, values: Tensor) -> Tensor | None:
        """Values (N, D) of each of the D numbers that the dials give a gain and an offset; None without such dials."""
        return None

    def realigned(self, values: Tensor) -> dict[str, Tensor]:
        """Dials that bring these rows' moments to the training rows'; none for a kind without dials."""
        return {}

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """Dials of the kind; none by default."""
        return {}

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """Absorb a shared state; nothing to do for a kind without dials."""
