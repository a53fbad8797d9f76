"""Several processes that train one model together: what `torchrun` starts, or what has set up torch.distributed.

    torchrun --standalone --nproc-per-node=2 -m aet train rows.csv --target machine

Every process reads the table and holds the model; of the rows of each step each takes every n-th, and the gradients are
summed, so that a step is the one that a single process would take. Only the first process writes files and speaks.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aet.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from aet.batch import Batch


@dataclass(frozen=True)
class Ranks:
    """One of `size` processes.

    >>> import torch
    >>> from aet.batch import Batch
    >>> Ranks(1, 2).share(Batch({"x": torch.arange(5)})).values["x"]
    tensor([1, 3])
    """

    rank: int = 0
    size: int = 1

    def share(self, batch: Batch) -> Batch:
        """The rows of a batch that this process takes."""
        return batch.map(lambda t: t[self.rank :: self.size]) if self.size > 1 else batch

    def summed(self, parameters: Sequence[nn.Parameter], total: Tensor) -> Tensor:
        """Sum the gradients over all processes, in place, and give the sum of `total` (), a figure of this one's rows.

        A weight that no process has a gradient for keeps none.
        """
        import torch
        from torch import distributed

        if self.size == 1:
            return total
        has = torch.tensor([p.grad is not None for p in parameters], dtype=total.dtype, device=total.device)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([total.reshape(1), has, *(grad.reshape(-1).to(total.dtype) for grad in grads)])
        distributed.all_reduce(flat)
        start = 1 + len(grads)
        for p, known in zip(parameters, flat[1:start] > 0, strict=True):
            if known:
                p.grad = flat[start : start + p.numel()].view_as(p).to(p.dtype)
            start += p.numel()
        return flat[0]

    def agree(self, model: nn.Module, epoch: int) -> None:
        """ConfigError unless all processes hold the same weights, to the bit."""
        import hashlib

        import torch
        from torch import distributed

        if self.size == 1:
            return
        digest, device = hashlib.sha256(), next(model.parameters()).device
        for p in model.parameters():
            digest.update(p.detach().contiguous().view(-1).view(torch.uint8).cpu().numpy().tobytes())
        own = torch.tensor(int.from_bytes(digest.digest()[:7]), device=device)
        low, high = own.clone(), own.clone()
        distributed.all_reduce(low, distributed.ReduceOp.MIN)
        distributed.all_reduce(high, distributed.ReduceOp.MAX)
        if not torch.equal(low, high):
            raise ConfigError(
                f"After epoch {epoch} the {self.size} processes hold different weights: a switch that is on draws or "
                "measures in each for itself. Turn the switches on one by one to find it, or train in one process."
            )


def ranks() -> Ranks:
    """The processes that this one is among; joins them if `torchrun` started it and it has not yet."""
    from torch import cuda, distributed

    if not distributed.is_available():
        return Ranks()
    if not distributed.is_initialized():
        if not started_together():
            return Ranks()
        if cuda.is_available():
            cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if cuda.is_available() else "gloo")
        atexit.register(distributed.destroy_process_group)
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def started_together() -> bool:
    """Whether `torchrun` started this process as one of several."""
    return "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"


def leads() -> bool:
    """Whether this process writes files and speaks: it is alone, or the first."""
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return bool(distributed.get_rank() == 0)
    return not started_together() or os.environ["RANK"] == "0"
