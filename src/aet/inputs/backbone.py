"""A pretrained network as the first part of a model: piece numbers in, hidden states out, no time spent on padding."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.layer import watching
from aet.attention.state import active, batched, picked

PACK = 16
"""Texts that pass through together on a CPU, where few of one length take less time than many padded to the longest."""


class Backbone(nn.Module):
    """Hidden states of texts, each cut into windows that pass through the network on their own.

    ids (B, L), mask (B, L), True where a piece is real, L a multiple of the window -> (B, L, width), 0 where there is
    no piece

    Windows without a piece are left out. The others are sorted by length and padded only to the longest of those they
    pass through with; answers do not depend on that, and neither do dials of a batched state, which follow their rows.

    Args:
        module: of transformers; takes `input_ids` and `attention_mask`.
        width: channels of a hidden state.
        window: pieces of a window.
        rate: learning rate over that of the rest (`aet.training.loop.parameter_groups`).
        freeze: keep the weights, and leave dropout out.
    """

    def __init__(self, module: nn.Module, width: int, window: int, rate: float = 1.0, freeze: bool = False) -> None:
        super().__init__()
        self.width, self.window, self.rate_scale, self.freeze = width, window, float(rate), freeze
        self.module: Any = module
        if freeze:
            self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Backbone:
        """As in PyTorch; a frozen network stays in evaluation mode."""
        super().train(mode and not self.freeze)
        return self

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Hidden states."""
        rows, length = ids.shape
        windows = length // self.window
        ids, mask = ids.reshape(-1, self.window), mask.reshape(-1, self.window)  # (B·n, W)
        lengths = (mask * torch.arange(1, self.window + 1, device=mask.device)).amax(1)
        order = lengths.argsort(stable=True)
        order = order[lengths[order] > 0]
        if not len(order):
            return torch.zeros(rows, length, self.width, device=ids.device)
        pieces, state = [], active()
        own = state is not None and batched(self.module, state)
        # Who watches norms sees each of them once, with all rows.
        for index in order.split(len(order) if watching() or ids.is_cuda else PACK):
            most = int(lengths[index[-1]])
            with picked(self.module, rows, index // windows) if own else nullcontext():
                seen = self.module(
                    input_ids=ids[index, :most].clamp_min(0), attention_mask=mask[index, :most].long()
                ).last_hidden_state
            pieces.append(F.pad(seen * mask[index, :most, None], (0, 0, 0, self.window - most)))
        hidden = torch.cat(pieces)  # (M, W, width)
        whole = hidden.new_zeros(rows * windows, self.window, self.width)
        return whole.index_copy(0, order, hidden).view(rows, length, self.width)
