"""RDumb: ETA, sent back to the source every 1,000 steps (Press et al. 2023, 2306.05401).

    s ← 0, p̄ ← none, optimiser ← new   after every T steps;  else as ETA

A method that forgets everything cannot collapse for good. A batch is a step, learned from or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.methods.eata import Eta
from aet.batch import Batch


@METHODS.register("rdumb")
class Rdumb(Eta):
    """Settings: those of `eta`, and `every` T."""

    defaults: ClassVar[dict[str, Any]] = {**Eta.defaults, "every": 1000}

    def reset(self) -> None:
        """Back to the source, at step 0."""
        super().reset()
        self.step = 0

    def learn(self, batch: Batch) -> None:
        """A step of ETA, from the source if one is due."""
        if not len(batch):
            return
        if self.step == self.settings["every"]:
            self.reset()
        self.step += 1
        super().learn(batch)

    def memory(self) -> dict[str, Tensor]:
        """ETA's, and the step."""
        return {**super().memory(), "step": torch.tensor(self.step)}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        super().load_memory(memory)
        self.step = int(memory["step"])
