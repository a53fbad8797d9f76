"""Labels spread over heaps of rows that look alike."""

from __future__ import annotations

import pytest
import torch

from aet.adaptation import METHODS
from aet.adaptation.methods.propagate import propagated
from aet.errors import ConfigError
from tests.adaptation.models import batch_of


def heaps(rows=30, classes=3, seed=0):
    """Features in one heap a class."""
    draws = torch.Generator().manual_seed(seed)
    y = torch.arange(rows) % classes
    return torch.eye(classes)[y] + 0.1 * torch.randn(rows, classes, generator=draws), y


def test_one_label_names_its_heap():
    features, y = heaps()
    start = torch.zeros(30, 3, dtype=torch.float64)
    start[:3] = torch.eye(3, dtype=torch.float64)
    found = propagated(features, start, 5, 0.95)
    assert torch.equal(found.argmax(-1), y)
    torch.testing.assert_close(found.sum(-1), torch.ones(30, dtype=torch.float64))


def test_a_label_outweighs_what_the_source_says_of_its_heap():
    features, y = heaps()
    start = 0.05 * torch.eye(3, dtype=torch.float64)[(y + 1) % 3]  # the source takes each heap for the next
    start[:3] = torch.eye(3, dtype=torch.float64)
    assert torch.equal(propagated(features, start, 5, 0.95).argmax(-1), y)


def test_where_no_label_came_the_source_speaks():
    features, y = heaps()
    start = 0.05 * torch.eye(3, dtype=torch.float64)[y]
    start[:2] = torch.eye(3, dtype=torch.float64)[:2]
    assert torch.equal(propagated(features, start, 5, 0.95).argmax(-1), y)


def test_the_sum_of_the_series_by_hand():
    """Two rows, each the other's neighbour: S swaps them, so F = (Y + α S Y) / (1 - α²)."""
    features = torch.tensor([[1.0, 0.2], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    start = torch.tensor([[1.0, 0.0], [0.0, 0.1], [0.0, 1.0], [0.1, 0.0]], dtype=torch.float64)
    swapped = start[[1, 0, 3, 2]]
    expected = start + 0.5 * swapped
    found = propagated(features, start, 1, 0.5)
    torch.testing.assert_close(found, expected / expected.sum(-1, keepdim=True))


def test_without_labels_it_is_norm_align(model):
    one, other = METHODS["propagate"](model), METHODS["norm_align"](model)
    for seed in (0, 1):
        assert torch.equal(one(batch_of(model, 40, seed)), other(batch_of(model, 40, seed)))


def test_a_labelled_row_is_answered_by_its_label(model):
    method = METHODS["propagate"](model)
    batch = batch_of(model, 60)
    method(batch)
    wrong = (batch.target[:9] + 1) % 3
    method.label(type(batch)(values=batch[torch.arange(9)].values, target=wrong))
    answered = method.answer(batch[torch.arange(9)]).argmax(-1)
    assert (answered == wrong).float().mean() > 0.6


def test_no_more_rows_are_kept_than_said(model):
    method = METHODS["propagate"](model, held=50)
    for seed in range(3):
        method(batch_of(model, 40, seed))
        method.label(batch_of(model, 30, seed))
    assert len(method.seen_rows) == len(method.labelled) == 50
    newest = batch_of(model, 30, 2)
    assert torch.equal(method.labelled.target[-30:], newest.target)


def test_blocks_answer_alike_as_one_for_rows_of_one_block(model):
    batch = batch_of(model, 40)
    one, other = METHODS["propagate"](model), METHODS["propagate"](model, batch=20)
    for method in (one, other):
        method.propose(batch)
        method.label(batch_of(model, 12, 3))
    first = other.answer(batch[torch.arange(20)])
    torch.testing.assert_close(other.answer(batch)[:20], first)
    assert one.answer(batch).shape == (40, 3)


def test_reach_is_below_one(model):
    with pytest.raises(ConfigError, match="reach of 'propagate' is below 1"):
        METHODS["propagate"](model, reach=1.0)


def test_labels_choose_between_the_norms_and_the_source(model):
    method = METHODS["propagate"](model)
    batch = batch_of(model, 60)
    method(batch)
    assert method.aligned
    assert method.state.size() > 0
    with torch.no_grad():
        plain = model.logits(batch).argmax(-1)
    method.label(type(batch)(values=batch.values, target=plain))  # whatever the source says is right
    assert method.aligned == bool(method.losses[1] <= method.losses[0])
    method.losses = torch.tensor([0.0, 1.0], dtype=torch.float64)
    method.propose(batch)
    assert method.state.size() == 0
