"""Late labels train the elastic state, anchored to the source.

    L = mean_i ℓ(z(x_i; s), y_i) + a / n · ‖s - b‖²

over the n labelled rows so far (the newest `window`), all dials moving, from the base b: the source, or the state that
another method proposes. The anchor is a normal prior around b, so it holds less the more labels there are; without it
the first labels are learned by heart, and rows that had been answered rightly are lost. The weights of the source stay;
a few kilobytes learn from a handful of rows what full fine-tuning would. How a, rate and steps were chosen:
docs/lab/adaptation.md.

Behind a pretrained network that is the only input the dials of trunk and head move alone, unless told otherwise: the
network reads each labelled row once, and a step costs the trunk alone (docs/lab/text.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS, RADIUS, Method
from aet.adaptation.read_once import ReadOnce
from aet.attention.state import ElasticState, under
from aet.batch import Batch
from aet.errors import ConfigError
from aet.inputs.backbone import Backbone

DIALS = ("auto", "all", "trunk")


@METHODS.register("feedback")
class Feedback(Method):
    """Settings: `lr` of Adam, `steps` a call at most (`steps_a_label` a new label), rows a step `batch`, `anchor` a,
    newest labelled rows kept `window`, which dials move: `dials` "all", "trunk" (and head), or "auto".
    """

    defaults: ClassVar[dict[str, Any]] = {
        "lr": 0.02,
        "steps": 60,
        "steps_a_label": 4,
        "batch": 64,
        "anchor": 3.0,
        "window": 1024,
        "dials": "auto",
    }

    def reset(self) -> None:
        """Back to the source, without labelled rows."""
        super().reset()
        self.base = self.state
        if self.settings["dials"] not in DIALS:
            raise ConfigError(f"The setting dials of 'feedback' is one of {DIALS}; got {self.settings['dials']!r}.")
        alone = len(self.model.inputs) == 1
        behind = alone and any(isinstance(part, Backbone) for part in self.model.inputs.modules())
        told = {"all": False, "trunk": True}.get(self.settings["dials"], behind)
        self.once = ReadOnce(self.model) if told else None
        self.labelled: Batch | None = None
        self.draws = torch.Generator().manual_seed(0)

    def rebase(self, base: ElasticState) -> None:
        """Keep what the labels taught, on another base."""
        if base is not self.base:
            moved = any(base[name] is not tensor for name, tensor in self.base.items() if name.startswith("inputs."))
            if self.once is not None and moved:
                self.once = ReadOnce(self.model)
            self.base, self.state = base, self.on(base)

    def on(self, base: ElasticState) -> ElasticState:
        """What the labels taught, on a base b': s + b' - b."""
        moved = {
            name: self.state[name] + base[name] - tensor
            for name, tensor in self.base.items()
            if base[name] is not tensor
        }
        return self.state.updated(ElasticState(moved).clipped(RADIUS))

    def label(self, batch: Batch) -> None:
        """Take the rows in and train on all of them, from the state so far."""
        if not len(batch):
            return
        batch = Batch(values=batch.values, target=batch.target)
        known = batch if self.labelled is None else Batch.concat([self.labelled, batch])
        self.labelled = known[torch.arange(len(known))[-self.settings["window"] :]]
        steps = min(self.settings["steps"], self.settings["steps_a_label"] * len(batch))
        if self.once is None:
            self.passes += 3.0 * steps * min(len(self.labelled), self.settings["batch"])
        else:
            self.passes += self.once.read(self.labelled, len(batch), self.base)
        self.state = self.descend(self.loss, self.state, self.moves, self.settings["lr"], steps)

    def moves(self, name: str) -> bool:
        """Whether labels move a dial."""
        return self.once is None or not name.startswith("inputs.")

    def loss(self, state: ElasticState) -> Tensor:
        """The formula above on a draw of the labelled rows, without a draw if they are few."""
        assert self.labelled is not None
        rows, size, known = self.labelled, self.settings["batch"], len(self.labelled)
        index = torch.randperm(known, generator=self.draws)[:size] if known > size else torch.arange(known)
        rows = rows[index].to(self.model.device)
        assert rows.target is not None
        anchor = torch.stack([(state[name] - t).square().sum() for name, t in self.base.items()]).sum()
        logits = self.model(rows) if self.once is None else self.once(rows, index)
        fit: Tensor = self.model.output.loss(logits, rows.target)
        return fit + float(self.settings["anchor"]) / known * anchor

    def memory(self) -> dict[str, Tensor]:
        """The labelled rows, and where the draws from them stand."""
        if self.labelled is None or self.labelled.target is None:
            return {}
        rows = {f"values.{name}": t for name, t in self.labelled.values.items()}
        return {**rows, "target": self.labelled.target, "draws": self.draws.get_state()}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back the labelled rows and the draws."""
        values = under("values.", memory)
        self.labelled = Batch(values=values, target=memory["target"]) if values else None
        self.once = None if self.once is None else ReadOnce(self.model)
        self.draws = torch.Generator().manual_seed(0)
        if values:
            self.draws.set_state(memory["draws"])
