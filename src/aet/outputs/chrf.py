"""chrF: how alike two texts are in their runs of characters (Popović 2015, W15-3049).

    F = (1 + β²) P R / (β² P + R),   P and R the mean share of runs of n = 1 ... 6 characters that the other text has

with β = 2 and white space left out, as sacrebleu counts it for a sentence, in 0..1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

ORDER, BETA = 6, 2.0


def chrf(guess: str, truth: str) -> float:
    """Of one text; 1 for equal ones.

    >>> round(chrf("the cat sat", "the cat sits"), 4), chrf("a", "a"), chrf("", "a")
    (0.6103, 1.0, 0.0)
    """
    if guess == truth:
        return 1.0
    guess, truth = "".join(guess.split()), "".join(truth.split())
    orders = range(1, min(ORDER, len(guess), len(truth)) + 1)
    if not orders:
        return 0.0
    precision = recall = 0.0
    for n in orders:
        own, wanted = runs(guess, n), runs(truth, n)
        both = sum(min(count, wanted[run]) for run, count in own.items() if run in wanted)
        precision += both / (len(guess) - n + 1)
        recall += both / (len(truth) - n + 1)
    below = BETA**2 * precision + recall
    return (1 + BETA**2) * precision * recall / (below * len(orders)) if below else 0.0


def runs(text: str, n: int) -> Counter[str]:
    """How often each run of n characters occurs."""
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))


def each_chrf(guesses: Sequence[str], truths: Sequence[str]) -> Tensor:
    """ChrF of each pair (N,)."""
    return torch.tensor([chrf(guess, truth) for guess, truth in zip(guesses, truths, strict=True)])
