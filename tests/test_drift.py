"""Training for shift: what drifts, and what stays."""

import pytest
import torch

import aet
from aet.drift import drifted, worlds

from .made import mixed, quick


@pytest.fixture(scope="module")
def scene():
    frame = mixed(80).assign(w=1.5)
    model = aet.train(frame, target="y", weight="w", kinds={"text": "text"}, config=quick(1))
    return model, model.encode(model.check(frame).frame, target=True)


def test_values_drift_and_targets_and_weights_do_not(scene):
    model, batch = scene
    moved = drifted(model, batch, 1.0, torch.Generator().manual_seed(0))
    assert moved.target is batch.target
    assert moved.weight is batch.weight
    for name, values in batch.values.items():
        assert not torch.equal(moved.values[name].nan_to_num(9), values.nan_to_num(9))


def test_strength_zero_is_the_very_batch(scene):
    model, batch = scene
    assert drifted(model, batch, 0.0, torch.Generator()) is batch


def test_more_strength_moves_further(scene):
    model, batch = scene
    name = next(name for name in batch.values if name.startswith("number"))

    def distance(strength):
        total = 0.0
        for seed in range(20):
            moved = drifted(model, batch, strength, torch.Generator().manual_seed(seed)).values[name]
            total += float((moved - batch.values[name]).nanmean().abs())
        return total

    assert distance(0.1) < distance(1.0)


def test_worlds_keep_the_rows_in_order_each_part_under_a_drift_of_its_own(scene):
    model, batch = scene
    moved = worlds(model, batch, 1.0, torch.Generator().manual_seed(0), count=4)
    assert torch.equal(moved.target, batch.target)
    assert torch.equal(moved.weight, batch.weight)
    name = next(name for name in batch.values if name.startswith("number"))
    shifts = (moved.values[name] - batch.values[name]).view(4, 20, -1).nanmean((1, 2))
    assert len(set(shifts.tolist())) == 4


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_few_rows_are_worlds_of_their_own(scene, rows):
    model, batch = scene
    assert len(worlds(model, batch[torch.arange(rows)], 1.0, torch.Generator())) == rows
