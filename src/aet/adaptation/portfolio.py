"""Several proposals, each with its rehearsals: the one whose lower bound of gain is the largest is trusted, or none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from weakref import WeakKeyDictionary

from torch import Tensor

from aet.adaptation.comparison import Side, figures
from aet.adaptation.proposals import PROPOSALS, Proposal, proposed
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
    """What was rehearsed: figures (N, P, F) and gain (N, P) of each stretch and proposal, world (N,), `usual`.

    Figures (N, F) and gain (N,), as earlier versions kept them, are of the first proposal.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        found, gain = tensors["figures"], tensors["gain"]
        if found.dim() == 2:
            found, gain = found[:, None], gain[:, None]
        self.usual = float(tensors["usual"])
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

        Proposals that are not `among` those allowed are not trusted.
        """
        answers, own = proposed(source, moved, mix, apart)[: len(self.each)], Side(source)
        found = [figures(own, q, self.usual, mix) for q in answers]
        verdicts = [known.verdict(one) for known, one in zip(self.each, found, strict=True)]
        allowed = [v if PROPOSALS[v.proposal] in among else replace(v, trusted=False) for v in verdicts]
        return max(allowed, key=lambda verdict: (verdict.trusted, verdict.bound))
