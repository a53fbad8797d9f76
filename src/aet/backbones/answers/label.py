"""Classes: logits (B, C)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from aet.backbones.answers.base import ANSWERS, Answer, Call, Reader, classes_of, one_to_one, texts_read, wrong_shape
from aet.outputs.base import Output


@ANSWERS.register("label")
class LabelAnswer(Answer):
    """One token a row, its logits."""

    def __init__(self, outputs: Any) -> None:
        self.classes = classes_of(outputs)
        self.width = len(self.classes)

    def fit(self, output: Output, frame: pd.DataFrame) -> None:
        """The classes as they were named."""
        output.load_settings({"classes": self.classes})
        output.build()
        one_to_one(output)

    def tokens(self, said: Tensor, values: Tensor) -> tuple[Tensor, None]:
        """(B, 1, C)."""
        if not isinstance(said, Tensor) or said.shape != (len(values), self.width):
            expected = f"logits of the {self.width} classes named in `outputs`, (rows, {self.width})"
            raise wrong_shape(expected, said, len(values))
        return said[:, None], None

    def tokenized(self, tokenizer: Any, columns: Sequence[str], pieces: int) -> tuple[Reader, Call]:
        """Texts."""
        return texts_read(tokenizer, columns, pieces)
