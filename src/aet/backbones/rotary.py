"""Which channels a rotary position turns together (Su et al. 2021, 2104.09864).

A position turns pairs of channels by an angle. A scale commutes with the turn, and scores keep depending on the
distance alone, where both channels of a pair have the same one; a shift of the query never does. Pairs lie half a head
apart or side by side, and some channels are not turned at all: the model's own function is asked, with an angle of 90°,
which channel it moves where. Where it cannot be asked, all channels of a head share one scale, which is right under
every layout.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aet.backbones.attached import functions


def rotary_columns(host: nn.Module, dim: int, angles: Tensor | None) -> Tensor | None:
    """For each of `dim` channels the number of its scale, (dim,); None where the attention layer turns nothing.

    `angles` is the cosine (..., T, width) that a trial pass brought to the layer, None if none was seen.
    """
    names = {name for f in functions(type(host)) for name in f.__code__.co_names if "rot" in name or "rope" in name}
    if not names and angles is None:
        return None
    scopes = [f.__globals__ for f in functions(type(host))]
    turns = [scope[name] for name in sorted(names) for scope in scopes if callable(scope.get(name))]
    latent = hasattr(host, "qk_rope_head_dim")  # the turned part is not where the function sees it
    if angles is None or not turns or latent:
        return torch.zeros(dim, dtype=torch.long)
    first = getattr(host, "rotary_ndims", dim)  # such layers hand the first channels alone to the function
    pairs = _pairs(turns[0], first, angles.shape[-1])
    if pairs is None:
        return torch.zeros(dim, dtype=torch.long)
    return torch.cat([pairs, int(pairs.max()) + 1 + torch.arange(dim - first)])


def _pairs(turn: Callable[..., tuple[Tensor, Tensor]], dim: int, width: int) -> Tensor | None:
    """Numbers of the pairs after `turn(query, key, cos, sin)`; None if the function is of another kind."""
    each = torch.eye(dim)[None, None]  # (B = 1, H = 1, T = dim, D = dim): token i is channel i
    cos, sin = torch.zeros(1, dim, width), torch.ones(1, dim, width)
    try:
        moved = turn(each, each, cos, sin)[0].abs()[0, 0]  # (dim, dim)
    except (TypeError, RuntimeError, ValueError, IndexError, AttributeError):
        return None
    partner = moved.argmax(-1)
    whole = torch.equal(moved, torch.nn.functional.one_hot(partner, dim).float())
    if not whole or not torch.equal(partner[partner], torch.arange(dim)):
        return None
    first = torch.minimum(partner, torch.arange(dim))
    numbers: Tensor = torch.unique(first, return_inverse=True)[1]
    return numbers
