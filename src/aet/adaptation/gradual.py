"""Methods that take a gradient step on each batch after they answered it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from aet.adaptation.base import RADIUS, Method, is_norm
from aet.adaptation.beliefs import CLASSES
from aet.adaptation.descent import Descent
from aet.batch import Batch


class Gradual(Method):
    """`loss` of a batch falls; the optimiser remembers its steps. Settings that it reads: `lr`, `steps` if there."""

    needs: ClassVar[tuple[str, ...]] = CLASSES
    rule: ClassVar[Literal["adam", "sgd"]] = "adam"

    def reset(self) -> None:
        """Back to the source, with an optimiser that took no step."""
        super().reset()
        self.descent = Descent(self.settings["lr"], self.rule)

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor | None:
        """What is to fall, under the active state; None where no row of the batch is to be learned from."""

    def moves(self, name: str) -> bool:
        """Which dials move: by default those of the norms."""
        return is_norm(name)

    def learn(self, batch: Batch) -> None:
        """One step, or `steps`; a pass without a row to learn from costs no backward."""
        if not len(batch):
            return
        batch = batch.to(self.model.device)
        for _ in range(self.settings.get("steps", 1)):
            slopes = self.slopes(lambda _: self.loss(batch), self.state, self.moves)
            self.passes += (3.0 if slopes else 1.0) * len(batch)
            if not slopes:
                break
            self.state = self.descent(self.state, slopes).clipped(RADIUS)

    def memory(self) -> dict[str, Tensor]:
        """The optimiser's."""
        return self.descent.memory()

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take it back."""
        self.descent.load_memory({name: t.to(self.model.device) for name, t in memory.items()})
