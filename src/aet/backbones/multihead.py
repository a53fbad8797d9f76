"""`torch.nn.MultiheadAttention`, alone or within `nn.TransformerEncoder`, `nn.TransformerDecoder` and `nn.Transformer`.

PyTorch fuses such layers in evaluation and then calls neither their attention nor their norms: that path is switched
off, for these modules alone. The ordinary path rounds differently, within 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.backbones.attached import Attached
from aet.backbones.dials import AttentionDials, Moves

_SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


class MultiheadDials(AttentionDials):
    """The dials of nn.MultiheadAttention."""

    host: nn.MultiheadAttention
    heads_first = True

    def intercept(self) -> None:
        """A forward for this layer alone."""
        self.heads = self.kv_heads = self.host.num_heads
        self.head_dim = self.value_dim = self.host.head_dim
        self.inside = self.host.bias_k is not None or self.host.add_zero_attn
        self.replace_forward()

    def release(self) -> None:
        """The forward of its class."""
        self.restore_forward()

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """That of `nn.MultiheadAttention`, under the dials."""
        moves = self.now(self.moves)
        asked: dict[str, Any] = {"need_weights": need_weights, "average_attn_weights": average_attn_weights}
        asked |= {"key_padding_mask": key_padding_mask, "attn_mask": attn_mask, "is_causal": is_causal}
        turned = self.host.batch_first and query.dim() == 3
        if turned:
            # The same tensors stay the same: they are projected in one product.
            turns = {id(x): x.transpose(0, 1) for x in (query, key, value)}  # (T, B, dim)
            query, key, value = turns[id(query)], turns[id(key)], turns[id(value)]
        if moves is None:
            out, weights = self.unmoved(query, key, value, **asked)
        elif query.dim() == 3:
            out, weights = self.written_out(query, key, value, moves, **asked)
        else:
            batch = {id(x): x.unsqueeze(1) for x in (query, key, value)}
            padding = None if key_padding_mask is None else key_padding_mask[None]
            asked |= {"key_padding_mask": padding}
            out, weights = self.written_out(batch[id(query)], batch[id(key)], batch[id(value)], moves, **asked)
            out, weights = out.squeeze(1), None if weights is None else weights.squeeze(0)
        return (out.transpose(0, 1) if turned else out), weights

    def unmoved(self, query: Tensor, key: Tensor, value: Tensor, **asked: Any) -> tuple[Tensor, Tensor | None]:
        """PyTorch's function; (T, B, dim), or (T, dim)."""
        host = self.host
        separate = {} if host._qkv_same_embed_dim else dict(zip(_SEPARATE, self.weights(), strict=True))
        return F.multi_head_attention_forward(
            query,
            key,
            value,
            host.embed_dim,
            host.num_heads,
            host.in_proj_weight,
            host.in_proj_bias,
            host.bias_k,
            host.bias_v,
            host.add_zero_attn,
            host.dropout,
            host.out_proj.weight,
            host.out_proj.bias,
            training=host.training,
            use_separate_proj_weight=bool(separate),
            **cast(Any, separate),
            **asked,
        )

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the projections of q, k and v."""
        host = self.host
        if host._qkv_same_embed_dim:
            query, key, value = host.in_proj_weight.chunk(3)
            return query, key, value
        return host.q_proj_weight, host.k_proj_weight, host.v_proj_weight

    def projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The q, k, v of (T, B, dim), in as many products as PyTorch takes, so that they round alike."""
        host, width = self.host, self.host.embed_dim
        bias = host.in_proj_bias
        if host._qkv_same_embed_dim and key is value:
            split = 0 if query is key else width
            rest = F.linear(key, host.in_proj_weight[split:], None if bias is None else bias[split:]).split(width, -1)
            if query is key:
                return rest[0], rest[1], rest[2]
            return (
                F.linear(query, host.in_proj_weight[:width], None if bias is None else bias[:width]),
                rest[0],
                rest[1],
            )
        biases = (None,) * 3 if bias is None else bias.chunk(3)
        parts = zip((query, key, value), self.weights(), biases, strict=True)
        q, k, v = (F.linear(x, weight, own) for x, weight, own in parts)
        return q, k, v

    def written_out(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        moves: Moves,
        need_weights: bool,
        average_attn_weights: bool,
        key_padding_mask: Tensor | None,
        attn_mask: Tensor | None,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """The same, step by step, under the dials; (T, B, dim)."""
        host = self.host
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)  # (B, H, T, D)
            for x in self.projected(query, key, value)
        )
        q = self.line(q, moves.query_gain, moves.query_shift)
        v = self.line(v, moves.value_gain, moves.value_shift)
        hint = is_causal and key_padding_mask is None and not need_weights  # PyTorch then leaves the mask to its kernel
        bias = None if hint else _bias(attn_mask, key_padding_mask, q)
        if host.bias_k is not None:
            one = (len(q), self.heads, 1, self.head_dim)
            k, v = (
                torch.cat([x, extra.view(1, self.heads, 1, -1).expand(one)], 2)
                for x, extra in ((k, host.bias_k), (v, cast(Tensor, host.bias_v)))
            )
        if host.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        if bias is not None:
            bias = F.pad(bias, (0, k.shape[2] - key.shape[0]))
        dropout = host.dropout if host.training else 0.0
        weights = None
        if need_weights:
            scores = (q * math.sqrt(1 / self.head_dim)) @ k.transpose(-2, -1)
            weights = F.dropout((scores if bias is None else scores + bias).softmax(-1), dropout)
            mixed = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, is_causal=hint)
        mixed = self.line(mixed, moves.gain, moves.shift, fresh=True)
        return host.out_proj(mixed.permute(2, 0, 1, 3).flatten(2)), weights

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """The learned value that `add_bias_kv` adds has a gate, but no scale and no shift."""
        super().fold(dials)
        if self.host.bias_v is not None:
            gate = dials["log_gate"].exp().expand(-1, 1, self.value_dim)
            self.host.bias_v.mul_(gate.reshape(-1).to(self.host.bias_v))

    def move(self, role: str, gain: Tensor, shift: Tensor | None) -> None:
        """Move the rows of the packed projection, or the separate one."""
        host, (first, last) = self.host, {"query": (0, 1), "value": (2, 3)}[role]
        width = host.embed_dim
        if host._qkv_same_embed_dim:
            weight = host.in_proj_weight[first * width : last * width]
        else:
            weight = host.q_proj_weight if role == "query" else host.v_proj_weight
        gain, shift = gain.reshape(-1).to(weight), gain.new_zeros(width) if shift is None else shift.reshape(-1)
        weight.mul_(gain[:, None])
        if host.in_proj_bias is None and bool(shift.any()):
            host.in_proj_bias = nn.Parameter(weight.new_zeros(3 * width), requires_grad=weight.requires_grad)
        if host.in_proj_bias is not None:
            bias = host.in_proj_bias[first * width : last * width]
            bias.mul_(gain).add_(shift.to(bias))


def _bias(attn_mask: Tensor | None, padding: Tensor | None, query: Tensor) -> Tensor | None:
    """PyTorch's two masks, where True hides, as one number added to the scores, (B, 1 or H, 1 or T, S)."""
    parts = []
    if attn_mask is not None:
        parts.append(attn_mask[None, None] if attn_mask.dim() == 2 else attn_mask.unflatten(0, query.shape[:2]))
    if padding is not None:
        parts.append(padding[:, None, None])
    added = [
        torch.zeros_like(p, dtype=query.dtype).masked_fill_(p, -torch.inf) if p.dtype == torch.bool else p.to(query)
        for p in parts
    ]
    return sum(added[1:], added[0]) if added else None


_FUSED = {
    nn.TransformerEncoder: ("use_nested_tensor", False),
    nn.TransformerEncoderLayer: ("activation_relu_or_gelu", 0),
}


class OrdinaryPath(Attached):
    """No dials: it keeps a module of `torch.nn` on the path that calls its parts."""

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """None."""
        return {}

    def intercept(self) -> None:
        """Set what the module asks before it fuses."""
        name, value = next(switch for kind, switch in _FUSED.items() if isinstance(self.host, kind))
        self.__dict__["before"] = (name, getattr(self.host, name, value))
        setattr(self.host, name, value)
        if self.__dict__["before"][1] is True:
            self.__dict__["hook"] = self.host.register_forward_hook(self.emptied, with_kwargs=True)

    def release(self) -> None:
        """As before."""
        if "hook" in self.__dict__:
            self.__dict__.pop("hook").remove()
        setattr(self.host, *self.__dict__.pop("before"))

    def emptied(self, host: nn.Module, inputs: Any, named: Mapping[str, Any], out: Tensor) -> Tensor | None:
        """0 at padded places where PyTorch's nested tensors, which leave them out, would have put it."""
        padding = named.get("src_key_padding_mask", inputs[2] if len(inputs) > 2 else None)
        if padding is None or host.training or torch.is_grad_enabled() or out.dim() != 3 or padding.dtype != torch.bool:
            return None
        aligned = torch.equal(padding, padding.sort(dim=1, stable=True).values.bool())
        return out.masked_fill(padding[..., None], 0.0) if aligned else None


def fuses(module: nn.Module) -> bool:
    """Whether a module may pass its parts by."""
    return isinstance(module, tuple(_FUSED))


def batch_axes(module: nn.Module) -> dict[nn.Module, int | None]:
    """For each part the axis of the rows in what it puts out; None where attention elsewhere has them second."""
    owners = (nn.TransformerEncoder, nn.TransformerDecoder, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
    attentions = [part for part in module.modules() if isinstance(part, nn.MultiheadAttention)]
    axes: dict[nn.Module, int | None] = dict.fromkeys(
        module.modules(), 0 if all(a.batch_first for a in attentions) else None
    )
    for owner in module.modules():
        if isinstance(owner, owners):
            first = next(part for part in owner.modules() if isinstance(part, nn.MultiheadAttention))
            axes.update(dict.fromkeys(owner.modules(), 0 if first.batch_first else 1))
    return axes
