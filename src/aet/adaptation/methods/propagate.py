"""A few labels spread to the rows that look like theirs.

    F = (I - α S)⁻¹ Y,    answers ∝ F_i        Zhou et al. 2004, "Learning with local and global consistency"
    S = D^-½ W D^-½,      W_ij = max(cos(f_i, f_j), 0)³ where j is among the k nearest of i, or i of j
    Y_i = the label of a labelled row, a · p(x_i) of any other

f are the summaries under the state, less their mean, of the labelled rows, the newest `held` rows of the stream and
those to be answered; p the answers under it, which speak for the classes that no label came of. W as in Iscen et al.
2019, 1904.04717. The state is that of `norm_align`, or the source's where its loss on the labels is lower.

Rows of one speaker, camera or machine lie in tight heaps, whose names the source may have wrong: then a label is worth
its whole heap. It is no better than the heaps are: where classes overlap, neighbours mislead. Without labels the
answers are those of `norm_align`. The answers come from the rows that were seen and those beside them, `batch` at most
at a time. How it was measured: docs/lab/audio.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aet.adaptation.base import METHODS, Method, source_state
from aet.adaptation.methods.norm_align import NormAlign
from aet.attention.state import ElasticState, applied, under
from aet.batch import Batch
from aet.errors import ConfigError
from aet.outputs.label import LabelOutput
from aet.summaries import summaries


@METHODS.register("propagate")
class Propagate(Method):
    """Settings: `neighbours` k, `reach` α below 1, `say` a of the answers; rows kept `held`, labelled ones as many on
    top; rows answered together `batch`; `window` and `shrink` of `norm_align`.
    """

    defaults: ClassVar[dict[str, Any]] = {
        **NormAlign.defaults,
        "neighbours": 5,
        "reach": 0.95,
        "say": 0.05,
        "held": 512,
        "batch": 512,
    }
    needs: ClassVar[tuple[str, ...]] = ("label",)
    corrects: ClassVar[bool] = True

    def reset(self) -> None:
        """Back to the source, without rows."""
        super().reset()
        if self.settings["reach"] >= 1:
            raise ConfigError(f"The setting reach of 'propagate' is below 1; got {self.settings['reach']}. Try 0.95.")
        self.norms = NormAlign(self.model, **{name: self.settings[name] for name in NormAlign.defaults})
        self.losses = torch.zeros(2, dtype=torch.float64)
        """Of the labels so far, under the source and under the norms."""
        self.seen_rows: Batch | None = None
        self.labelled: Batch | None = None

    @property
    def aligned(self) -> bool:
        """Whether the norms are moved: unless labels speak for the source."""
        return bool(self.losses[1] <= self.losses[0])

    def propose(self, batch: Batch) -> ElasticState:
        """The state of the norms, moved by this batch, or the source's."""
        if len(batch):
            before = self.norms.passes
            self.norms.propose(batch)
            self.passes += self.norms.passes - before
            self.settle()
        return self.state

    def settle(self) -> None:
        """Take the state that labels speak for."""
        self.state = self.norms.state if self.aligned else source_state(self.model)

    def back_to(self, state: ElasticState) -> None:
        """The norms go back."""
        if self.aligned:
            self.norms.back_to(state)
        self.state = state

    def learn(self, batch: Batch) -> None:
        """Keep the rows: labels will spread over them."""
        if len(batch):
            self.seen_rows = joined(self.seen_rows, Batch(values=batch.values).to("cpu"), self.settings["held"])

    def label(self, batch: Batch) -> None:
        """Choose the state by the labels, and keep the rows with them."""
        if not len(batch):
            return
        assert batch.target is not None
        found = []
        for state in (source_state(self.model), self.norms.state):
            with applied(state):
                losses = self.model.output.losses(self.model.logits(batch), batch.target.cpu())
            found.append(losses.double().nan_to_num(nan=1e9, posinf=1e9).sum())
        self.losses = self.losses + torch.stack(found)
        self.passes += 2.0 * len(batch)
        fresh = Batch(values=batch.values, target=batch.target).to("cpu")
        self.labelled = joined(self.labelled, fresh, self.settings["held"])
        self.settle()

    def answer(self, batch: Batch) -> Tensor:
        """Logits whose calibrated softmax is F, (B, C)."""
        if self.labelled is None or not len(batch):
            return super().answer(batch)
        kept = [rows for rows in (self.labelled, self.seen_rows) if rows is not None]
        before = [self.looked(rows) for rows in kept]
        self.passes += float(sum(map(len, kept)))
        pieces = []
        for index in torch.arange(len(batch)).split(self.settings["batch"]):
            both = [*before, self.looked(batch[index])]
            pieces.append(self.told(*(torch.cat(parts) for parts in zip(*both, strict=True)))[-len(index) :])
        return torch.cat(pieces).to(self.model.device)

    def told(self, features: Tensor, logits: Tensor) -> Tensor:
        """Logits (N, C) of rows, the labelled ones first; as they were where they are not finite."""
        output = self.model.output
        assert isinstance(output, LabelOutput)
        assert self.labelled is not None
        assert self.labelled.target is not None
        known = F.one_hot(self.labelled.target, output.width).double()
        others = self.settings["say"] * output.probabilities(logits[len(known) :]).cpu().double()
        good, answers = features.isfinite().all(-1) & logits.isfinite().all(-1), logits.clone()
        start = torch.cat([known, others])[good]
        spread = propagated(features[good], start, self.settings["neighbours"], self.settings["reach"])
        answers[good] = output.temperature.cpu() * spread.clamp_min(1e-12).log().to(answers)
        return answers

    def looked(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Summaries and logits under the state."""
        with applied(self.state):
            return summaries(self.model, batch)

    def memory(self) -> dict[str, Tensor]:
        """The rows, the norms' moments and state, and what the labels said of them."""
        kept = {"losses": self.losses}
        kept |= {f"norms.memory.{name}": t for name, t in self.norms.memory().items()}
        kept |= {f"norms.state.{name}": t for name, t in self.norms.state.items()}
        for name, rows in (("rows", self.seen_rows), ("labelled", self.labelled)):
            kept |= {} if rows is None else {f"{name}.{key}": t for key, t in rows.values.items()}
        if self.labelled is not None and self.labelled.target is not None:
            kept["target"] = self.labelled.target
        return kept

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        device = self.model.device
        self.losses = memory["losses"].cpu()
        self.norms.load_memory(under("norms.memory.", memory))
        self.norms.state = ElasticState({n: t.to(device) for n, t in under("norms.state.", memory).items()})
        rows, labelled = under("rows.", memory), under("labelled.", memory)
        self.seen_rows = Batch(values=rows) if rows else None
        self.labelled = Batch(values=labelled, target=memory["target"]) if labelled else None


def joined(known: Batch | None, fresh: Batch, most: int) -> Batch:
    """The newest rows of both."""
    every = fresh if known is None else Batch.concat([known, fresh])
    return every[torch.arange(len(every))[-most:]]


def propagated(features: Tensor, start: Tensor, neighbours: int, reach: float) -> Tensor:
    """F (N, C), each row summing to one, from features (N, D) and Y (N, C).

    >>> features = torch.tensor([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]])
    >>> start = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    >>> propagated(features, start, 1, 0.9).argmax(-1)
    tensor([0, 0, 1, 1])
    """
    features = features.double()
    unit = F.normalize(features - features.mean(0), dim=-1)
    likeness = (unit @ unit.T).fill_diagonal_(-1.0)
    nearest = likeness.topk(max(0, min(neighbours, len(unit) - 1)), -1)
    w = torch.zeros_like(likeness).scatter_(-1, nearest.indices, nearest.values.clamp_min(0) ** 3)
    w = torch.maximum(w, w.T)
    root = w.sum(-1).clamp_min(1e-12).rsqrt()
    system = torch.eye(len(w), dtype=w.dtype) - reach * root[:, None] * w * root
    spread: Tensor = torch.linalg.solve(system, start).clamp_min(0) + 1e-12
    return spread / spread.sum(-1, keepdim=True)
