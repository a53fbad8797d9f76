"""The mechanisms that one attention layer was built with, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from aet.attention.attend import attend
from aet.attention.beside import beside
from aet.attention.entropy import attention_entropy
from aet.attention.mechanisms import MECHANISMS, Dials, Mechanism, combine, readable, reads
from aet.errors import ConfigError

GIVEN = ("query", "key", "value", "tokens", "lengths", "entropy", "context", "times")
"""What a self-attention layer can offer them; times where an input gives them (`aet.attention.beside`)."""


class Mechanisms(nn.ModuleDict):
    """Mechanisms by name, each at its zero setting; called in place of `attend`.

    tokens (B, T, dim), query, key (B, H, T, D), value (B, H, T, Dv), bias as in `attend` -> (B, H, T, Dv)

    A query that one of them gives replaces the query that the others read; dials add up (`combine`); at most one takes
    the place of the softmax.

    >>> q, k, v = torch.randn(3, 1, 2, 5, 4).unbind()
    >>> both = Mechanisms(dim=8, heads=2, names=["ssmax", "gate"])
    >>> torch.allclose(both(torch.randn(1, 5, 8), q, k, v), attend(q, k, v))
    True
    """

    def __init__(self, dim: int, heads: int, names: Iterable[str]) -> None:
        super().__init__()
        for name in names:
            check_readable(name)
            with own_draws():
                self[name] = MECHANISMS[name].at_zero(dim, heads)
        whole = [name for name, one in self.each() if one.gives == "output"]
        if len(whole) > 1:
            raise ConfigError(
                f"{whole[0]!r} and {whole[1]!r} both take the place of the softmax: expected one of them, got both. "
                "Leave one of them out."
            )

    def each(self) -> list[tuple[str, Mechanism]]:
        """Names and mechanisms."""
        return [(name, part) for name, part in self.items() if isinstance(part, Mechanism)]

    def forward(
        self,
        tokens: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None = None,
        gated: bool = True,
        given: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """Attention with all of them; without gates unless `gated`. They may read what is `given` by name too."""
        mechanisms = [one for _, one in self.each()]
        for one in mechanisms:
            if one.gives == "query":
                query = one(**reads(one, {"query": query}))
        inputs = Offered(tokens, query, key, value, bias)
        inputs.made.update(given or {})
        dials = combine(*(one(**inputs.to(one)) for one in mechanisms if one.gives == "dials"))
        dials.pop("causal", None)  # who sees whom is in the bias
        if bias is not None:
            dials = combine(dials, Dials(bias=bias))
        if not gated:
            dials.pop("gate", None)
        for one in mechanisms:
            if one.gives == "output":
                out: Tensor = one(query, key, value, **dials)
                return out
        return attend(query, key, value, **dials)


class Offered:
    """What mechanisms may read, each made once and only if one of them reads it."""

    def __init__(self, tokens: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> None:
        self.bias = bias
        self.seen = bias if bias is None or bias.dtype == torch.bool else bias > -torch.inf
        self.made: dict[str, Any] = {"tokens": tokens, "query": query, "key": key, "value": value}

    def to(self, one: Mechanism) -> dict[str, Tensor]:
        """The part that it reads."""
        makers: dict[str, Callable[[], Tensor]] = {
            "lengths": self.lengths,
            "context": self.context,
            "entropy": self.entropy,
            "times": lambda: beside("times", len(self.made["tokens"])),
        }
        for name in readable(one):
            if name in makers and name not in self.made:
                self.made[name] = makers[name]()
        return reads(one, self.made)

    def lengths(self) -> Tensor:
        """Keys that each query sees, (B, T) or what broadcasts to it."""
        tokens = self.made["tokens"]
        if self.seen is None:
            return torch.full((1, 1), tokens.shape[1], dtype=tokens.dtype, device=tokens.device)
        return self.seen.expand(*self.seen.shape[:3], tokens.shape[1]).sum(-1).amax(1)

    def context(self) -> Tensor:
        """Mean of each row's tokens that any query sees, (B, dim)."""
        tokens: Tensor = self.made["tokens"]
        if self.seen is None:
            return tokens.mean(1)
        real = self.seen.expand(len(tokens), -1, -1, tokens.shape[1]).amax((1, 2))[..., None]  # (B, T, 1)
        return tokens.masked_fill(~real, 0).sum(1) / real.sum(1).clamp(min=1)

    def entropy(self) -> Tensor:
        """(B, H, T) in nats."""
        return attention_entropy(self.made["query"], self.made["key"], bias=self.bias)


@contextmanager
def own_draws() -> Iterator[None]:
    """Random draws apart from the others, so that the rest of a model is drawn as if there were none inside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, ())))
        yield


def missing(name: str) -> list[str]:
    """What a mechanism must read and a self-attention layer does not have."""
    return [read for read, needed in readable(MECHANISMS[name]).items() if needed and read not in GIVEN]


def usable() -> list[str]:
    """Mechanisms that a self-attention layer can have."""
    return sorted(name for name in MECHANISMS if not missing(name))


def check_readable(name: str) -> None:
    """ConfigError for a mechanism that is unknown, or reads what a self-attention layer does not have."""
    if lacks := missing(name):
        raise ConfigError(
            f"The mechanism {name!r} reads {', '.join(lacks)}, which an attention layer is not given. Expected one of "
            f"{', '.join(map(repr, usable()))}. Use {name!r} with `attend_with` on inputs of your own."
        )


def sentence(mechanisms: Iterable[Mechanism]) -> str:
    """What one mechanism learned over several layers: ranges of what moved; empty if nothing did.

    >>> from aet.attention.temperature import SSMax
    >>> one = SSMax(heads=2)
    >>> sentence([one])
    ''
    >>> with torch.no_grad():
    ...     _ = one.slope.copy_(torch.tensor([0.5, -0.25]))
    >>> sentence([one])
    'slope 0 to -0.25..0.5'
    """
    values: dict[str, list[Tensor]] = {}
    starts: dict[str, Tensor | float] = {}
    moved: set[str] = set()
    for one in mechanisms:
        for figure, (now, zero) in one.learned().items():
            values.setdefault(figure, []).append(now.detach().flatten())
            starts[figure] = zero
            if bool((now != zero).any()):
                moved.add(figure)
    parts = []
    for figure in values:
        if figure in moved:
            every, start = torch.cat(values[figure]), starts[figure]
            was = "" if isinstance(start, Tensor) else f"{start:g} to "
            parts.append(f"{figure} {was}{float(every.min()):.3g}..{float(every.max()):.3g}")
    return ", ".join(parts)
