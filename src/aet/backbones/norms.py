"""Norms that aet did not build: a scale, and where the norm has a bias a shift, on their output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aet.attention.state import ElasticModule
from aet.backbones.attached import Attached
from aet.backbones.dials import alike, line
from aet.errors import ConfigError

_NAMED = re.compile(r"(Layer|RMS)_?Norm", re.IGNORECASE)


def is_norm(module: nn.Module) -> bool:
    """Whether it is a layer or RMS norm over the last axis, with a weight a channel."""
    weight = getattr(module, "weight", None)
    known = isinstance(module, nn.LayerNorm | nn.RMSNorm) or _NAMED.search(type(module).__name__) is not None
    if not known or isinstance(module, ElasticModule) or getattr(module, "data_format", "") == "channels_first":
        return False
    return isinstance(weight, Tensor) and weight.ndim == 1


def flattens(module: nn.Module) -> bool:
    """Whether a layer hands its norms the tokens of all rows, one row after the other, as one batch (B·T, dim)."""
    return type(module).__name__ in {"OPTDecoderLayer"}


def from_one(host: nn.Module) -> bool:
    """Whether a norm multiplies by 1 + weight instead of weight."""
    weight = host.weight
    assert isinstance(weight, Tensor)
    x = torch.linspace(-1, 1, len(weight), dtype=weight.dtype, device=weight.device)[None]
    zeros = {name: torch.zeros_like(p) for name, p in host.named_parameters()}
    return bool(torch.func.functional_call(host, zeros, (x,)).any())


class NormDials(Attached):
    """x (B, ..., dim) -> (1 + scale)·x + shift."""

    def __init__(self, batch_axis: int | None = 0) -> None:
        super().__init__()
        self.batch_axis = batch_axis
        """Where the rows lie in the output; None if that is not known."""

    def intercept(self) -> None:
        """A hook after the host's forward."""
        self.host.register_forward_hook(self.after)

    def release(self) -> None:
        """Take the hook off."""
        hooks = self.host._forward_hooks
        for key in [k for k, hook in hooks.items() if getattr(hook, "__self__", None) is self]:
            del hooks[key]

    @property
    def has_shift(self) -> bool:
        """Whether the host has a bias, which can take a shift in."""
        return isinstance(getattr(self.host, "bias", None), Tensor)

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(1, dim)."""
        weight = self.host.weight
        assert isinstance(weight, Tensor)
        return dict.fromkeys(("scale", "shift") if self.has_shift else ("scale",), (1, weight.shape[-1]))

    def after(self, host: nn.Module, inputs: Any, out: Tensor) -> Tensor | None:
        """The host's output under the dials."""
        moves = self.now(self.moves)
        if moves is None:
            return None
        gain, shift = moves
        return line(out, self.placed(gain, out), None if shift is None else self.placed(shift, out), fresh=True)

    def moves(self, dials: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Gain and shift, (dim,), or batched (R, 1, dim)."""
        shift = dials.get("shift")
        gain = 1 + dials["scale"]
        return (gain[0], None if shift is None else shift[0]) if gain.ndim == 2 else (gain, shift)

    def placed(self, dial: Tensor, out: Tensor) -> Tensor:
        """A dial (dim,), or batched (R, 1, dim), where it belongs in `out`."""
        dial = alike(dial, out)
        if dial.ndim == 1:
            return dial
        if self.batch_axis is None:
            raise ConfigError(
                f"{self.elastic_name} cannot tell where the rows of a batch lie: the model has attention with "
                "batch_first=False. Expected batch_first=True for a state a row. Apply one state at a time."
            )
        shape = [1] * out.ndim
        shape[self.batch_axis], shape[-1] = -1, out.shape[-1]
        return self.for_batch(dial, out.shape[self.batch_axis]).reshape(shape)

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """W ← (1 + scale)·W, b ← (1 + scale)·b + shift; 1 + W in the place of W where the norm is so."""
        gain = 1 + dials["scale"].view(-1)
        scale_norm(self.host, gain)
        if self.has_shift:
            bias = self.host.bias
            assert isinstance(bias, Tensor)
            bias.copy_(bias * gain + dials["shift"].view(-1))


def scale_norm(host: nn.Module, gain: Tensor) -> None:
    """Make the norm's output `gain` times what it was; gain (dim,), or of more axes, which the weight then gets too."""
    weight = host.weight
    assert isinstance(weight, Tensor)
    one = 1 if from_one(host) else 0
    host.weight = nn.Parameter(((weight + one) * gain - one).to(weight.dtype), requires_grad=weight.requires_grad)
