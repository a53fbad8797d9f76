"""A decoder at work: the log-probabilities of true texts, piece by piece, and the search for texts of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.state import picked
from aet.decoding.beam import beam_search, greedy
from aet.decoding.copying import Pointer, mixed
from aet.decoding.copying import told as told_logs
from aet.decoding.decoder import Cache, Decoder

PAD, START, END = 0, 2, 3
"""Of the pieces, as `aet.inputs.pieces` numbers them; the four marks up to `END` but `END` itself are never written."""


class Writer(Protocol):
    """A decoder with the head that reads it."""

    decoder: Decoder
    pointer: Pointer | None

    def embedded(self, pieces: Tensor) -> Tensor:
        """Pieces (B, T) as the decoder reads them (B, T, dim)."""

    def headed(self, read: Tensor) -> Tensor:
        """Logits (B, T, V) of the decoder's tokens."""


@dataclass
class Memory:
    """What a text is written from: tokens (B, S, dim), where they are real (B, S), and the pieces that may be copied
    (B, S), -1 where there is none.
    """

    tokens: Tensor
    real: Tensor
    pieces: Tensor


@dataclass
class Written:
    """What logits hold of each row, all (B, L) but `share` (B,): pieces of the answer, log-odds of each, which are
    there (up to the end); log-odds of the truth's pieces, and the share of these that were the likeliest.
    """

    pieces: Tensor
    odds: Tensor
    real: Tensor
    true: Tensor
    share: Tensor


def begun(read: Tensor, pieces: Tensor | None) -> Memory:
    """The memory of tokens with their marks (B, T, dim + 1), without the places that no row fills; one at least."""
    real = read[..., -1] > 0.5
    pieces = torch.full(real.shape, -1, device=read.device) if pieces is None else pieces.masked_fill(~real, -1)
    some = real.any(0)
    if not bool(some.any()):
        some[:1] = True
    # A row without any token reads one of zeros: attention needs a key.
    real = real | (~real.any(1, keepdim=True) & (some.cumsum(0) == 1))
    return Memory(read[:, some, :-1], real[:, some], pieces[:, some])


def forced(writer: Writer, memory: Memory, target: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Losses (B, n) of the true pieces, each asked for after those before it, and the share (B,) that was the
    likeliest.

    With `smoothing` ε a loss is (1 - ε) times itself plus ε times the mean over the vocabulary (Szegedy et al. 2016,
    1512.00567).
    """
    real = target != PAD
    target = target[:, : max(1, int(real.sum(1).max()) if len(target) else 1)]
    before = torch.cat([torch.full_like(target[:, :1], START), target[:, :-1]], 1)
    h, _ = writer.decoder(writer.embedded(before), writer.decoder.start(memory.tokens, memory.real))
    logs = spread_out(writer.headed(h))
    likeliest = logs
    if writer.pointer is None:
        losses = -logs.gather(-1, target[..., None]).squeeze(-1)
    else:
        weights, gate = writer.pointer(h, writer.pointer.kept(memory.tokens), memory.pieces >= 0)
        weights, gate = weights.to(logs), gate.to(logs)
        losses = -told_logs(logs, target, weights, gate, memory.pieces)
        likeliest = mixed(logs.detach(), weights.detach(), gate.detach(), memory.pieces)
    if smoothing:
        losses = (1 - smoothing) * losses - smoothing * logs.mean(-1)
    right, real = (likeliest.argmax(-1) == target), target != PAD
    return losses, (right & real).sum(1) / real.sum(1).clamp_min(1)


def spread_out(logits: Tensor) -> Tensor:
    """Log p_vocabulary, in float32 at least."""
    return F.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), -1)


class Beginnings:
    """Texts that are being written side by side, each after the memory of its row (`aet.decoding.beam.Steps`)."""

    def __init__(self, writer: Writer, memory: Memory, beam: int) -> None:
        self.writer, self.rows = writer, len(memory.tokens)
        self.which = torch.arange(self.rows).repeat_interleave(beam)
        place = self.which.to(memory.tokens.device)
        self.cache: Cache = writer.decoder.start(memory.tokens, memory.real).rows(place)
        self.pieces = memory.pieces[place]
        self.keys = None if writer.pointer is None else writer.pointer.kept(memory.tokens)[place]

    def state(self) -> AbstractContextManager[None]:
        """The active state, where it is one a row: that of each beginning's row."""
        assert isinstance(self.writer, nn.Module)
        return picked(self.writer, self.rows, self.which)

    def __call__(self, pieces: Tensor) -> Tensor:
        """Log p (N, V) of what follows; of marks that are not written -inf."""
        writer = self.writer
        with self.state():
            h, self.cache = writer.decoder(writer.embedded(pieces.to(self.pieces.device)[:, None]), self.cache)
            logs = spread_out(writer.headed(h))
            if writer.pointer is not None and self.keys is not None:
                weights, gate = writer.pointer(h, self.keys, self.pieces >= 0)
                logs = mixed(logs, weights.to(logs), gate.to(logs), self.pieces)
        logs[..., :END] = -torch.inf
        return logs[:, 0]

    def pick(self, index: Tensor) -> None:
        """Go on with those."""
        place = index.to(self.pieces.device)
        self.which, self.cache, self.pieces = self.which[index], self.cache.rows(place), self.pieces[place]
        self.keys = None if self.keys is None else self.keys[place]


@torch.no_grad()
def searched(writer: Writer, memory: Memory, most: int, beam: int = 1, penalty: float = 0.0) -> tuple[Tensor, Tensor]:
    """Pieces (B, n) of the best texts found, at most `most`, `END` among them, and log p of each (B, n)."""
    steps, rows = Beginnings(writer, memory, beam), len(memory.tokens)
    if beam == 1:
        found = greedy(steps, rows, most, START, END)
    else:
        found = beam_search(steps, rows, beam, most, START, END, penalty)
    pieces, logs = (t.to(memory.tokens.device) for t in found)
    return pieces, logs
