"""The door: any transformer, made elastic in place."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from aet.attention import state as states
from aet.attention.state import ElasticState, elastic_modules, name_elastic
from aet.backbones.attached import CHILD, attachments
from aet.backbones.dials import AttentionDials
from aet.backbones.interface import InterfaceDials, asks_interface
from aet.backbones.kernel import KernelDials, calls_kernel
from aet.backbones.multihead import MultiheadDials, OrdinaryPath, batch_axes, fuses
from aet.backbones.norms import NormDials, flattens, is_norm
from aet.backbones.probe import Probe, trial
from aet.errors import ConfigError, NotElastic

M = TypeVar("M", bound=nn.Module)

_ATTENTION = re.compile(r"Attention|Attn", re.IGNORECASE)
_BESIDE = re.compile(r"Output|Adapter|Pool|Mask|Norm|Embed|Bias|Rotary|Dropout|Intermediate", re.IGNORECASE)


def elasticize(module: M, example: Any = None) -> M:
    """Make the attention layers and norms of a transformer elastic, in place; returns the module.

    Each attention layer and each norm gets a child named `elastic` that holds no parameter and no buffer, so the state
    dict, `save_pretrained`, DDP and optimisers see nothing of it. Its dials are read from the state that
    `aet.attention.applied` makes active:

        out = g · softmax( β · q̃·k̃ᵀ · scale + B ) · ṽ      q̃ = q(1+s_q)+t_q,  k̃ = k(1+s_k),  ṽ = v(1+s_v)+t_v

    with `q_scale`, `q_shift` (Hq, 1, D), `k_scale` (Hkv, 1, D), `v_scale`, `v_shift` (Hkv, 1, Dv), `log_beta`,
    `log_gate` (Hq, 1, 1); a norm has `scale` and, where it has a bias, `shift`, (1, dim). After rotary positions the
    scales of a pair of channels are one number (D is then smaller) and there is no `q_shift`, so that scores still
    depend on the distance alone. At the zero state, and without one, outputs are what they were, to the bit (PyTorch's
    fused encoder, which is switched off, rounds differently). A state for each row:
    `ElasticState.stack(states).rows(index)`.

    Args:
        module: a Hugging Face model whose attention asks `AttentionInterface`; a module with `nn.MultiheadAttention`,
            `nn.TransformerEncoder` and the like; one whose layers call `F.scaled_dot_product_attention` in a forward of
            their own; or one that holds such modules.
        example: a small batch for one trial pass: named arguments in a mapping, arguments in a tuple, or one argument.
            For Hugging Face models it is made up from the configuration, and PyTorch's own layers need none.

    Raises:
        NotElastic: no attention was found, or not every attention layer was reached, or the trial pass changed an
            answer; the module is then as it was.
        ConfigError: the module is elastic already.

    >>> import aet, torch
    >>> from aet.attention import ElasticState, applied
    >>> encoder = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(16, 2, batch_first=True), 2).eval()
    >>> encoder = aet.elasticize(encoder)
    >>> state, x = ElasticState.zeros(encoder), torch.randn(3, 5, 16)
    >>> state["layers.0.self_attn.elastic.q_scale"].shape
    torch.Size([2, 1, 8])
    >>> with applied(state):
    ...     torch.equal(encoder(x), encoder(x))
    True
    >>> state = state.map(lambda name, dial: dial + 0.1)
    >>> with applied(state):
    ...     moved = encoder(x)
    >>> plain = aet.merge(encoder, state)  # for export: no dials, the state is in the weights
    >>> torch.allclose(plain(x), moved, atol=1e-5), torch.allclose(encoder(x), moved, atol=1e-2)
    (True, False)
    """
    if next(iter(elastic_modules(module)), None) is not None:
        raise ConfigError(
            f"{type(module).__name__} is elastic already, or a part of it is. Expected a module that is not. Use it "
            "as it is; aet.backbones.restore(module) takes away what aet.elasticize added."
        )
    layers = _layers(module)
    tried = [(host, part) for host, part in layers if not isinstance(part, MultiheadDials)]
    try:
        _attach_torch(module, [(host, part) for host, part in layers if isinstance(part, MultiheadDials)])
        if tried or example is not None:
            before = trial(module, example)
            for host, part in tried:
                part.attach(host)
            _check(module, [part for _, part in tried], before, example)
    except BaseException:
        restore(module)
        raise
    return name_elastic(module)


def _layers(module: nn.Module) -> list[tuple[nn.Module, AttentionDials]]:
    """Attention layers with what they will get; NotElastic where there is none, or one that cannot be reached."""
    found: list[tuple[nn.Module, AttentionDials]] = []
    for part in module.modules():
        if isinstance(part, nn.MultiheadAttention):
            found.append((part, MultiheadDials()))
        elif asks_interface(part):
            found.append((part, InterfaceDials()))
        elif calls_kernel(part):
            found.append((part, KernelDials()))
    within = {id(p) for host, _ in found for p in host.modules()}
    missed = [
        path
        for path, part in module.named_modules()
        if _ATTENTION.search(type(part).__name__)
        and not _BESIDE.search(type(part).__name__)
        and id(part) not in within
        and not any(id(p) in within for p in part.modules())
    ]
    if missed:
        raise _unreached(module, missed)
    if not found:
        raise NotElastic(
            f"{type(module).__name__} has no attention that can be made elastic. Expected layers that ask "
            "transformers' AttentionInterface, nn.MultiheadAttention, or ones that call F.scaled_dot_product_attention "
            "in their own forward; found none. Write its attention with one of these."
        )
    return found


def _attach_torch(module: nn.Module, layers: list[tuple[nn.Module, AttentionDials]]) -> None:
    """Dials of PyTorch's own attention, and of norms: what needs no trial pass, and leaves the fused path."""
    axes = batch_axes(module)
    parts = list(module.modules())
    flat = {child for part in parts if flattens(part) for child in part.children()}
    for host, part in layers:
        part.attach(host)
    for host in parts:
        if is_norm(host):
            norm = NormDials(axes[host])
            norm.repeats = host in flat
            norm.attach(host)
        elif fuses(host):
            OrdinaryPath().attach(host)


def _check(module: nn.Module, parts: list[AttentionDials], before: list[Tensor], example: Any) -> None:
    """NotElastic unless a trial pass reaches every attention layer and answers as before."""
    with Probe().watching(parts):
        after = trial(module, example)
    missed = [
        path.removesuffix(f".{CHILD}")
        for path, part in module.named_modules()
        if isinstance(part, AttentionDials) and not part.sized
    ]
    if missed:
        raise _unreached(module, missed)
    same = len(before) == len(after) and all(
        torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(before, after, strict=True)
    )
    if not same:
        raise NotElastic(
            f"{type(module).__name__} answers differently when its attention goes through the dials, without a state. "
            "Expected the same bits. Choose another attention function (attn_implementation='sdpa' or 'eager')."
        )


def _unreached(module: nn.Module, missed: list[str]) -> NotElastic:
    shown = ", ".join(missed[:4]) + (f" and {len(missed) - 4} more" if len(missed) > 4 else "")
    return NotElastic(
        f"{type(module).__name__} has attention layers that the dials do not reach: {shown}. Expected each to ask "
        "transformers' AttentionInterface, to be nn.MultiheadAttention, or to call F.scaled_dot_product_attention. If "
        "a trial pass only has to bring them other inputs, give these as `example`; else choose another model family."
    )


def restore(module: M) -> M:
    """Take away what `elasticize` added, in place; returns the module.

    >>> import aet, torch
    >>> layer = aet.elasticize(torch.nn.MultiheadAttention(8, 2))
    >>> restore(layer)
    MultiheadAttention(
      (out_proj): NonDynamicallyQuantizableLinear(in_features=8, out_features=8, bias=True)
    )
    """
    for part in attachments(module):
        part.detach()
    return module


def merge(module: M, state: ElasticState) -> M:
    """A plain copy of `module` for export, with a shared state folded into its weights; no dials and no hooks are left.

    Factors and shifts go into the projections of the query and the value, into the output projection where query heads
    of a group have gates of their own, and into the norms. A linear map without a bias gets one where a shift asks for
    it: the copy then has a key more in its state dict than its configuration says. A norm that all heads share, between
    projection and attention, gets a weight for each head. What is built by aet itself is folded by its own layers.

    Raises ConfigError for a batched state, for the state of another model, and where a layer keeps no place for a dial
    that the state moves (a layer norm between projection and attention; projections under an adapter).
    """
    return restore(states.merge(module, state))


def elastic_parameters(module: nn.Module) -> ElasticState:
    """The zero state of an elastic module as leaves that take a gradient, by name, ready for an optimiser.

    Raises NotElastic where nothing in `module` can move.

    >>> import aet, torch
    >>> from aet.attention import applied
    >>> layer = aet.elasticize(torch.nn.MultiheadAttention(8, 2, batch_first=True))
    >>> state, x = aet.elastic_parameters(layer), torch.randn(3, 5, 8)
    >>> optimizer = torch.optim.AdamW(state.values(), lr=0.01)
    >>> with applied(state):
    ...     layer(x, x, x)[0].square().mean().backward()
    >>> optimizer.step()
    >>> state.size() > 0
    True
    """
    return ElasticState.zeros(module).trainable()
