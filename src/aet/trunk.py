"""The trunk: pre-norm transformer blocks of elastic attention, pooled by attention into one summary per row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.attention.additive import AdditivePooling
from aet.attention.chosen import check_readable, own_draws, sentence, usable
from aet.attention.dynamic import StateNetwork
from aet.attention.layer import ElasticAttention
from aet.attention.mechanisms import MECHANISMS
from aet.attention.norms import NORMS, ElasticAffine
from aet.attention.state import ElasticModule, ElasticState, active, applied
from aet.config import ModelConfig
from aet.errors import ConfigError, nearest
from aet.last_place import LastPlace
from aet.places import Places, spread, used
from aet.schema import InputSpec
from aet.wide import Wide, single_columns

DYNAMIC = "dynamic"
"""The name under `model.attention` of the network that emits the elastic state."""


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) (Xiong et al. 2020, 2002.04745: the pre-norm form).

    x (B, T, dim), bias (B, 1, 1, T) or (B, 1, T, T) boolean -> (B, T, dim)
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        expansion: float,
        dropout: float,
        mechanisms: Iterable[str] = (),
        norm: str = "layer",
    ) -> None:
        super().__init__()
        hidden = max(1, int(dim * expansion))
        self.norm_attention: ElasticModule = NORMS[norm](dim)
        self.attention = ElasticAttention(dim, heads, mechanisms)
        self.norm_mlp = NORMS[norm](dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        given: Mapping[str, Any] | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """One block.

        `given` is what mechanisms may read beside the tokens; `mask` (B, T) says which tokens are real where the bias
        says more than that.
        """
        mask = bias[:, 0, 0] if mask is None and bias is not None else mask
        x = x + self.dropout(self.attention(self.norm_attention(x, mask), bias, given))
        out: Tensor = x + self.dropout(self.mlp(self.norm_mlp(x, mask)))
        return out


class Trunk(nn.Module):
    """Blocks, a last norm, and additive attention that pools the tokens.

    tokens (B, T, dim), mask (B, T) boolean, True where a token is real -> summary (B, dim)

    With `Places` in the place of the pooling it gives the last tokens there instead, (B, W, dim + 1); with `LastPlace`
    the last token of an input, and in training those of all its places, (B, W, dim).
    Without blocks (depth 0) the tokens are pooled as they come. ConfigError for mechanisms of attention then.

    >>> import torch
    >>> Trunk(dim=16, depth=2, heads=2)(torch.randn(3, 5, 16)).shape
    torch.Size([3, 16])
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        expansion: float = 2.0,
        dropout: float = 0.0,
        attention: Mapping[str, Mapping[str, Any]] | None = None,
        norm: str = "layer",
    ) -> None:
        super().__init__()
        attention = attention or {}
        mechanisms = check_attention(attention)
        if mechanisms and not depth:
            raise ConfigError(
                f"model.attention names {', '.join(map(repr, mechanisms))}, and there is no block to attend: expected "
                f"model.depth of 1 or more, got {depth}. Set model.depth, or leave model.attention out."
            )
        self.blocks = nn.ModuleList(Block(dim, heads, expansion, dropout, mechanisms, norm) for _ in range(depth))
        self.norm = NORMS[norm](dim)
        self.pool: nn.Module = AdditivePooling(dim, dim)
        self.worlds: Tensor | None = None
        """Which world each row of the training batch is from (B,); None if all are of one."""
        self.trims = not attention
        """Whether places that no row of a batch fills may be left out: mechanisms may count them."""
        self.emits = True
        """Whether the training batch is answered under the emitted state."""
        self.wide: Wide | None = None
        """The path beside the blocks (`model.wide`)."""
        self.facts: nn.Module | None = None
        """What is known of the concepts that tokens hold (`aet.graph`)."""
        self.dynamic: StateNetwork | None = None
        if DYNAMIC in attention:
            with own_draws():
                numbers = sum(math.prod(shape) for part in self.parts() for shape in part.dial_shapes().values())
                self.dynamic = StateNetwork(dim, numbers, **attention[DYNAMIC])

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        taps: list[Tensor] | None = None,
        parts: list[Tensor] | None = None,
        concepts: Tensor | None = None,
    ) -> Tensor:
        """Summary of each row; `taps` collects each block's output (B, T, dim) and the summary (B, 1, dim).

        `parts` collects what the summary was joined from, (B, ·, dim) each: the blocks' and the wide path's members.
        `concepts` (B, T) are the numbers of what the tokens hold; without them nothing is known of it.
        """
        if self.dynamic is not None and self.training and self.emits and active() is None:
            with applied(self.simulated(self.dynamic, tokens, mask)):
                return self.answered(tokens, mask, taps, parts, concepts)
        return self.answered(tokens, mask, taps, parts, concepts)

    def answered(
        self,
        tokens: Tensor,
        mask: Tensor | None,
        taps: list[Tensor] | None = None,
        parts: list[Tensor] | None = None,
        concepts: Tensor | None = None,
    ) -> Tensor:
        """`forward` under the active state."""
        places = self.pool if isinstance(self.pool, Places) else None
        if places is not None:
            tokens = places.around(tokens, mask)
        if places is not None and self.trims and taps is None and (some := used(mask)) is not None:
            used_mask, used_concepts = (None if one is None else one[:, some] for one in (mask, concepts))
            kept = self.normed(tokens[:, some], used_mask, concepts=used_concepts)
            return places.words(spread(kept, some), mask)
        members = None if self.wide is None else self.wide(tokens, mask)  # (B, k, dim)
        last = self.normed(tokens, mask, taps, concepts)
        if isinstance(self.pool, LastPlace) and self.training:
            if taps is not None:
                taps.append(self.pool(last)[0][:, None])
            return self.pool.every(last)
        summary: Tensor = self.pool(last, mask)[0]
        if self.wide is not None and members is not None:
            if parts is not None:
                parts += [summary[:, None], members]
            summary = self.wide.joined(summary, members)
        if taps is not None:
            taps.append(summary[:, None])
        return summary if places is None else places.words(last, mask)

    def normed(
        self,
        tokens: Tensor,
        mask: Tensor | None,
        taps: list[Tensor] | None = None,
        concepts: Tensor | None = None,
    ) -> Tensor:
        """The last tokens (B, T, dim) behind the last norm; `taps` collects each block's."""
        bias = self.bias(mask)
        given = self.known(concepts)
        for block in self.blocks:
            tokens = block(tokens, bias, given, mask)
            if taps is not None:
                taps.append(tokens)
        out: Tensor = self.norm(tokens, mask)
        return out

    def known(self, concepts: Tensor | None) -> dict[str, Any]:
        """What mechanisms may read of the tokens' concepts (B, T)."""
        return {} if self.facts is None or concepts is None else self.facts(concepts)

    def bias(self, mask: Tensor | None) -> Tensor | None:
        """Who sees whom: the real tokens, (B, 1, 1, T), or as the reading of the last place wants it, (B, 1, T, T)."""
        if isinstance(self.pool, LastPlace):
            return self.pool.bias(mask)
        return None if mask is None else mask[:, None, None, :]

    def simulated(self, dynamic: StateNetwork, tokens: Tensor, mask: Tensor | None) -> ElasticState:
        """While training: the state that a batch calls for, one for each world."""
        rows = dynamic.tamed(dynamic.rows(tokens, mask))
        emitted, index = [], worlds(self.worlds, len(rows)).to(rows.device)
        for own in (rows[index == world] for world in range(int(index.max()) + 1 if len(index) else 0)):
            statistics = dynamic.statistics(own.mean(0))
            emitted.append(dynamic(statistics, len(own)))
            dynamic.note(own, statistics)
        if not emitted:
            return ElasticState({})
        return self.shaped(emitted[0] if len(emitted) == 1 else torch.stack(emitted)[index])

    def keep_sizes(self) -> None:
        """Let the first block attend to tokens at their own size, which its norm would take away."""
        for first in self.blocks[:1]:
            assert isinstance(first, Block)
            first.norm_attention = ElasticAffine(self.norm.weight.numel())

    def parts(self) -> list[ElasticModule]:
        """What has dials, in order."""
        blocks = [block for block in self.blocks if isinstance(block, Block)]
        inside = [part for block in blocks for part in (block.norm_attention, block.attention, block.norm_mlp)]
        return [*inside, self.norm]

    def shaped(self, flat: Tensor) -> ElasticState:
        """Dials side by side (..., N) as an elastic state."""
        return ElasticState(named(flat, self.layout()))

    def layout(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every dial, in the order in which they lie side by side."""
        return {f"{p.elastic_name}.{n}": shape for p in self.parts() for n, shape in p.dial_shapes().items()}

    def acted(self) -> dict[str, str]:
        """What each mechanism learned over all blocks, in words; empty if nothing."""
        layers = [block.attention for block in self.blocks if isinstance(block, Block)]
        found: dict[str, str] = {}
        for name in layers[0].mechanisms if layers else ():
            said = sentence(dict(layer.mechanisms.each())[name] for layer in layers)
            found[name] = f"{said} over {len(layers)} blocks of {layers[0].heads} heads" if said else ""
        if self.dynamic is not None:
            found[DYNAMIC] = self.dynamic.acted()
        return found

    @torch.no_grad()
    def focus(self, tokens: Tensor, mask: Tensor | None = None, concepts: Tensor | None = None) -> Tensor:
        """How much of the summary comes from each token, (B, T), each row summing to one.

        Attention rollout (Abnar and Zuidema 2020, 2005.00928): the product of ½(A + I) over the blocks, A the
        head-averaged weights, read through the pooling weights. Of a wide path it knows nothing.
        """
        bias = self.bias(mask)
        eye = torch.eye(tokens.shape[1], device=tokens.device, dtype=tokens.dtype)
        rolled = eye.expand(tokens.shape[0], -1, -1)  # (B, T, T)
        if isinstance(self.pool, Places):
            tokens = self.pool.around(tokens, mask)
        given = self.known(concepts)
        for block in self.blocks:
            assert isinstance(block, Block)
            weights = block.attention.weights(block.norm_attention(tokens), bias, given).mean(1)
            rolled = 0.5 * (weights + eye) @ rolled
            tokens = block(tokens, bias, given, mask)
        _, pooled = self.pool(self.norm(tokens), mask)  # (B, T)
        return F.normalize((pooled[:, None] @ rolled).squeeze(1), p=1, dim=-1)


def named(flat: Tensor, layout: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Numbers side by side (..., N) as tensors of these shapes.

    >>> named(torch.arange(3), {"a": (2, 1), "b": (1,)})
    {'a': tensor([[0],
            [1]]), 'b': tensor([2])}
    """
    parts = flat.split([math.prod(shape) for shape in layout.values()], -1)
    return {n: part.view(*flat.shape[:-1], *s) for (n, s), part in zip(layout.items(), parts, strict=True)}


def first_norm(settings: ModelConfig, inputs: Sequence[InputSpec]) -> bool:
    """What `model.first_norm` means: for `auto` a norm unless every input is a single column.

    >>> first_norm(ModelConfig(), [InputSpec("age", "number", ("age",))])
    False
    >>> first_norm(ModelConfig(), [InputSpec("s0", "number", ("s0_a", "s0_b"))])
    True
    """
    if settings.first_norm != "auto":
        return settings.first_norm
    return settings.members > 1 or not single_columns(inputs)


def worlds(ids: Tensor | None, rows: int) -> Tensor:
    """Number of each row's world, from 0 (rows,); one world if there are no ids for just these rows.

    >>> worlds(torch.tensor([7, 3, 7]), 3), worlds(None, 2)
    (tensor([1, 0, 1]), tensor([0, 0]))
    """
    if ids is None or len(ids) != rows:
        return torch.zeros(rows, dtype=torch.long)
    numbers: Tensor = ids.unique(return_inverse=True)[1]
    return numbers


def check_attention(attention: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the mechanisms in each layer; ConfigError for unknown names and settings, and those that cannot be.

    >>> check_attention({"ssmax": {}, "dynamic": {"hidden": 32}})
    ['ssmax']
    >>> check_attention({"smax": {}})
    Traceback (most recent call last):
    aet.errors.ConfigError: There is no mechanism 'smax' for model.attention. Did you mean 'ssmax'? Known: ...
    """
    names = [name for name in attention if name != DYNAMIC]
    for name in names:
        if name not in MECHANISMS:
            known = [*usable(), DYNAMIC]
            raise ConfigError(f"There is no mechanism {name!r} for model.attention. {nearest(name, known)}")
        check_readable(name)
        if attention[name]:
            raise ConfigError(
                f"The mechanism {name!r} has no settings: it starts at its zero setting and learns. Expected {{}}, got "
                f"{dict(attention[name])!r}."
            )
    return names
