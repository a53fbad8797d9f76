"""Sample attention: a softmax over the rows of a batch. Rows that fit badly, wrong labels among them, count less.

    w_i = n · exp(-z_i / temperature) / Σ_j exp(-z_j / temperature),    z_i = (h_i - μ_c) / σ_c,    c = y_i
    h_i ← h_i + pace · (l_i - h_i)                                        each time row i is seen

h_i is the row's own running loss: a network fits regular rows first (Arpit et al. 2017, 1706.05394), and the memory of
how a row began outlives its being learned by heart (as in Liu et al. 2020, 2007.00151, where answers are averaged).
μ_c and σ_c are running moments of h over the rows of one label, so that no class is given up because it is learned
late; answers that are no labels count as one class. Weights carry no gradient and have mean 1; a row that the data
count twice counts twice in the sums. During the first `warmup` share of the steps nothing is weighed. The softmax is
what self-paced weighting with an entropy regulariser comes to (Kumar, Packer and Koller 2010; Li et al. 2021,
2007.01162: tilted losses with t = -1/temperature). The epoch is chosen by how far validation answers agree with labels
that may be wrong too (`aet.training.loop.judged`), not by their loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.batch import Batch
from aet.errors import ConfigError
from aet.training.row_weights import RowWeights, mean_one
from aet.training.switch import SWITCHES, Pass, Run


@SWITCHES.register("sample_attention")
class SampleAttention(RowWeights):
    """Settings: `temperature`, in deviations; `warmup`, a share of the steps; `momentum` of μ and σ; `pace` of h."""

    name = "sample_attention"
    monitors = "agreement"
    defaults: ClassVar[dict[str, Any]] = {"temperature": 0.5, "warmup": 0.2, "momentum": 0.1, "pace": 0.3}
    fractions = ("warmup",)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        temperature, momentum, pace = (self.settings[name] for name in ("temperature", "momentum", "pace"))
        for setting, fits, expected in (
            ("temperature", temperature > 0, "above 0"),
            ("momentum", 0 < momentum <= 1, "above 0 and at most 1"),
            ("pace", 0 < pace <= 1, "above 0 and at most 1"),
        ):
            if not fits:
                given = self.settings[setting]
                raise ConfigError(f"The setting {setting} of the switch {self.name!r} is {expected}; got {given}.")
        self.evenness = torch.ones(())

    def begin(self, run: Run) -> None:
        """Room for the rows' losses, and for the moments of each class."""
        assert run.train.target is not None
        target = run.train.target
        self.classes = 1 if target.is_floating_point() or target.ndim > 1 else int(target.max()) + 1
        self.history = torch.full((len(run.train),), torch.nan)
        """Running loss h of each training row (N,)."""
        self.moments = torch.full((2, self.classes), torch.nan)
        """Running E[h] and E[h²] of each class (2, C)."""
        self.pending = torch.zeros(3, self.classes)  # Σ c, Σ c·h, Σ c·h² of the step

    def weights(self, run: Run, seen: Pass) -> Tensor | None:
        """The softmax, once the warm-up is over and a scale is known."""
        losses = seen.losses.detach().float().cpu()
        counts = torch.ones_like(losses) if seen.batch.weight is None else seen.batch.weight.to(losses)
        kinds, own = self.kinds(seen.batch), self.followed(seen.batch, losses)
        sums = torch.stack([counts, counts * own, counts * own.square()])
        self.pending = self.pending.index_add(1, kinds, sums)
        first, second = self.moments[:, kinds]
        if run.step < float(self.settings["warmup"]) * run.steps or bool(first.isnan().any()):
            return None
        z = (own - first) / (second - first.square()).clamp_min(1e-12).sqrt()
        weights = mean_one(torch.softmax(-z / float(self.settings["temperature"]), 0), counts)
        self.evenness = counts.sum().square() / (counts.sum() * (counts * weights.square()).sum()).clamp_min(1e-12)
        self.calls += 1
        return weights.to(seen.losses)

    def kinds(self, batch: Batch) -> Tensor:
        """The class of each row (B,)."""
        assert batch.target is not None
        return torch.zeros(len(batch), dtype=torch.long) if self.classes == 1 else batch.target.cpu()

    def followed(self, batch: Batch, losses: Tensor) -> Tensor:
        """The rows' running losses h (B,), with these in them."""
        assert batch.positions is not None
        places = batch.positions.cpu()
        before = self.history[places]
        own = torch.where(before.isnan(), losses, torch.lerp(before, losses, float(self.settings["pace"])))
        self.history = self.history.index_copy(0, places, own)
        return own

    def stepped(self, run: Run) -> None:
        """The moments follow the step's rows; a class without any keeps its own."""
        super().stepped(run)
        count, pending = self.pending[0], self.pending
        self.pending = torch.zeros_like(pending)
        fresh = pending[1:] / count.where(count > 0, 1)
        moved = torch.where(self.moments.isnan(), fresh, self.moments.lerp(fresh, float(self.settings["momentum"])))
        self.moments = torch.where(count > 0, moved, self.moments)

    def acted(self) -> str:
        """Batches weighed, and as how many of their rows, evenly weighed, the last one counts: (Σw)²/Σw²."""
        return f"{self.calls:,} batches weighed, the last worth {self.evenness:.0%} of its rows" if self.calls else ""

    def memory(self) -> dict[str, Tensor]:
        """The running losses and moments."""
        return {"history": self.history, "moments": self.moments, "evenness": self.evenness}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.history, self.moments, self.evenness = (memory[name] for name in ("history", "moments", "evenness"))
