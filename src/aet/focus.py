"""Where a model looks: how much of each answer comes from each token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aet.batch import Batch

if TYPE_CHECKING:
    from aet.model import Model


@torch.no_grad()
def focus(model: Model, batch: Batch, rows: int = 256) -> Tensor:
    """How much of each row's answer comes from each token, (B, T), `rows` at a time; see `Trunk.focus`.

    >>> import numpy as np, pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x[:, 0] > 0, "plus", "minus")})
    >>> model = aet.train(frame, target="sign", config={"train": {"epochs": 5}})
    >>> shares = focus(model, model.encode(frame))
    >>> shares.shape, torch.allclose(shares.sum(1), torch.ones(100))
    (torch.Size([100, 2]), True)
    """
    pieces = [batch[index] for index in torch.arange(len(batch)).split(rows)]
    return torch.cat([model.trunk.focus(*model.tokens(piece), model.concepts(piece)) for piece in pieces])
