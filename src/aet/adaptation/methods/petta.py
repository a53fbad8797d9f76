"""PeTTA: a teacher that follows less, and is held more, the further the classes drift from the source's.

    γ_y = 1 - exp(-Σ_d (μ_y,d - μ^S_y,d)² / σ^S_y,d²),    γ = mean of γ_y over the classes in the memory
    L = mean_x -Σ_c p_c(x; θ) log p_c(view(x); θ')  +  λ ‖θ'‖²  +  w · mean_x -Σ_c p_c(x; 0) log p_c(view(x); θ')
    λ = γ λ₀,    θ ← (1 - a) θ + a θ',    a = (1 - γ) a₀

μ_y is the running mean (0.95 old, 0.05 new) of the teacher's summaries of the rows predicted to be of class y, from
the source's μ^S_y, σ^S_y: `statistics.classes`; θ' is the student's distance from the source, 0 the source. Hoang et
al. 2024 (2311.18193): the divergence, adaptive rate and regularisation, and anchor loss of its section on PeTTA, with
a₀ = 0.001, λ₀ = 10, w = 1, a memory of 64 balanced over the classes, a step each 64 rows. Moves the norms. γ sums over
all channels, so strong drift of the classes takes it to 1 and the teacher stands still. The authors say themselves that
no regulariser makes sure that errors do not accumulate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.teacher import RememberingTeacher, taught_entropy
from aet.attention.state import active, applied
from aet.batch import Batch
from aet.errors import ConfigError
from aet.statistics import Moments
from aet.summaries import summaries


@METHODS.register("petta")
class Petta(RememberingTeacher):
    """Settings: those of `rotta`, with `rate` a₀; `hold` λ₀, `anchor` w, `momentum` of the class means."""

    defaults: ClassVar[dict[str, Any]] = {
        **RememberingTeacher.defaults,
        "rate": 1e-3,
        "hold": 10.0,
        "anchor": 1.0,
        "momentum": 0.05,
    }

    def reset(self) -> None:
        """Back to the source; the model must know the moments of its classes."""
        super().reset()
        classes = self.model.known_statistics().classes
        if classes is None:
            raise ConfigError(
                f"{self.name!r} compares the means of the classes with the source's, and this model keeps none: it has "
                "very many classes or is of an older version. Use 'rotta', or train it again."
            )
        self.source = Moments(classes[-1].mean.cpu(), classes[-1].std.cpu())  # (C, dim)
        self.means = self.source.mean

    def renew(self, rows: Batch) -> None:
        """See how far the classes went, then a step of the student and one of the teacher."""
        with applied(self.state):
            summary, logits = summaries(self.model, rows)
        self.passes += len(rows)
        summary = summary.view(len(rows), -1, self.means.shape[-1]).mean(1)  # over the members, if any
        self.gone = self.diverged(summary, logits.argmax(-1))
        taught, known = (t.softmax(-1) for t in (logits.to(self.model.device), self.logits(rows, None)))
        if self.study(rows, (taught, known)):
            self.follow((1 - self.gone) * self.settings["rate"])

    def diverged(self, summary: Tensor, predicted: Tensor) -> float:
        """γ from summaries (N, dim) and predicted classes (N,); the class means take the summaries in."""
        present, means = predicted.unique(), self.means.clone()
        for number in present:
            means[number] = means[number].lerp(summary[predicted == number].mean(0), self.settings["momentum"])
        if not means.isfinite().all():
            return 1.0
        self.means = means
        away = ((means - self.source.mean) / self.source.std).square().sum(-1)[present]
        return float((1 - (-away).exp()).mean())

    def loss(self, rows: Batch, taught: tuple[Tensor, Tensor]) -> Tensor:
        """The formula above."""
        state = active()
        assert state is not None
        logits = self.model(self.view(rows))
        follows, anchored = (taught_entropy(logits, q).mean() for q in taught)
        held = torch.stack([t.square().sum() for name, t in state.items() if self.moves(name)]).sum()
        return follows + self.gone * float(self.settings["hold"]) * held + float(self.settings["anchor"]) * anchored

    def memory(self) -> dict[str, Tensor]:
        """What a teacher keeps, and the class means."""
        return {**super().memory(), "means": self.means}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        super().load_memory(memory)
        self.means = memory["means"].cpu()
