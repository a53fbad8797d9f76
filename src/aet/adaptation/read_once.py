"""Rows whose inputs are read once, where only dials behind them move: a pretrained network is most of the cost."""

from __future__ import annotations

import torch
from torch import Tensor

from aet.attention.beside import stand_beside
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.model import Model


class ReadOnce:
    """Tokens (N, T, dim) of the newest rows under a state, and what the model says to them under another that moves no
    dial of the inputs.

    >>> import numpy as np, pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x[:, 0] > 0, "plus", "minus")})
    >>> model = aet.train(frame, target="sign", config={"train": {"epochs": 2}})
    >>> rows, once = model.encode(frame), ReadOnce(model)
    >>> once.read(rows, len(rows), ElasticState.zeros(model))
    100.0
    >>> torch.allclose(once(rows[torch.arange(5)], torch.arange(5)), model.logits(rows)[:5], atol=1e-6)
    True
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tokens, self.masks = torch.empty(0), torch.empty(0, dtype=torch.bool)

    @torch.no_grad()
    def read(self, rows: Batch, new: int, state: ElasticState) -> float:
        """Read the last `new` of the rows, or all where those before them are not known; gives how many were read."""
        known = len(rows) - new if len(self.tokens) >= len(rows) - new else 0
        pieces = [(self.tokens[len(self.tokens) - known :], self.masks[len(self.tokens) - known :])] if known else []
        fresh = rows[torch.arange(known, len(rows))]
        with applied(state):
            for index in torch.arange(len(fresh)).split(self.model.rows_at_once()):
                tokens, mask = self.model.tokens(fresh[index].to(self.model.device))
                mask = tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if mask is None else mask
                pieces.append((tokens.cpu(), mask.cpu()))
        self.tokens, self.masks = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        return float(len(fresh))

    def __call__(self, rows: Batch, index: Tensor) -> Tensor:
        """Logits of the rows that stand at `index` among those read, with their slopes."""
        tokens, mask = (part[index].to(self.model.device) for part in (self.tokens, self.masks))
        stand_beside(self.model.beside(rows))  # other tokens may have been made since
        return self.model.from_tokens(tokens, None if mask.all() else mask, rows)
