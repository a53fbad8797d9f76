"""Inputs are brought to the moments that the source's rows would have under the stream's own mix of classes.

Restandardising a stream takes a change of its label mix for a change of its sensors: of rows sorted by class it erases
the very differences between the classes. Here the mix π is estimated from the answers, and what the inputs are brought
to is the source's mixture under that mix:

    π by expectation-maximisation from p(c | x_i; s), as in the method `prior`, a rows of π^S counted in
    wanted levels: those of Σ_c π_c P^S(x_j | y = c)
    gain and offset of each input dimension j: from the window's levels to the wanted ones (`aet.levels`), drawn in by
    what a draw of so many rows may have done, times n / (n + k)

over a window of rows, answer by answer: the state that one step gives is what the next step's mix is read with. Where
neither sensors nor mix changed, nothing moves; where only the mix did, next to nothing does. Outputs other than classes
have one class. How it was found: docs/lab/auto.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS, RADIUS, Look, Method
from aet.adaptation.label_mix import label_mix
from aet.attention.state import ElasticState, under
from aet.batch import Batch, newest
from aet.errors import ConfigError
from aet.levels import levels, matching, mixed_levels
from aet.outputs.label import LabelOutput


@METHODS.register("mixture")
class Mixture(Method):
    """Settings: `window` rows that levels are taken over; `share` of them whose answers are read for the mix; `every`
    new rows a step; `doubt` and `shrink` k as above; `prior` rows a of the source's mix that are counted in.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "window": 256,
        "share": 0.25,
        "every": 16,
        "doubt": 2.0,
        "shrink": 32.0,
        "prior": 5.0,
    }

    def reset(self) -> None:
        """Back to the source, with no rows seen."""
        super().reset()
        statistics = self.model.known_statistics()
        parts = dict(self.model.parts())
        self.levels = {n: t.to(self.model.device) for n, t in (statistics.inputs or {}).items()}
        if not self.levels:
            known = any(part.dial_shapes() for part in parts.values())
            raise ConfigError(
                f"{self.name!r} moves gain and offset of numbers and images; this model "
                + ("keeps no levels of them: train it again. " if known else "reads neither. ")
                + "Use 'align' or 'feedback'."
            )
        self.parts = {name: parts[name] for name in self.levels}
        mix = statistics.label_mix
        self.mix = torch.ones(1) if mix is None or self.model.output.kind != "label" else mix
        self.recent: dict[str, Tensor] = {}
        self.waiting: list[Batch] = []
        self.latest: Tensor | None = None
        """Probabilities of the rows that the last `propose` looked at (n, C); None if it took no step."""
        self.read = torch.empty(0, len(self.mix))
        """Probabilities of the rows whose answers were read, (n, C)."""

    def propose(self, batch: Batch) -> ElasticState:
        """The state after these rows, once `every` rows have come."""
        return self.proposed(batch, [self.answer_under(*look) for look in self.looks(batch)])

    def looks(self, batch: Batch) -> Sequence[Look]:
        """A share of the rows that a step takes, under the state so far; none for outputs other than classes."""
        if not self.steps(batch) or not isinstance(self.model.output, LabelOutput):
            return ()
        fresh = self.fresh(batch)
        return [(fresh[self.places(len(fresh))], self.state)]

    @torch.no_grad()
    def proposed(self, batch: Batch, said: Sequence[Tensor]) -> ElasticState:
        """A step, given the logits of the rows looked at."""
        self.latest = None
        if self.steps(batch):
            fresh, output = self.fresh(batch), self.model.output
            if isinstance(output, LabelOutput):
                (logits,) = said
                self.passes += len(logits)
                self.latest = output.probabilities(logits)
            self.waiting = []
            self.told(fresh, self.latest)
        elif len(batch):
            self.waiting.append(Batch(values=batch.values).to("cpu"))
        return self.state

    def steps(self, batch: Batch) -> bool:
        """Whether enough rows have come with this batch."""
        return sum(map(len, self.waiting)) + len(batch) >= int(self.settings["every"])

    def fresh(self, batch: Batch) -> Batch:
        """The rows that no step has taken, with these."""
        own = Batch(values=batch.values).to("cpu")
        return Batch.concat([*self.waiting, own]) if self.waiting else own

    def told(self, fresh: Batch, p: Tensor | None) -> None:
        """Take a step on rows, given the probabilities of some of them under the state so far (n, C)."""
        if p is not None:
            kept = max(1, round(self.settings["share"] * self.settings["window"]))
            self.read = newest(self.read, p[p.isfinite().all(-1)].cpu(), kept)
        self.move(fresh)

    @property
    def moved(self) -> float:
        """How far the inputs' dials stand from the source's: the root of their mean square."""
        dials = [self.state[f"inputs.{name}.{dial}"].flatten() for name in self.parts for dial in ("scale", "shift")]
        return float(torch.cat(dials).square().mean().sqrt())

    def places(self, rows: int) -> Tensor:
        """Which of so many rows are looked at, evenly spread."""
        return torch.linspace(0, rows - 1, max(1, round(self.settings["share"] * rows))).round().long()

    def move(self, fresh: Batch) -> None:
        """Gain and offset from the window that ends with these rows."""
        shares = label_mix(self.read, self.mix, prior_rows=max(self.settings["prior"], 1e-3))
        moved: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            self.recent[name] = newest(self.recent.get(name), fresh.values[name], self.settings["window"])
            rows = len(self.recent[name])
            channels = part.channels(self.recent[name])
            assert channels is not None
            wanted = mixed_levels(self.levels[name], shares.to(self.model.device))
            now = levels(channels.to(self.model.device))
            trust = rows / (rows + self.settings["shrink"])
            for dial, tensor in zip(
                ("scale", "shift"), matching(now, wanted, rows, self.settings["doubt"]), strict=True
            ):
                moved[f"inputs.{name}.{dial}"] = trust * tensor.view(part.dial_shapes()[dial])
        # What did not move is within the trust region, and stays the same tensor: states of a stream share it.
        self.state = self.state.updated(ElasticState(moved).clipped(RADIUS))

    def memory(self) -> dict[str, Tensor]:
        """The window, the answers read, and rows that wait for a step."""
        kept = {f"recent.{name}": t for name, t in self.recent.items()}
        if self.waiting:
            kept |= {f"waiting.{name}": t for name, t in Batch.concat(self.waiting).values.items()}
        return kept | {"read": self.read}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        waiting, self.recent = under("waiting.", memory), under("recent.", memory)
        self.waiting = [Batch(values=waiting)] if waiting else []
        self.read = memory["read"]
