"""A small memory with as many rows of each predicted class, fresh and sure ones (Yuan et al. 2023, 2303.13899: RoTTA).

A stream whose labels come sorted shows a method one class at a time; a memory that is balanced over the classes shows
it a mix. Of N places each class has N / C at most. A new row takes a free place, or that of the worst row of its class
(of a class that holds most, if the memory is full and its own class is not), where a row is the worse the higher

    H = 1 / (1 + exp(-age / N)) + u / log C,    u: the entropy of its prediction, age: rows that came after it

and only if it is better than the row that would go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from aet.attention.state import under
from aet.batch import Batch


class ClassMemory:
    """At most `size` rows.

    >>> memory = ClassMemory(size=4, classes=2)
    >>> rows = Batch({"x": torch.arange(6.0)[:, None]})
    >>> memory.add(rows, torch.tensor([0, 0, 0, 0, 0, 1]), torch.tensor([0.6, 0.1, 0.2, 0.3, 0.4, 0.5]))
    >>> memory.classes_held.tolist(), len(memory)
    ([0, 0, 1], 3)
    """

    def __init__(self, size: int, classes: int) -> None:
        self.size, self.classes = size, classes
        self.rows: Batch | None = None
        self.classes_held = torch.empty(0, dtype=torch.long)
        self.unsure, self.age = torch.empty(0), torch.empty(0)

    def __len__(self) -> int:
        return len(self.classes_held)

    def worth_going(self) -> Tensor:
        """H of each row held."""
        return 1 / (1 + (-self.age / self.size).exp()) + self.unsure / math.log(self.classes)

    def add(self, batch: Batch, predicted: Tensor, unsure: Tensor) -> None:
        """Offer rows with their predicted classes (B,) and entropies (B,), one after the other."""
        batch, predicted, unsure = Batch(values=batch.values).to("cpu"), predicted.cpu(), unsure.detach().cpu().float()
        every = batch if self.rows is None else Batch.concat([self.rows, batch])
        held = len(self)
        place = torch.arange(held)  # where each row held lies in `every`
        for new in range(len(batch)):
            self.age = self.age + 1
            gone = self.leaving(int(predicted[new]), float(unsure[new]))
            if gone is None:
                continue
            keep = torch.ones(len(self), dtype=torch.bool)
            keep[gone] = False
            fresh = torch.tensor([held + new])
            place = torch.cat([place[keep], fresh])
            self.classes_held = torch.cat([self.classes_held[keep], predicted[new : new + 1]])
            self.unsure = torch.cat([self.unsure[keep], unsure[new : new + 1]])
            self.age = torch.cat([self.age[keep], torch.zeros(1)])
        self.rows = every[place]

    def leaving(self, predicted: int, unsure: float) -> list[int] | None:
        """Places that go for a new row: none (an empty list), or one; None if the row is not taken."""
        counts = torch.bincount(self.classes_held, minlength=self.classes)
        if counts[predicted] * self.classes < self.size:
            if len(self) < self.size:
                return []
            rivals = counts[self.classes_held] == counts.max()
        else:
            rivals = self.classes_held == predicted
        worth = self.worth_going().masked_fill(~rivals, -math.inf)
        worst = int(worth.argmax())
        fresh = 0.5 + unsure / math.log(self.classes)
        return [worst] if float(worth[worst]) > fresh else None

    def memory(self) -> dict[str, Tensor]:
        """Everything held, by name."""
        values = {f"memory.values.{name}": t for name, t in self.rows.values.items()} if self.rows is not None else {}
        return {
            **values,
            "memory.classes": self.classes_held,
            "memory.unsure": self.unsure,
            "memory.age": self.age,
        }

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take back what `memory` gave, among other things."""
        values = under("memory.values.", memory)
        self.rows = Batch(values=values) if values else None
        self.classes_held, self.unsure, self.age = (memory[f"memory.{n}"] for n in ("classes", "unsure", "age"))
