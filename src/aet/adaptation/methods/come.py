"""COME: a host method with opinions in place of answers (Zhang et al. 2025, 2410.10894).

    H(x) becomes -Σ_c b_c log b_c - u log u,   b_c = e^{z_c} / (Σ_k e^{z_k} + C),   u = C / (Σ_k e^{z_k} + C)

(`aet.adaptation.beliefs.opinion_entropy`): belief may stay unassigned, and the size of the logits, held constant, is no
way down. What falls changes, nothing else: the rows that a host keeps, their weights and SAR's recovery go by the
entropy of the answers, whose scale their thresholds are in. Moves what the host moves, with its settings and cost.

Not for yes-or-no answers: of one logit there is a size and a sign, and with the size held nothing is left to fall.
"""

from __future__ import annotations

from typing import ClassVar

from aet.adaptation.base import METHODS
from aet.adaptation.beliefs import opinion_entropy
from aet.adaptation.methods.eata import Eta
from aet.adaptation.methods.sar import Sar
from aet.adaptation.methods.tent import Tent


@METHODS.register("come")
class Come(Tent):
    """On TENT; its settings."""

    falls = staticmethod(opinion_entropy)
    needs: ClassVar[tuple[str, ...]] = ("label",)


@METHODS.register("come_eta")
class ComeEta(Eta):
    """On ETA; its settings."""

    falls = staticmethod(opinion_entropy)
    needs: ClassVar[tuple[str, ...]] = ("label",)


@METHODS.register("come_sar")
class ComeSar(Sar):
    """On SAR; its settings."""

    falls = staticmethod(opinion_entropy)
    needs: ClassVar[tuple[str, ...]] = ("label",)
