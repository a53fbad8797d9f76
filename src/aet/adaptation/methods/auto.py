"""The default: without labels moments of the inputs; with labels whatever answers the newest of them best.

There are bases b: the source's state, 0, and the label-free proposal of another method. Labels teach one change t of
the dials, trained on top of the base that is proposed. Every block of n labels is answered by each base with t and
without it, before t learns from them. Sums of the losses, in which a label's say halves with each `half_life` labels
after it,

    L_b ← 2^(-n / half_life) · L_b + Σ_i ℓ(z(x_i; b), y_i)
    E_b ← 2^(-n / half_life) · E_b + Σ_i ℓ(z(x_i; b + t), y_i) - ℓ(z(x_i; b), y_i)     after the first `patience` labels

decide: the base with the least L_b, and what labels taught on top of it unless E_b > 0. So a change that fits one
stretch of a stream steps aside where that no longer helps, before the guard has to see it lose. Where the source's
answers are alike in time, those of the proposal are corrected by the mix around each row (`local_mix`), labels having
made them fit to read it from; the guard compares them so.

Without labels there is a portfolio: the state of `mixture`, answers corrected by the mix around each row
(`local_mix`), and both. Of these the one is `trusted`, to be served until the proposal has earned it, whose answers to
the last `EVIDENCE` rows that source and `mixture` both answered look, beside the source's, like the rehearsed stretches
in which it won most surely (`aet.adaptation.portfolio`); the state of `mixture` only while its loss on labels is not
above the source's and inputs are moved no farther than in rehearsals; and the mix around rows only while the source's
answers are alike in time: rehearsals do not know how a stream of shuffled rows from another world looks whose errors
pile up on few classes.
How the settings were chosen: docs/lab/adaptation.md and docs/lab/auto.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS, RADIUS, Look, Method
from aet.adaptation.comparison import alike_in_time
from aet.adaptation.guard import FEW
from aet.adaptation.methods.feedback import Feedback
from aet.adaptation.methods.local_mix import correction
from aet.adaptation.methods.mixture import Mixture
from aet.adaptation.methods.source import Source
from aet.adaptation.portfolio import portfolio_of
from aet.adaptation.proposals import PROPOSALS
from aet.adaptation.rehearsed import Verdict
from aet.adaptation.serving import CONTEXT, Choice, Correction
from aet.attention.state import ElasticState, applied, under
from aet.batch import Batch
from aet.outputs.label import LabelOutput

EVIDENCE, LOOKED = 64, 128
"""Rows answered by both: those that are judged, and those over which answers must be alike in time."""
ALIKE = 3.0
"""How much more alike than chance, in deviations, before answers are corrected by the mix around them."""


@METHODS.register("auto")
class Auto(Method):
    """`mixture` (for models that read numbers or images) and `feedback`, each as far as the labels speak for it.

    Settings: `half_life` of a label's say, in labels; `patience`: labels before what they taught is compared.
    """

    defaults: ClassVar[dict[str, Any]] = {"half_life": 32, "patience": 16}

    def reset(self) -> None:
        """Back to the source."""
        statistics = self.model.known_statistics()
        self.mixture = Mixture(self.model) if statistics.inputs else None
        self.bases: list[Method] = [Source(self.model), *([self.mixture] if self.mixture else [])]
        self.portfolio = portfolio_of(self.model)
        classes = self.mixture is not None and isinstance(self.model.output, LabelOutput)
        self.mixed = correction(self.model, least=CONTEXT) if classes else None
        """What corrects answers by the mix around them, where that is defined."""
        self.alike = False
        """Whether the source's answers to the rows looked at last are alike in time."""
        width = self.model.output.width
        self.pairs = torch.empty(2, 0, width)
        """What the source (first) and `mixture` said to the last rows that both answered."""
        self.verdict: Verdict | None = None
        self.lessons = Feedback(self.model)
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
        return self.lessons if self.taught else self.bases[self.base]

    @property
    def correction(self) -> Correction | None:
        """Once labels came, answers are corrected by the mix around them where they are alike in time."""
        return self.mixed if self.labels and self.alike else None

    @property
    def follows(self) -> str:
        """What is proposed now, in words."""
        base = ("the source", "the inputs' moments")[self.base]
        beside = "; answers corrected by the mix around them" * (self.correction is not None)
        return base + ", and what labels taught on top" * self.taught + beside

    @property
    def heard(self) -> bool:
        """Whether labels, once there are `FEW`, leave a say to proposals that move the inputs."""
        return self.labels < FEW or self.base > 0

    @property
    def beyond(self) -> bool:
        """Whether the inputs are moved farther than they ever were in rehearsals."""
        return bool(self.mixture and self.portfolio and self.mixture.moved > self.portfolio.reach)

    @property
    def trusted(self) -> Choice | None:
        """What rehearsals speak for; the state of `mixture` only if labels do so too."""
        if self.mixture is None or self.verdict is None or not self.verdict.trusted:
            return None
        proposal = PROPOSALS[self.verdict.proposal]
        if proposal.moved and (self.beyond or not self.heard):
            return None
        base = self.mixture if proposal.moved else self.bases[0]
        if not proposal.corrected:
            return Choice(base.state, "rehearsals")
        return Choice(base.state, "rehearsals", self.mixed, CONTEXT)

    @property
    def why(self) -> str:
        """What the rehearsals say."""
        if self.verdict is None:
            return super().why
        if self.beyond:
            return f"inputs moved farther than in any rehearsal, which is not trusted; besides: {self.verdict}"
        heard = self.verdict.trusted and self.trusted is None
        return f"labels speak for the source; without them: {self.verdict}" if heard else str(self.verdict)

    def propose(self, batch: Batch) -> ElasticState:
        """The chosen state, once the bases have seen the batch."""
        return self.proposed(batch, [self.answer_under(*look) for look in self.looks(batch)])

    def looks(self, batch: Batch) -> Sequence[Look]:
        """What `mixture` looks at, and the same rows under the source, if there is a trust to be weighed."""
        looked = self.mixture.looks(batch) if self.mixture else ()
        trusts = self.portfolio is not None and self.portfolio.ever
        weighed = looked if trusts or (self.mixed is not None and self.labels) else ()
        return [*looked, *((rows, None) for rows, _ in weighed)]

    def proposed(self, batch: Batch, said: Sequence[Tensor]) -> ElasticState:
        """The chosen state, given the logits of the rows looked at: those of `mixture` first."""
        mixture = self.mixture
        if mixture is not None:
            before = mixture.passes
            mixture.proposed(batch, said[:1])
            self.passes += mixture.passes - before
        self.settle()
        if mixture is not None and mixture.latest is not None and len(said) > 1:
            self.weigh(said[1], mixture.latest)
        return self.state

    def settle(self) -> None:
        """What labels taught stands on the chosen base; that, or the base alone, is proposed."""
        self.lessons.rebase(self.bases[self.base].state)
        self.state = self.chosen.state

    def back_to(self, state: ElasticState) -> None:
        """The chosen base goes back, with what labels taught on top; trust begins anew."""
        base, lessons = self.bases[self.base], self.lessons
        if self.taught:
            moved = {name: t + state[name] - lessons.state[name] for name, t in base.state.items()}
            base.state = lessons.base = ElasticState(moved).clipped(RADIUS)
            lessons.state = state
        else:
            base.state = state
            lessons.rebase(state)
        self.pairs, self.verdict, self.alike = self.pairs[:, :0], None, False
        self.state = state

    @torch.no_grad()
    def weigh(self, source: Tensor, q: Tensor) -> None:
        """Hear the rehearsals about rows of which the source said `source` (n, C), logits, and `mixture` q (n, C)."""
        output = self.model.output
        assert isinstance(output, LabelOutput)
        self.passes += len(source)
        both = torch.stack([output.probabilities(source), q])
        both = both[:, both.isfinite().all(-1).all(0)]
        self.pairs = torch.cat([self.pairs, both], 1)[:, -LOOKED:].clone()
        self.listen()
        self.judge()

    def listen(self) -> None:
        """How alike the source's answers are in time, once there are enough."""
        p, width = self.pairs[0], self.model.output.width
        self.alike = len(p) >= EVIDENCE and alike_in_time(p.argmax(-1), width) > ALIKE

    def judge(self) -> None:
        """What the rehearsals say of the rows that both answered, among the proposals that labels leave a say."""
        mix = self.model.known_statistics().label_mix
        if self.portfolio and self.mixture and self.pairs.shape[1] >= EVIDENCE and mix is not None:
            apart = 1 / self.mixture.settings["share"]
            moves, corrects = self.heard and not self.beyond, self.alike
            among = [one for one in PROPOSALS if (moves or not one.moved) and (corrects or not one.corrected)]
            p, q = self.pairs[:, -EVIDENCE:]
            self.verdict = self.portfolio.verdict(p, q, mix, apart, among)

    def label(self, batch: Batch) -> None:
        """Compare on labels not trained on, then train on all so far."""
        if not len(batch):
            return
        self.compare(batch)
        self.labels += len(batch)
        self.settle()
        before = self.lessons.passes
        self.lessons.label(batch)
        self.passes += self.lessons.passes - before
        self.state = self.chosen.state
        self.judge()

    @torch.no_grad()
    def compare(self, batch: Batch) -> None:
        """The formulas above."""
        states = [base.state for base in self.bases]
        untrained, taught = self.sums(states, batch), self.sums([self.lessons.on(state) for state in states], batch)
        self.losses, self.excess = (
            0.5 ** (len(batch) / self.settings["half_life"]) * total for total in (self.losses, self.excess)
        )
        self.losses = self.losses + untrained
        if self.labels >= self.settings["patience"]:
            self.excess = self.excess + taught - untrained

    def sums(self, states: list[ElasticState], batch: Batch) -> Tensor:
        """Sum of the rows' losses under each state (states,)."""
        assert batch.target is not None
        sums = []
        for state in states:
            with applied(state):
                sums.append(self.model.output.losses(self.model.logits(batch), batch.target.cpu()).double().sum())
            self.passes += len(batch)
        return torch.stack(sums).nan_to_num(nan=1e9, posinf=1e9)

    def memory(self) -> dict[str, Tensor]:
        """The memories and states of all, and how the comparison stands."""
        kept = {"losses": self.losses, "excess": self.excess, "labels": torch.tensor(self.labels), "pairs": self.pairs}
        if self.verdict is not None:
            kept["verdict"] = torch.tensor(astuple(self.verdict), dtype=torch.float64)
        for name, method in self.parts().items():
            kept |= {f"{name}.memory.{key}": t for key, t in method.memory().items()}
            kept |= {f"{name}.state.{key}": t for key, t in method.state.items()}
        return kept

    def parts(self) -> dict[str, Method]:
        """The methods that this one rests on, by name."""
        return {f"base.{number}": base for number, base in enumerate(self.bases)} | {"lessons": self.lessons}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back what `memory` gave."""
        self.losses, self.excess, self.labels = memory["losses"], memory["excess"], int(memory["labels"])
        self.pairs = memory["pairs"]
        self.listen()
        given = memory["verdict"].tolist() if "verdict" in memory else None
        if given:
            trusted, gain, won, of, proposal, bound = given
            self.verdict = Verdict(bool(trusted), gain, int(won), int(of), int(proposal), bound)
        else:
            self.verdict = None
        for name, method in self.parts().items():
            kept = under(f"{name}.state.", memory)
            method.state = ElasticState({key: kept[key].to(t) for key, t in method.state.items()})
            method.load_memory(under(f"{name}.memory.", memory))
        self.lessons.base = self.bases[self.base].state
        self.state = self.chosen.state
