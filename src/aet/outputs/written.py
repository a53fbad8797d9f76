"""Rows of logits that hold a text each, how they are put together and read; and figures of texts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from aet.decoding.writing import Written
from aet.inputs.pieces import END, PAD
from aet.outputs.chrf import chrf

LEAST = 1e-6
"""Of a loss, so that its log-odds are finite."""


class Line:
    """The parts of logits (B, 3L + 1), those of another tensor's kind, to be filled in."""

    def __init__(self, length: int, rows: int, like: Tensor) -> None:
        self.length = length
        kind = torch.promote_types(like.dtype, torch.float32)
        self.pieces, self.odds, self.truth = (like.new_zeros(rows, length, dtype=kind) for _ in range(3))
        self.share = like.new_full((rows,), -1.0, dtype=kind)

    def tell(self, losses: Tensor, share: Tensor) -> None:
        """Losses of the truth's pieces (B, n), as log-odds: log p / (1 - p) = -log(exp(loss) - 1)."""
        losses = losses.clamp_min(LEAST)
        odds = -(losses + torch.log(-torch.expm1(-losses)))
        self.truth = F.pad(odds.to(self.truth), (0, self.length - losses.shape[1]))
        self.share = share.to(self.share)

    def write(self, pieces: Tensor, logs: Tensor) -> None:
        """An answer (B, n) and log p of its pieces (B, n).

        One that was cut off, as those are that say one thing over and over, is given no belief, however likely each
        piece was.
        """
        logs = logs.masked_fill(~(pieces == END).any(1, keepdim=True), -torch.inf)
        more = (0, self.length - pieces.shape[1])
        self.write_at(F.pad(pieces, more), F.pad(logs.exp().logit(LEAST), more), F.pad(pieces, more) != PAD)

    def write_at(self, pieces: Tensor, odds: Tensor, real: Tensor) -> None:
        """Pieces, log-odds and which are there, (B, L) each."""
        self.pieces, self.odds = (torch.where(real, t, 0).to(self.odds) for t in (pieces, odds))

    def logits(self) -> Tensor:
        """All of them side by side."""
        return torch.cat([self.pieces, self.odds, self.truth, self.share[:, None]], -1)


def as_written(logits: Tensor, length: int, vocabulary: int) -> Written:
    """What logits hold; each row has one piece at least."""
    pieces, odds, true, share = logits.split([length, length, length, 1], -1)
    pieces = pieces.detach().round().clamp(0, vocabulary - 1).long()
    ended = (pieces == END).cumsum(1) - (pieces == END).long() > 0
    real = ~ended & ((pieces != PAD) | (torch.arange(length, device=pieces.device) == 0))
    return Written(pieces.masked_fill(ended, PAD), odds.detach(), real, true, share.detach().squeeze(-1))


def agreed(texts: Sequence[Sequence[str]], sure: Tensor) -> tuple[Tensor, Tensor]:
    """Of M answers to each of B rows, which is most like all of them, (B,), and how much: (B,), Σ_m sure_m chrF / M."""
    likeness = torch.tensor(
        [[[chrf(one, other) for one, other in zip(row, rows, strict=True)] for rows in texts] for row in texts],
        dtype=sure.dtype,
        device=sure.device,
    ).view(len(texts), len(texts), -1)  # (M, M, B)
    expected = (likeness * sure).mean(1)
    value, which = expected.max(0)
    return which, value


def text_figures(said: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    """`exact`; with sacrebleu `bleu` and `corpus_chrf`, with rouge-score `rouge_l`, with jiwer `word_error` and
    `letter_error`: edits that make the answers the truth, over the words, or letters, of the truth.

    >>> text_figures(["a b c d e"], ["a b c d e"])["exact"]
    1.0
    """
    figures = {"exact": sum(a == b for a, b in zip(said, truth, strict=True)) / max(len(said), 1)}
    if find_spec("sacrebleu"):
        import sacrebleu

        figures["bleu"] = float(sacrebleu.corpus_bleu(list(said), [list(truth)]).score)
        figures["corpus_chrf"] = float(sacrebleu.corpus_chrf(list(said), [list(truth)]).score)
    if find_spec("rouge_score"):
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"])
        each = [scorer.score(right, own)["rougeL"].fmeasure for own, right in zip(said, truth, strict=True)]
        figures["rouge_l"] = float(sum(each) / max(len(each), 1))
    if find_spec("jiwer"):
        import jiwer

        figures["word_error"] = float(jiwer.wer(list(truth), list(said)))
        figures["letter_error"] = float(jiwer.cer(list(truth), list(said)))
    return figures
