"""A student that takes the gradient steps, and a teacher that follows it slowly and answers.

    θ' ← θ' - η · slope of the loss,    θ ← (1 - a) θ + a θ'        (Tarvainen and Valpola 2017, 1703.01780)

θ, the method's state, is the running mean of the student's states θ'; both are elastic states of one model.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import RADIUS, Method, is_norm
from aet.adaptation.beliefs import CLASSES, entropy
from aet.adaptation.class_memory import ClassMemory
from aet.adaptation.descent import Descent
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.drift import drifted


class Teacher(Method):
    """Settings that it reads: `lr` of the student's Adam, `strength` of the drift that its views of rows have."""

    defaults: ClassVar[dict[str, Any]] = {"lr": 1e-3, "strength": 1.0}
    needs: ClassVar[tuple[str, ...]] = CLASSES

    def reset(self) -> None:
        """Back to the source, student and teacher."""
        super().reset()
        self.student = self.state
        self.descent = Descent(self.settings["lr"])
        self.draws = torch.Generator().manual_seed(0)

    def moves(self, name: str) -> bool:
        """Which dials the student moves: by default those of the norms."""
        return is_norm(name)

    def view(self, rows: Batch) -> Batch:
        """The rows as another drift would show them, on the model's device."""
        return drifted(self.model, rows.to("cpu"), self.settings["strength"], self.draws).to(self.model.device)

    def logits(self, rows: Batch, state: ElasticState | None) -> Tensor:
        """Logits (B, width) of rows on the model's device under a state, without a gradient; a pass."""
        self.passes += len(rows)
        with applied(state), torch.no_grad():
            found: Tensor = self.model(rows)
        return found

    @abstractmethod
    def loss(self, rows: Batch, taught: Any) -> Tensor:
        """What is to fall for the student, under its active state."""

    def study(self, rows: Batch, taught: Any) -> bool:
        """A step of the student; False, and no step, without a finite slope."""
        slopes = self.slopes(lambda _: self.loss(rows, taught), self.student, self.moves)
        self.passes += 3.0 * len(rows)
        if slopes:
            self.student = self.descent(self.student, slopes).clipped(RADIUS)
        return bool(slopes)

    def follow(self, rate: float) -> None:
        """The teacher goes a share `rate` of the way to the student."""
        self.state = self.state.map(lambda name, t: t.lerp(self.student[name], rate))

    def memory(self) -> dict[str, Tensor]:
        """The student, its optimiser, and where the draws stand."""
        student = {f"student.{name}": t for name, t in self.student.items()}
        return {**student, **self.descent.memory(), "draws": self.draws.get_state()}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.student = self.state.map(lambda name, t: memory[f"student.{name}"].to(t))
        self.descent.load_memory({name: t.to(self.model.device) for name, t in memory.items()})
        self.draws = torch.Generator().manual_seed(0)
        self.draws.set_state(memory["draws"].cpu())


class RememberingTeacher(Teacher):
    """Studies a memory that is balanced over the classes, each time `every` rows have come.

    Settings that it reads besides: `memory` rows, `every` rows.
    """

    defaults: ClassVar[dict[str, Any]] = {**Teacher.defaults, "memory": 64, "every": 64}
    needs: ClassVar[tuple[str, ...]] = ("label",)

    def reset(self) -> None:
        """Back to the source, with nothing remembered."""
        super().reset()
        self.bank = ClassMemory(self.settings["memory"], self.model.output.width)
        self.since = 0

    def learn(self, batch: Batch) -> None:
        """Remember the rows, by what the teacher said of them before any of them was studied."""
        if not len(batch):
            return
        with applied(self.state):
            logits = self.model.logits(batch)
        self.passes += len(batch)
        good = logits.isfinite().all(-1)
        rows, logits, start = batch[good], logits[good], 0
        while start < len(rows):
            index = torch.arange(start, min(len(rows), start + self.settings["every"] - self.since))
            self.bank.add(rows[index], logits[index].argmax(-1), entropy(logits[index]))
            start, self.since = start + len(index), self.since + len(index)
            if self.since == self.settings["every"]:
                self.since = 0
                assert self.bank.rows is not None
                self.renew(self.bank.rows.to(self.model.device))

    @abstractmethod
    def renew(self, rows: Batch) -> None:
        """Student and teacher move by the rows remembered."""

    def memory(self) -> dict[str, Tensor]:
        """Student, optimiser and draws, and the rows remembered."""
        return {**super().memory(), **self.bank.memory(), "since": torch.tensor(self.since)}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        super().load_memory(memory)
        self.bank.load_memory(memory)
        self.since = int(memory["since"])


def taught_entropy(logits: Tensor, taught: Tensor) -> Tensor:
    """-Σ_c q_c log softmax(z)_c of each row (N,), for a teacher's probabilities q (N, C).

    >>> taught_entropy(torch.zeros(1, 4), torch.tensor([[0.5, 0.5, 0.0, 0.0]])).exp()
    tensor([4.])
    """
    return -(taught * logits.log_softmax(-1)).sum(-1)
