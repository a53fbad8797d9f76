"""Nested values with tensors come back as they were."""

from collections import deque

import pytest
import torch

from aet.errors import ConfigError
from aet.training.packed import pack, pack_optimiser, unpack, unpack_optimiser


def test_nested_values_come_back():
    given = {
        "state": {0: {"step": 3, "gone": None, "list": [torch.ones(2), ("a", 0.1 + 0.2)]}, 1: {"on": True}},
        "last": deque([torch.zeros(1), 2], maxlen=2),
        "rate": float("inf"),
    }
    tensors = {}
    found = unpack(pack(given, "x", tensors), tensors)
    assert len(tensors) == 2
    assert found["state"][0]["step"] == 3
    assert found["state"][0]["gone"] is None
    assert found["state"][0]["list"][1] == ("a", 0.1 + 0.2)
    assert torch.equal(found["state"][0]["list"][0], torch.ones(2))
    assert found["state"][1] == {"on": True}
    assert found["last"].maxlen == 2
    assert found["last"][1] == 2
    assert found["rate"] == float("inf")


def test_the_layout_of_a_tensor_comes_back():
    given, tensors = torch.arange(6.0).view(2, 3).T, {}
    tree = pack(given, "x", tensors)
    found = unpack(tree, {name: t.contiguous() for name, t in tensors.items()})
    assert torch.equal(found, given)
    assert found.stride() == given.stride() == (1, 3)


def test_what_cannot_be_held_is_named():
    with pytest.raises(ConfigError, match=r"state\.0\.thing is a object, which no checkpoint can hold"):
        pack({0: {"thing": object()}}, "state", {})


def test_settings_of_groups_that_cannot_be_held_stay_those_of_the_new_optimiser():
    old = {"state": {}, "param_groups": [{"lr": 0.5, "kind": object, "params": [0]}]}
    new = {"state": {}, "param_groups": [{"lr": 0.1, "kind": object, "params": [0]}]}
    tensors = {}
    found = unpack_optimiser(pack_optimiser(old, tensors), tensors, new)
    assert found == {"state": {}, "param_groups": [{"lr": 0.5, "kind": object, "params": [0]}]}
