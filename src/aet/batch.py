"""What travels between the rooms: one batch of encoded rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Encoded rows.

    values: tensors by input name, each (B, ...); target (B,) or (B, K) or None; weight (B,) or None;
    positions (B,) of the rows in the table they came from; streams (B,) stream ids or None.

    >>> import torch
    >>> batch = Batch({"number": torch.zeros(3, 4, 1)})
    >>> len(batch), len(batch[torch.tensor([0, 2])])
    (3, 2)
    """

    values: dict[str, Tensor]
    target: Tensor | None = None
    weight: Tensor | None = None
    positions: Tensor | None = None
    streams: Tensor | None = None

    def __len__(self) -> int:
        return next(iter(self.values.values())).shape[0]  # a tensor's own len takes three times as long

    def __getitem__(self, index: Tensor) -> Batch:
        return self.map(lambda t: t[index])

    def to(self, device: torch.device | str) -> Batch:
        """The same rows on another device."""
        return self.map(lambda t: t.to(device, non_blocking=True))

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with `change(tensor)` in place of each tensor."""

        def part(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else change(tensor)

        return Batch(
            values={name: change(tensor) for name, tensor in self.values.items()},
            target=part(self.target),
            weight=part(self.weight),
            positions=part(self.positions),
            streams=part(self.streams),
        )

    @staticmethod
    def concat(batches: Sequence[Batch]) -> Batch:
        """Rows of several batches, in order; a part that any of them lacks is dropped."""

        def join(parts: Sequence[Tensor | None]) -> Tensor | None:
            present = [p for p in parts if p is not None]
            return torch.cat(present) if len(present) == len(parts) else None

        return Batch(
            values={name: torch.cat([b.values[name] for b in batches]) for name in batches[0].values},
            target=join([b.target for b in batches]),
            weight=join([b.weight for b in batches]),
            positions=join([b.positions for b in batches]),
            streams=join([b.streams for b in batches]),
        )


def newest(seen: Tensor | None, fresh: Tensor, most: int) -> Tensor:
    """The last `most` of the rows seen and the fresh ones; a copy, so that what fell out of the window is freed.

    >>> newest(torch.tensor([1, 2]), torch.tensor([3]), most=2)
    tensor([2, 3])
    """
    fresh = fresh[-most:]
    before = fresh[:0] if seen is None else seen[max(0, len(seen) + len(fresh) - most) :]
    return torch.cat([before, fresh])


def some_rows(rows: int, most: int, seed: int) -> Tensor:
    """Numbers of at most `most` of so many rows, drawn by the seed.

    >>> sorted(some_rows(3, most=5, seed=0).tolist()), len(some_rows(9, most=5, seed=0))
    ([0, 1, 2], 5)
    """
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed))[:most]
