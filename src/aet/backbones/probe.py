"""The trial pass: one small batch through a model, to see that every attention layer asks its dials, and of what size.

Inputs are given as `example`, or made up from the configuration of a Hugging Face model.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from aet.attention.state import applied
from aet.backbones.dials import PROBE, AttentionDials
from aet.backbones.norms import is_norm
from aet.backbones.rotary import rotary_columns
from aet.backbones.sources import Record, Source, find, is_projection
from aet.errors import NotElastic


class Probe:
    """What a trial pass sees of attention layers."""

    def __init__(self) -> None:
        self.records: dict[AttentionDials, list[Record]] = {}
        self.angles: dict[AttentionDials, Tensor] = {}
        self.mixed: dict[AttentionDials, Tensor] = {}

    def see(self, dials: AttentionDials, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Take sizes, rotary pairs and sources from q (B, Hq, T, D), k (B, Hkv, S, D), v (B, Hkv, S, Dv)."""
        dials.size(query, key, value)
        dials.columns = rotary_columns(dials.host, dials.head_dim, self.angles.get(dials))
        sizes = (dials.heads, dials.kv_heads, dials.head_dim, dials.value_dim)
        for role, seen in (("query", query), ("value", value)):
            source = find(role, seen, sizes, self.records.get(dials, []))
            if source is not None:
                dials.sources[role] = source

    def went_on(self, dials: AttentionDials, mixed: Tensor) -> None:
        """What the layer goes on with, flat as its output projection takes it, (B, T, Hq·Dv)."""
        self.mixed[dials] = (mixed.transpose(1, 2) if dials.heads_first else mixed).flatten(2)

    @contextmanager
    def watching(self, parts: list[AttentionDials]) -> Iterator[None]:
        """Within the context it sees what passes through the hosts of these."""
        handles = [part.host.register_forward_pre_hook(self._angles(part), with_kwargs=True) for part in parts]
        for part in parts:
            for path, module in part.host.named_modules():
                if is_projection(module) or is_norm(module):
                    handles.append(module.register_forward_hook(self._record(part, path)))
        token = PROBE.set(self)
        try:
            yield
        finally:
            PROBE.reset(token)
            for handle in handles:
                handle.remove()

    def _angles(self, part: AttentionDials) -> Any:
        def hook(host: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            self.records[part] = []
            for given in (*inputs, *named.values()):
                if isinstance(given, tuple) and len(given) == 2 and all(isinstance(x, Tensor) for x in given):
                    self.angles[part] = given[0]

        return hook

    def _record(self, part: AttentionDials, path: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
            if isinstance(out, Tensor):
                self.records.setdefault(part, []).append((path, module, out))
            mixed = self.mixed.get(part)
            if mixed is not None and is_projection(module) and inputs and torch.equal(inputs[0], mixed):
                part.sources["mixed"] = Source(path, torch.arange(mixed.shape[-1]), enters=True)

        return hook


def trial(module: nn.Module, example: Any) -> list[Tensor]:
    """The outputs of one pass without a state, in evaluation and without a gradient; the module is as before."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(), applied(None):
            torch.manual_seed(0)
            return list(_tensors(_answers(module, example)))
    finally:
        for part, mode in modes:
            part.training = mode


def _answers(module: nn.Module, example: Any) -> Any:
    if isinstance(example, Mapping):
        return module(**example)
    if isinstance(example, tuple | list):
        return module(*example)
    if example is not None:
        return module(example)
    outs = []
    for model in pretrained(module):
        try:
            base = model.base_model
            whole = base if base.main_input_name in signature(base.forward).parameters else model
            outs.append(whole(**made_up(whole)))
        except (TypeError, ValueError, RuntimeError, KeyError, IndexError, AttributeError) as error:
            raise NotElastic(
                f"No trial pass could be made through {type(model).__name__} with inputs made up from its "
                f"configuration ({type(error).__name__}: {error}). Expected a pass that shows that every attention "
                "layer is reached. Give a small batch of what it takes: aet.elasticize(model, example={...})."
            ) from error
    return outs


def pretrained(module: nn.Module) -> list[Any]:
    """The outermost Hugging Face models within a module."""
    library = sys.modules.get("transformers.modeling_utils")  # who holds such a model has it loaded
    if library is None:
        return []
    if isinstance(module, library.PreTrainedModel):
        return [module]
    return [model for child in module.children() for model in pretrained(child)]


def made_up(model: Any) -> dict[str, Tensor]:
    """Two rows that a Hugging Face model takes."""
    config, kind = model.config, model.main_input_name
    like = next(p for p in model.parameters() if p.is_floating_point())
    given: dict[str, Tensor] = {}
    if kind == "input_ids":
        given["input_ids"] = _tokens(config.get_text_config(), like)
    if kind == "input_values":
        given[kind] = torch.randn(2, 400 + 8 * getattr(config, "inputs_to_logits_ratio", 320))
    if kind == "input_features":
        given[kind] = torch.randn(2, config.num_mel_bins, 2 * config.max_source_positions)
    seer = config if kind == "pixel_values" else getattr(config, "vision_config", None)
    if seer is not None:
        side = seer.image_size
        height, width = side if isinstance(side, tuple | list) else (side, side)
        given["pixel_values"] = torch.randn(2, getattr(seer, "num_channels", 3), height, width)
    if getattr(config, "is_encoder_decoder", False):
        given["decoder_input_ids"] = _tokens(config.get_text_config(decoder=True), like)
    return {name: x.to(like.device, like.dtype if x.is_floating_point() else x.dtype) for name, x in given.items()}


def _tokens(config: Any, like: Tensor) -> Tensor:
    """(2, 7), with the end of a text where some heads look for it."""
    ids = torch.randint(min(5, config.vocab_size - 1), config.vocab_size, (2, 7))
    end = getattr(config, "eos_token_id", None)
    if isinstance(end, int) and 0 <= end < config.vocab_size:
        ids[ids == end] = min(5, config.vocab_size - 1)
        ids[:, -1] = end
    return ids


def _tensors(out: Any) -> Iterator[Tensor]:
    """The floating tensors in an answer."""
    if isinstance(out, Tensor):
        if out.is_floating_point():
            yield out
    elif isinstance(out, Mapping):
        for value in out.values():
            yield from _tensors(value)
    elif isinstance(out, tuple | list):
        for value in out:
            yield from _tensors(value)
