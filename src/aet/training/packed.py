"""Nested Python values with tensors in them as JSON and named tensors: what a checkpoint can hold.

>>> import torch
>>> tensors = {}
>>> tree = pack({0: {"step": 3, "z": torch.ones(2)}}, "state", tensors)
>>> sorted(tensors), unpack(tree, tensors)
(['state.0.z'], {0: {'step': 3, 'z': tensor([1., 1.])}})
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from aet.errors import ConfigError

Plain = bool | int | float | str | None
KINDS = {"list": list, "tuple": tuple, "deque": deque}


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` for JSON, its tensors put into `tensors` under names that begin with `name`.

    Raises ConfigError for a value that is none of tensor, number, text, None, dict, list, tuple or deque.
    """
    if isinstance(value, Tensor):
        tensors[name] = value
        # A file holds the numbers row by row; sums over another layout would round otherwise.
        return {"tensor": name} if value.is_contiguous() else {"tensor": name, "stride": value.stride()}
    if isinstance(value, Plain):
        return value
    if isinstance(value, dict):
        return {"dict": [[key, pack(inner, f"{name}.{key}", tensors)] for key, inner in value.items()]}
    for kind, made in KINDS.items():
        if type(value) is made:
            parts = [pack(inner, f"{name}.{place}", tensors) for place, inner in enumerate(value)]
            return {kind: parts, "most": value.maxlen} if isinstance(value, deque) else {kind: parts}
    raise ConfigError(
        f"{name} is a {type(value).__name__}, which no checkpoint can hold: expected tensors, numbers, texts, dicts or "
        "lists. Choose an optimiser that keeps such values only."
    )


def unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `pack` was given."""
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        tensor = tensors[tree["tensor"]]
        if "stride" in tree:
            return torch.empty_strided(tensor.shape, tree["stride"], dtype=tensor.dtype).copy_(tensor)
        return tensor
    if "dict" in tree:
        return {key: unpack(inner, tensors) for key, inner in tree["dict"]}
    kind = next(kind for kind in KINDS if kind in tree)
    parts = [unpack(inner, tensors) for inner in tree[kind]]
    return deque(parts, maxlen=tree["most"]) if kind == "deque" else KINDS[kind](parts)


def pack_optimiser(state: Mapping[str, Any], tensors: dict[str, Tensor]) -> Any:
    """An optimiser's `state_dict`; settings of groups that no checkpoint can hold stay those of the new optimiser."""
    groups = []
    for number, group in enumerate(state["param_groups"]):
        kept = {}
        for setting, value in group.items():
            try:
                kept[setting] = pack(value, f"group{number}.{setting}", tensors)
            except ConfigError:
                continue
        groups.append(kept)
    return {"rest": pack({k: v for k, v in state.items() if k != "param_groups"}, "all", tensors), "groups": groups}


def unpack_optimiser(tree: Any, tensors: Mapping[str, Tensor], fresh: Mapping[str, Any]) -> dict[str, Any]:
    """The `state_dict` again, over that of a `fresh` optimiser of the same sort."""
    groups = [
        {**new, **{setting: unpack(inner, tensors) for setting, inner in kept.items()}}
        for new, kept in zip(fresh["param_groups"], tree["groups"], strict=True)
    ]
    return {**unpack(tree["rest"], tensors), "param_groups": groups}
