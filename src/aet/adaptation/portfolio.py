"""Several proposals, each with its rehearsals: the one whose lower bound of gain is the largest is trusted, or none."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from weakref import WeakKeyDictionary

from torch import Tensor

from aet.adaptation.comparison import Side, figures
from aet.adaptation.proposals import PROPOSALS, Proposal, changed
from aet.adaptation.rehearsed import Rehearsals, Verdict
from aet.model import Model

_KNOWN: WeakKeyDictionary[Model, tuple[Mapping[str, Tensor], Portfolio]] = WeakKeyDictionary()


def portfolio_of(model: Model) -> Portfolio | None:
    """The model's; None for one that rehearsed nothing. All streams of a model have the same one: it never changes,
    and takes longer to make than the rest of a stream.
    """
    rehearsals, known = model.known_statistics().rehearsals, _KNOWN.get(model)
    if not rehearsals:
        return None
    if known is None or known[0] is not rehearsals:
        known = _KNOWN[model] = (rehearsals, Portfolio(rehearsals))
    return known[1]


class Portfolio:
    """What was rehearsed: figures (N, P, F) and gain (N, P) of each stretch and proposal, its world (N,) and how far
    inputs were `moved` (N,); `usual`, the mean confidence.

    Figures (N, F) and gain (N,), as earlier versions kept them, are of the first proposal. Of models that did not keep
    how far inputs were moved, no movement is too far.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        found, gain = tensors["figures"], tensors["gain"]
        if found.dim() == 2:
            found, gain = found[:, None], gain[:, None]
        self.usual = float(tensors["usual"])
        self.reach = float(tensors["moved"].max()) if "moved" in tensors else math.inf
        """How far inputs were moved at most: of farther, rehearsals say nothing."""
        self.each = [
            Rehearsals({**tensors, "figures": found[:, i], "gain": gain[:, i]}, proposal=i)
            for i in range(found.shape[1])
        ]

    @property
    def ever(self) -> bool:
        """Whether any proposal may be trusted."""
        return any(known.limit is not None for known in self.each)

    def verdict(
        self, source: Tensor, moved: Tensor, mix: Tensor, apart: float, among: Collection[Proposal] = PROPOSALS
    ) -> Verdict:
        """Of a stretch, by what source and `mixture` say to its rows, (N, C) each, see `proposed`.

        Only proposals `among` those allowed are judged; where there are none, the first is, and is not trusted.
        """
        own = Side(source)
        judged = [number for number, _ in enumerate(self.each) if PROPOSALS[number] in among]
        verdicts = []
        for number in judged or [0]:
            answers = changed(PROPOSALS[number], source, moved, mix, apart)
            verdicts.append(self.each[number].verdict(figures(own, answers, self.usual, mix)))
        if not judged:
            return replace(verdicts[0], trusted=False)
        return max(verdicts, key=lambda verdict: (verdict.trusted, verdict.bound))
