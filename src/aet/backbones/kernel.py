"""Attention layers that call `torch.nn.functional.scaled_dot_product_attention` in a forward of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aet.backbones.attached import mentions
from aet.backbones.dials import PROBE, AttentionDials
from aet.errors import NotElastic

_INSIDE: ContextVar[bool] = ContextVar("aet_inside_kernel", default=False)
"""Whether the innermost layer has moved this call already, so that the layers around it leave it alone."""


def calls_kernel(module: nn.Module) -> bool:
    """Whether a module's own code calls the kernel."""
    own = not type(module).__module__.startswith("torch.nn.")
    return own and next(mentions(type(module), "scaled_dot_product_attention"), None) is not None


class KernelDials(AttentionDials):
    """The dials of such a layer, for q (B, Hq, T, D), k and v (B, Hkv, S, D)."""

    heads_first = True

    def intercept(self) -> None:
        """A forward for this layer alone."""
        self.replace_forward()

    def release(self) -> None:
        """The forward of before."""
        self.restore_forward()

    def forward(self, *args: Any, **named: Any) -> Any:
        """The host's forward, with its calls of the kernel moved."""
        before = self.__dict__["before"]
        own: Callable[..., Any] = type(self.host).forward.__get__(self.host) if before is None else before
        if not self.dials() and PROBE.get() is None:
            return own(*args, **named)
        with _Intercepted(self):
            return own(*args, **named)

    def kernel(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **named: Any) -> Any:
        """The kernel under the dials."""
        if query.ndim != 4:
            raise NotElastic(
                f"{type(self.host).__name__} attends over tensors of {query.ndim} axes. Expected (batch, heads, "
                "tokens, channels). Add the axis of the heads, x[:, None], around the call."
            )

        def attention(query: Tensor, value: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(query, key, value, *args, **named)

        return self.attended(attention, query, key, value)


class _Intercepted(TorchFunctionMode):
    def __init__(self, dials: KernelDials) -> None:
        super().__init__()
        self.part = dials

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is not F.scaled_dot_product_attention or _INSIDE.get():
            return func(*args, **(kwargs or {}))
        token = _INSIDE.set(True)
        try:
            return self.part.kernel(*args, **(kwargs or {}))
        finally:
            _INSIDE.reset(token)
