"""A pretrained network as the first part of a model: piece numbers in, hidden states out, no time spent on padding."""

from __future__ import annotations

from contextlib import nullcontext
from hashlib import blake2b
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.layer import watching
from aet.attention.state import ElasticState, active, applied, batched, elastic_modules, picked

PACK = 16
"""Texts that pass through together on a CPU, where few of one length take less time than many padded to the longest."""


class Backbone(nn.Module):
    """Hidden states of texts, each cut into windows that pass through the network on their own.

    ids (B, L), mask (B, L), True where a piece is real, L a multiple of the window -> (B, L, width), 0 where there is
    no piece; with `added` (B, L, entry) on top of the pieces' own embeddings

    Windows without a piece are left out. The others are sorted by length and padded only to the longest of those they
    pass through with; answers do not depend on that, and neither do dials of a batched state, which follow their rows.
    While `kept` is set, no window is read twice (`aet.training.kept_tokens`).

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
        self.dials: Dials | None = None
        self.kept: KeptTokens | None = None
        if freeze:
            self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Backbone:
        """As in PyTorch; a frozen network stays in evaluation mode."""
        super().train(mode and not self.freeze)
        return self

    @property
    def entry(self) -> int:
        """Channels of a piece's embedding, where the network begins."""
        return int(self.module.get_input_embeddings().embedding_dim)

    def forward(self, ids: Tensor, mask: Tensor, added: Tensor | None = None) -> Tensor:
        """Hidden states."""
        with nullcontext() if self.dials is None else applied(self.dials.beside(active())):
            return self.hidden(ids, mask, added)

    def hidden(self, ids: Tensor, mask: Tensor, added: Tensor | None = None) -> Tensor:
        """Hidden states under the active state."""
        rows, length = ids.shape
        windows = length // self.window
        ids, mask = ids.reshape(-1, self.window), mask.reshape(-1, self.window)  # (B·n, W)
        added = None if added is None else added.reshape(*ids.shape, -1)
        lengths = (mask * torch.arange(1, self.window + 1, device=mask.device)).amax(1)
        order = lengths.argsort(stable=True)
        order = order[lengths[order] > 0]
        if not len(order):
            return torch.zeros(rows, length, self.width, device=ids.device)
        kept = self.known(ids.device.type)
        if kept is None:
            hidden = self.passed(ids, mask, lengths, order, rows, added)
        else:
            sizes = lengths[order].tolist()
            keys = [row[:size].tobytes() for row, size in zip(ids[order].cpu().numpy(), sizes, strict=True)]
            if added is not None:  # the same pieces, told otherwise, are another text
                told = zip(added[order].detach().cpu().numpy(), sizes, strict=True)
                own = (blake2b(row[:size].tobytes(), digest_size=16).digest() for row, size in told)
                keys = [key + digest for key, digest in zip(keys, own, strict=True)]
            missing = [place for place, key in enumerate(keys) if watching() or key not in kept.texts]
            fresh = self.passed(ids, mask, lengths, order[missing], rows, added) if missing else None
            hidden = kept.filled(keys, missing, fresh, sizes, self.window)  # (M, W, width)
        whole = hidden.new_zeros(rows * windows, self.window, self.width)
        return whole.index_copy(0, order, hidden).view(rows, length, self.width)

    def passed(
        self, ids: Tensor, mask: Tensor, lengths: Tensor, order: Tensor, rows: int, added: Tensor | None = None
    ) -> Tensor:
        """Hidden states (M, W, width) of the windows `order`, which are sorted by length; of `rows` rows in all."""
        pieces, state, windows = [], active(), len(ids) // rows
        own = state is not None and batched(self.module, state)
        # Who watches norms sees each of them once, with all rows.
        for index in order.split(len(order) if watching() or ids.is_cuda else PACK):
            most = int(lengths[index[-1]])
            with picked(self.module, rows, index // windows) if own else nullcontext():
                read: dict[str, Tensor] = {"input_ids": ids[index, :most].clamp_min(0)}
                if added is not None:
                    pieces_in = self.module.get_input_embeddings()(read.pop("input_ids"))
                    read["inputs_embeds"] = pieces_in + added[index, :most]
                seen = self.module(**read, attention_mask=mask[index, :most].long()).last_hidden_state
            pieces.append(F.pad(seen * mask[index, :most, None], (0, 0, 0, self.window - most)))
        return torch.cat(pieces)

    def known(self, device: str) -> KeptTokens | None:
        """What is kept, where it is what the network would say now: without a state, dropout, gradient or autocast."""
        state = active()
        if self.kept is None or (self.training and not self.freeze) or torch.is_autocast_enabled(device):
            return None
        if torch.is_grad_enabled() and not self.freeze:
            return None
        moved = state is not None and any(state.module(part.elastic_name) for part in elastic_modules(self.module))
        return None if moved else self.kept


class KeptTokens:
    """Hidden states (n, width) of windows of n pieces that were read, by the numbers of their pieces.

    Args:
        limit: bytes at most.
    """

    def __init__(self, limit: int) -> None:
        self.room, self.open = limit, True
        self.texts: dict[bytes, Tensor] = {}
        self.asked = self.found = 0

    def filled(
        self, keys: list[bytes], missing: list[int], fresh: Tensor | None, lengths: list[int], window: int
    ) -> Tensor:
        """Of the windows `keys` those kept, and `fresh` for those `missing`, which are kept while there is room."""
        self.asked, self.found = self.asked + len(keys), self.found + len(keys) - len(missing)
        if len(missing) == len(keys):
            assert fresh is not None
            hidden = fresh
        else:
            one = next(iter(self.texts.values()))
            hidden = one.new_zeros(len(keys), window, one.shape[-1])
            for place, key in enumerate(keys):
                if (known := self.texts.get(key)) is not None:
                    hidden[place, : len(known)] = known
            if fresh is not None:
                hidden[missing] = fresh.to(hidden)
        for place in missing if self.open else ():
            self.keep(keys[place], hidden[place, : lengths[place]])
        return hidden

    def keep(self, key: bytes, tokens: Tensor) -> None:
        """Keep a copy while there is room."""
        size = tokens.numel() * tokens.element_size() + len(key)
        if size <= self.room and key not in self.texts:
            self.room -= size
            self.texts[key] = tokens.detach().clone()


class Dials(nn.Module):
    """A state as parameters: what trains where nothing else of a network does."""

    def __init__(self, zero: ElasticState) -> None:
        super().__init__()
        self.names = list(zero)
        self.tensors = nn.ParameterList(zero.values())

    def state(self) -> ElasticState:
        """The state."""
        return ElasticState(dict(zip(self.names, self.tensors, strict=True)))

    def beside(self, other: ElasticState | None) -> ElasticState:
        """The state on top of another one: their sum where both move a dial."""
        own = self.state()
        return own if other is None else other.updated({n: t + other[n] if n in other else t for n, t in own.items()})
