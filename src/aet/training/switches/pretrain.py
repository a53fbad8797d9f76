"""Masked pretraining: before the first step, inputs and trunk learn to tell hidden tokens of rows without an answer.

The formula and its sources stand in `aet.training.pretrain`: columns, patches and text pieces are hidden and told from
those left. The rows are those of a file, without answers, and the training rows; without a file the training rows
alone. What was learned is where training starts; the heads that told are thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.batch import Batch
from aet.errors import ConfigError
from aet.training.pretrain import pretrain
from aet.training.switch import SWITCHES, Run, Switch
from aet.training.unlabelled import unlabelled_rows


@SWITCHES.register("pretrain")
class Pretrain(Switch):
    """Settings: `file` of rows without answers, or none; `epochs` over all rows; `share` of tokens hidden; `lr`.

    >>> Pretrain(share=0.0)
    Traceback (most recent call last):
    aet.errors.ConfigError: The setting share of the switch 'pretrain' is above 0; got 0.0: no token ...
    """

    name = "pretrain"
    defaults: ClassVar[dict[str, Any]] = {"file": "", "epochs": 20, "share": 0.3, "lr": 1e-3}
    fractions = ("share",)
    leads = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for setting in ("share", "lr"):
            if self.settings[setting] == 0:
                what = "no token would be hidden" if setting == "share" else "nothing would be learned"
                raise ConfigError(
                    f"The setting {setting} of the switch 'pretrain' is above 0; got {self.settings[setting]}: {what}. "
                    f"The default is {self.defaults[setting]}."
                )
        self.seen = torch.zeros(3, dtype=torch.float64)
        """Rows, and the mean loss of the first and of the last epoch."""

    def begin(self, run: Run) -> None:
        """Learn from the rows; training rows that count 0 are left out."""
        counted = torch.ones(len(run.train), dtype=torch.bool) if run.train.weight is None else run.train.weight > 0
        rows = Batch(run.train[counted.nonzero()[:, 0]].values)
        if self.settings["file"]:
            rows = Batch.concat([Batch(unlabelled_rows(self.name, self.settings["file"], run.model).values), rows])
        epochs, share, lr = (self.settings[name] for name in ("epochs", "share", "lr"))
        losses = pretrain(run.model, rows, epochs, float(share), float(lr), run.folder)
        self.calls = epochs
        self.seen = torch.tensor([len(rows), losses[0], losses[-1]], dtype=torch.float64)

    def acted(self) -> str:
        """Rows, epochs, and how far the loss fell."""
        rows, first, last = self.seen.tolist()
        told = f"learned from {rows:,.0f} rows in {self.calls} epochs, loss of hidden tokens {first:.3f} to {last:.3f}"
        return told if self.calls else ""

    def memory(self) -> dict[str, Tensor]:
        """What `acted` says."""
        return {"seen": self.seen}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take it back."""
        self.seen = memory["seen"]
