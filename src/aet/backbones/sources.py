"""Where the queries and values of an attention layer come from and where its mixed values go: found in a trial pass.

Models pack their projections in several ways. Instead of a table of model names, the numbers that reach the attention
are compared with those that the layer's linear maps and norms put out. Of a sequence the first token is taken, which
rotary positions leave as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aet.backbones.norms import is_norm, scale_norm
from aet.errors import ConfigError


def is_projection(module: nn.Module) -> bool:
    """Whether it is nn.Linear, or the Conv1D of transformers, whose weight is the other way round."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


@dataclass(frozen=True)
class Source:
    """Channels `index` (H·D,) of the part `path` within the attention layer are, times `ratio`, what plays the role."""

    path: str
    index: Tensor
    ratio: float = 1.0
    per_head: tuple[int, ...] = ()
    """Of a norm that all heads share, the shape its weight takes when each head has its own; else empty."""
    enters: bool = False
    """Whether the channels are the part's inputs, not its outputs."""

    def move(self, layer: nn.Module, gain: Tensor, shift: Tensor | None) -> None:
        """Change the part so that gain (H, 1, D) times what it gave, plus shift, plays the role."""
        part = layer.get_submodule(self.path)
        if is_norm(part):
            self.move_norm(part, gain, shift)
            return
        weight = part.weight
        if not (is_projection(part) and isinstance(weight, Tensor) and weight.is_floating_point()):
            raise ConfigError(
                f"{self.path} is now {type(part).__name__}; expected the linear layer that was there when the "
                "model was made elastic. Merge its adapter first (merge_and_unload of peft), then the state."
            )
        axis = int(isinstance(part, nn.Linear) == self.enters)
        every = torch.ones(weight.shape[axis], dtype=weight.dtype, device=weight.device)
        every[self.index] = gain.reshape(-1).to(weight)
        weight.mul_(every.unsqueeze(1 - axis))
        if self.enters:
            return
        bias = part.bias
        if bias is None and shift is not None:
            bias = part.bias = nn.Parameter(torch.zeros_like(every), requires_grad=weight.requires_grad)
        if isinstance(bias, Tensor):
            bias.mul_(every)
            if shift is not None:
                bias[self.index] += shift.reshape(-1).to(bias) / self.ratio

    def move_norm(self, part: nn.Module, gain: Tensor, shift: Tensor | None) -> None:
        """The same for a norm between projection and attention, which has no place for a shift of its own a head."""
        fixed = isinstance(part, nn.LayerNorm | nn.RMSNorm) and self.per_head
        if fixed or isinstance(getattr(part, "bias", None), Tensor) or (shift is not None and bool(shift.any())):
            raise ConfigError(
                f"The state cannot be folded into the norm {self.path}, which all heads share and PyTorch keeps so. "
                "Expected a state that leaves q_scale, q_shift, k_scale and log_beta alone there. Fold the other "
                "dials, state.select(lambda name: ...), or serve the model under `applied(state)`."
            )
        if self.per_head:
            scale_norm(part, gain.reshape(self.per_head))
        else:
            every = torch.ones_like(part.weight)  # type: ignore[arg-type]
            every[self.index] = gain.reshape(-1).to(every)
            scale_norm(part, every)


Record = tuple[str, nn.Module, Tensor]
"""Path within the layer, part, what it put out."""


def find(role: str, seen: Tensor, sizes: tuple[int, int, int, int], records: Iterable[Record]) -> Source | None:
    """The source of `seen` (B, H, T, D), the query or the value; sizes (Hq, Hkv, D, Dv)."""
    want = seen[:, :, 0]  # (B, H, D)
    for path, part, out in reversed(list(records)):
        if out.shape[0] != seen.shape[0]:
            continue
        if out.ndim == 4:
            per_head = seen.shape[3] == out.shape[3] and is_norm(part)
            if per_head and (ratio := _ratio(want, out[:, 0])):
                return Source(path, torch.arange(seen.shape[3]), ratio, (seen.shape[1], seen.shape[3]))
            if per_head and (ratio := _ratio(want, out[:, :, 0])):
                return Source(path, torch.arange(seen.shape[3]), ratio, (seen.shape[1], 1, seen.shape[3]))
        elif out.ndim == 3:
            for index in _layouts(role, *sizes):
                if int(index[-1]) < out.shape[2] and (ratio := _ratio(want.flatten(1), out[:, 0][:, index])):
                    return Source(path, index, ratio)
    return None


def _layouts(role: str, heads: int, kv_heads: int, dim: int, value_dim: int) -> list[Tensor]:
    """Channels of a role in the layouts that models use: alone, [q, k, v], and a key head's [queries..., k, v]."""
    queries, keys, values = heads * dim, kv_heads * dim, kv_heads * value_dim
    group = heads // kv_heads
    if role == "query":
        wide = group * dim
        packed = torch.arange(kv_heads)[:, None] * (wide + dim + value_dim) + torch.arange(wide)
        return [torch.arange(queries), packed.flatten()]
    packed = torch.arange(kv_heads)[:, None] * (group * dim + dim + value_dim) + group * dim + dim
    packed = packed + torch.arange(value_dim)
    return [torch.arange(values), torch.arange(values) + queries + keys, packed.flatten()]


def _ratio(want: Tensor, have: Tensor) -> float | None:
    """The r with want = r·have; None where there is none."""
    if want.shape != have.shape:
        return None
    want, have = want.double(), have.double()
    ratio = (want * have).sum() / have.square().sum().clamp_min(1e-30)
    close = (want - ratio * have).norm() <= 1e-2 * want.norm()
    return float(ratio) if close and ratio != 0 else None
