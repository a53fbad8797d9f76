"""Numbers in the target's own unit, (B,) or (B, 1); their interval comes from the rows that statistics are taken of.

    head: ŷ -> mean = lower = upper = (ŷ - center) / spread,      interval: mean ∓ the conformal widening

which is split conformal prediction (Lei et al. 2018, 1604.04173) of an interval as wide everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from aet.backbones.answers.base import ANSWERS, Answer, Call, Reader, texts_read, wrong_shape
from aet.errors import ConfigError
from aet.outputs.base import Output
from aet.outputs.number import NumberOutput


@ANSWERS.register("number")
class NumberAnswer(Answer):
    """One token a row, its number."""

    width = 1

    def __init__(self, outputs: Any) -> None:
        if outputs is not None:
            raise ConfigError(
                f"A module that answers with a number has no classes: expected outputs=None, got {outputs}."
            )

    @torch.no_grad()
    def fit(self, output: Output, frame: pd.DataFrame) -> None:
        """Scale of the target, and the head of the formula above."""
        output.fit(frame, {})
        output.build()
        assert isinstance(output, NumberOutput)
        assert isinstance(output.head, nn.Linear)
        output.head.weight.fill_(1 / float(output.spread))
        output.head.bias.fill_(-float(output.center) / float(output.spread))

    def tokens(self, said: Tensor, values: Tensor) -> tuple[Tensor, None]:
        """(B, 1, 1)."""
        if not isinstance(said, Tensor) or said.shape not in ((len(values),), (len(values), 1)):
            raise wrong_shape("a number a row, (rows,) or (rows, 1)", said, len(values))
        return said.view(-1, 1, 1), None

    def tokenized(self, tokenizer: Any, columns: Sequence[str], pieces: int) -> tuple[Reader, Call]:
        """Texts."""
        return texts_read(tokenizer, columns, pieces)
