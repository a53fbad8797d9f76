"""Attention layers of Hugging Face models that ask transformers' `AttentionInterface` which function to use.

Each such layer looks up the name in its configuration. It is given a view of the configuration whose name is `aet_` and
the model's own, and under that name the interface has `elastic_attention`, which wraps whatever function the own name
stands for: sdpa, eager with its soft cap or sinks, flash. The model's configuration itself stays, so that masks are
made for the own name, `output_attentions`, `generate`, `set_attn_implementation` and `save_pretrained` work as before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

from torch import Tensor, nn

from aet.backbones.attached import CHILD, mentions
from aet.backbones.dials import PROBE, AttentionDials

PREFIX = "aet_"
_WINDOWED = ("Swin", "Swinv2", "DonutSwin", "MaskFormerSwin", "ClapAudio")
"""Layers whose batch is each image's windows one after the other, by the start of their class's name."""


class ConfigView:
    """A configuration under another attention name; everything else, later changes too, is the model's own."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    @property
    def _attn_implementation(self) -> str:
        self.name: str = self.plain._attn_implementation or "eager"
        return PREFIX + self.name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "plain":  # not there yet while a copy is made
            raise AttributeError(name)
        return getattr(self.plain, name)


class InterfaceDials(AttentionDials):
    """The dials of a layer that asks the interface."""

    def intercept(self) -> None:
        """Give the layer another view of its configuration, and the names in it a function."""
        from transformers import AttentionInterface, AttentionMaskInterface

        registry, _ = interface_of(type(self.host))
        for name in [*registry, "eager"]:
            if not name.startswith(PREFIX):
                AttentionInterface.register(PREFIX + name, elastic_attention)
        masks = AttentionMaskInterface._global_mapping
        for name, mask in list(masks.items()):
            cast(Any, AttentionMaskInterface).register(name if name.startswith(PREFIX) else PREFIX + name, mask)
        self.host.config = ConfigView(self.host.config)  # type: ignore[assignment]
        self.repeats = type(self.host).__name__.startswith(_WINDOWED)

    def release(self) -> None:
        """The layer's own configuration again."""
        view = self.host.config
        assert isinstance(view, ConfigView)
        self.host.config = view.plain

    def plain(self) -> Callable[..., Any]:
        """The function that the layer would call without us."""
        registry, eager = interface_of(type(self.host))
        view = self.host.config
        assert isinstance(view, ConfigView)
        found: Callable[..., Any] = registry.get_interface(view.name, eager)  # the layer has just asked for the name
        return found


def asks_interface(module: nn.Module) -> bool:
    """Whether a module is an attention layer that asks the interface."""
    named = hasattr(getattr(module, "config", None), "_attn_implementation")
    return named and next(mentions(type(module), "get_interface"), None) is not None


def interface_of(kind: type) -> tuple[Any, Callable[..., Any] | None]:
    """Of a class of layers the interface that it asks, and the function that it names for "eager"."""
    return _interface_of(cast(Any, kind))


@cache
def _interface_of(kind: Any) -> tuple[Any, Callable[..., Any] | None]:
    function = next(mentions(kind, "get_interface"))
    names, scope = function.__code__.co_names, function.__globals__
    registry = next(scope[name] for name in names if hasattr(scope.get(name), "get_interface"))
    eager = next((scope[name] for name in names if "eager" in name and callable(scope.get(name))), None)
    return registry, eager


def elastic_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *args: Any,
    **named: Any,
) -> Any:
    """What the interface has under our names: q (B, Hq, T, D), k and v (B, Hkv, S, D) -> (B, T, Hq, Dv), weights."""
    dials = module._modules[CHILD]
    assert isinstance(dials, InterfaceDials)
    function = dials.plain()
    if PROBE.get() is not None:
        dials.inside = named.get("s_aux") is not None  # sinks take a part of the weights

    def attention(query: Tensor, value: Tensor) -> Any:
        return function(module, query, key, value, attention_mask, *args, **named)

    return dials.attended(attention, query, key, value)
