"""The default: without labels moments of the inputs; with labels whatever answers the newest of them best.

Labels train on top of each base b: the source's state, 0, and the label-free proposal of another method. Every block of
n labels is answered by each base and each trained state t_b before any is trained on it. Sums of the losses, in which a
label's say halves with each `half_life` labels after it,

    L_b ← 2^(-n / half_life) · L_b + Σ_i ℓ(z(x_i; b), y_i)
    E_b ← 2^(-n / half_life) · E_b + Σ_i ℓ(z(x_i; t_b), y_i) - ℓ(z(x_i; b), y_i)     after the first `patience` labels

decide: the base with the least L_b, and what labels taught on top of it unless E_b > 0. So a state that learned one
stretch of a stream steps aside where that no longer helps, before the guard has to see it lose.

Without labels there is a portfolio: the state of `mixture`, answers corrected by the mix around each row
(`local_mix`), and both. Of these the one is `trusted`, to be served until the proposal has earned it, whose answers to
the last `EVIDENCE` rows that source and `mixture` both answered look, beside the source's, like the rehearsed stretches
in which it won most surely (`aet.adaptation.portfolio`); the state of `mixture` only while its loss on labels is not
above the source's, and the mix around rows only while the source's answers are alike in time: rehearsals do not know
how a stream of shuffled rows from another world looks whose errors pile up on few classes.
How the settings were chosen: docs/lab/adaptation.md and docs/lab/auto.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS, RADIUS, Method
from aet.adaptation.comparison import alike_in_time
from aet.adaptation.guard import FEW
from aet.adaptation.methods.feedback import Feedback
from aet.adaptation.methods.local_mix import correction
from aet.adaptation.methods.mixture import Mixture
from aet.adaptation.methods.source import Source
from aet.adaptation.portfolio import Portfolio
from aet.adaptation.proposals import PROPOSALS
from aet.adaptation.rehearsed import Verdict
from aet.adaptation.serving import Choice
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.outputs.label import LabelOutput

EVIDENCE, LOOKED = 64, 128
"""Rows answered by both: those that are judged, and those over which answers must be alike in time."""
ALIKE = 3.0
"""How much more alike than chance, in deviations, before answers are corrected by the mix around them."""


@METHODS.register("auto")
class Auto(Method):
    """`mixture` (for models that read numbers or images) and `feedback`, each as far as the labels speak for it.

    Settings: `half_life` of a label's say, in labels; `patience`: labels before trained states are compared.
    """

    defaults: ClassVar[dict[str, Any]] = {"half_life": 32, "patience": 16}

    def reset(self) -> None:
        """Back to the source."""
        statistics = self.model.known_statistics()
        self.mixture = Mixture(self.model) if statistics.inputs else None
        self.bases: list[Method] = [Source(self.model), *([self.mixture] if self.mixture else [])]
        self.portfolio = Portfolio(statistics.rehearsals) if statistics.rehearsals else None
        width = self.model.output.width
        self.pairs = torch.empty(2, 0, width)
        """What the source (first) and `mixture` said to the last rows that both answered."""
        self.verdict: Verdict | None = None
        self.trained = [Feedback(self.model) for _ in self.bases]
        self.losses, self.excess = torch.zeros(2, len(self.bases), dtype=torch.float64)
        self.labels = 0
        super().reset()

    @property
    def base(self) -> int:
        """Which base is proposed: the last before there are labels."""
        return int(self.losses.argmin()) if self.labels else len(self.bases) - 1

    @property
    def taught(self) -> bool:
        """Whether what labels taught on top of it is proposed too."""
        return bool(self.labels and self.excess[self.base] <= 0)

    @property
    def chosen(self) -> Method:
        """The method whose state is proposed."""
        return self.trained[self.base] if self.taught else self.bases[self.base]

    @property
    def follows(self) -> str:
        """What is proposed now, in words."""
        base = ("the source", "the inputs' moments")[self.base]
        return base + ", and what labels taught on top" * self.taught

    @property
    def heard(self) -> bool:
        """Whether labels, once there are `FEW`, leave a say to proposals that move the inputs."""
        return self.labels < FEW or self.base > 0

    @property
    def trusted(self) -> Choice | None:
        """What rehearsals speak for; the state of `mixture` only if labels do so too."""
        if self.mixture is None or self.verdict is None or not self.verdict.trusted:
            return None
        proposal = PROPOSALS[self.verdict.proposal]
        if proposal.moved and not self.heard:
            return None
        base = self.mixture if proposal.moved else self.bases[0]
        return Choice(base.state, "rehearsals", correction(self.model) if proposal.corrected else None)

    @property
    def why(self) -> str:
        """What the rehearsals say."""
        if self.verdict is None:
            return super().why
        heard = self.verdict.trusted and self.trusted is None
        return f"labels speak for the source; without them: {self.verdict}" if heard else str(self.verdict)

    def propose(self, batch: Batch) -> ElasticState:
        """The chosen state, once the bases have seen the batch."""
        for base, trained in zip(self.bases, self.trained, strict=True):
            before = base.passes
            trained.rebase(base.propose(batch))
            self.passes += base.passes - before
        self.state = self.chosen.state
        self.weigh()
        return self.state

    def back_to(self, state: ElasticState) -> None:
        """The chosen base goes back, with what labels taught on top; trust begins anew."""
        base, trained = self.bases[self.base], self.trained[self.base]
        if self.taught:
            moved = {name: t + state[name] - trained.state[name] for name, t in base.state.items()}
            base.state = trained.base = ElasticState(moved).clipped(RADIUS)
            trained.state = state
        else:
            base.state = state
            trained.rebase(state)
        self.pairs, self.verdict = self.pairs[:, :0], None
        self.state = state

    @torch.no_grad()
    def weigh(self) -> None:
        """Ask the source about the rows that `mixture` has just read, and the rehearsals about what both say."""
        output, latest = self.model.output, self.mixture.latest if self.mixture else None
        if latest is None or self.portfolio is None or not self.portfolio.ever:
            return
        assert isinstance(output, LabelOutput)
        rows, q = latest
        with applied(None):
            p = output.probabilities(self.model.logits(rows))
        self.passes += len(rows)
        both = torch.stack([p, q])
        both = both[:, both.isfinite().all(-1).all(0)]
        self.pairs = torch.cat([self.pairs, both], 1)[:, -LOOKED:].clone()
        mix = self.model.known_statistics().label_mix
        if self.pairs.shape[1] >= EVIDENCE and mix is not None:
            assert self.mixture is not None
            apart = 1 / self.mixture.settings["share"]
            alike = alike_in_time(self.pairs[0].argmax(-1), output.width) > ALIKE
            among = [one for one in PROPOSALS if (self.heard or not one.moved) and (alike or not one.corrected)]
            p, q = self.pairs[:, -EVIDENCE:]
            self.verdict = self.portfolio.verdict(p, q, mix, apart, among)

    def label(self, batch: Batch) -> None:
        """Compare on labels not trained on, then train on all so far."""
        if not len(batch):
            return
        self.compare(batch)
        self.labels += len(batch)
        for trained in self.trained:
            before = trained.passes
            trained.label(batch)
            self.passes += trained.passes - before
        self.state = self.chosen.state

    @torch.no_grad()
    def compare(self, batch: Batch) -> None:
        """The formulas above."""
        untrained, taught = (self.sums(methods, batch) for methods in (self.bases, self.trained))
        self.losses, self.excess = (
            0.5 ** (len(batch) / self.settings["half_life"]) * total for total in (self.losses, self.excess)
        )
        self.losses = self.losses + untrained
        if self.labels >= self.settings["patience"]:
            self.excess = self.excess + taught - untrained

    def sums(self, methods: list[Any], batch: Batch) -> Tensor:
        """Sum of the rows' losses under each method's state (methods,)."""
        assert batch.target is not None
        sums = []
        for method in methods:
            with applied(method.state):
                sums.append(self.model.output.losses(self.model.logits(batch), batch.target.cpu()).double().sum())
            self.passes += len(batch)
        return torch.stack(sums).nan_to_num(nan=1e9, posinf=1e9)

    def memory(self) -> dict[str, Tensor]:
        """The memories and states of all, and how the comparison stands."""
        kept = {"losses": self.losses, "excess": self.excess, "labels": torch.tensor(self.labels), "pairs": self.pairs}
        if self.verdict is not None:
            kept["verdict"] = torch.tensor(astuple(self.verdict), dtype=torch.float64)
        for sort, methods in (("base", self.bases), ("trained", self.trained)):
            for number, method in enumerate(methods):
                kept |= {f"{sort}.{number}.memory.{name}": t for name, t in method.memory().items()}
                kept |= {f"{sort}.{number}.state.{name}": t for name, t in method.state.items()}
        return kept

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back what `memory` gave."""
        self.losses, self.excess, self.labels = memory["losses"], memory["excess"], int(memory["labels"])
        self.pairs = memory["pairs"]
        given = memory["verdict"].tolist() if "verdict" in memory else None
        if given:  # of earlier versions without the last two
            trusted, gain, won, of, proposal, bound = (*given, 0.0, 0.0)[:6]
            self.verdict = Verdict(bool(trusted), gain, int(won), int(of), int(proposal), bound)
        else:
            self.verdict = None
        for sort, methods in (("base", self.bases), ("trained", self.trained)):
            for number, method in enumerate(methods):
                own = f"{sort}.{number}."
                state = {n: memory[f"{own}state.{n}"].to(t) for n, t in method.state.items()}
                method.state = ElasticState(state)
                start = f"{own}memory."
                method.load_memory({n.removeprefix(start): t for n, t in memory.items() if n.startswith(start)})
        for base, trained in zip(self.bases, self.trained, strict=True):
            trained.base = base.state
        self.state = self.chosen.state
