"""Label smoothing against the formula and PyTorch's own."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from aet.errors import ConfigError

from .steps import loss, made, run_of, seen


def smoothed(output, epsilon, weights=None):
    model, batch = made(output)
    if weights is not None:
        (model.output.class_weight if output == "label" else model.output.positive_weight).copy_(weights)
    run = run_of(model, batch, {"label_smoothing": {"epsilon": epsilon}})
    one = seen(run, batch)
    return run, one, run.switches[0].losses(run, one)


def test_labels_are_those_of_pytorch():
    _, one, losses = smoothed("label", 0.3)
    expected = F.cross_entropy(one.logits, one.batch.target, label_smoothing=0.3, reduction="none")
    torch.testing.assert_close(losses, expected)


def test_class_weights_stay_in_the_spread_part():
    weights = torch.tensor([0.5, 3.0])
    _, one, losses = smoothed("label", 0.3, weights)
    expected = F.cross_entropy(one.logits, one.batch.target, weights, label_smoothing=0.3, reduction="none")
    torch.testing.assert_close(losses, expected)


def test_a_yes_moves_towards_one_half():
    weights = torch.tensor([2.0, 0.7])
    _, one, losses = smoothed("multilabel", 0.2, weights)
    target = 0.8 * one.batch.target + 0.1  # 1 -> 0.9, 0 -> 0.1
    expected = F.binary_cross_entropy_with_logits(one.logits, target, pos_weight=weights, reduction="none").mean(-1)
    torch.testing.assert_close(losses, expected)


@pytest.mark.parametrize("output", ["label", "multilabel"])
def test_zero_changes_nothing_and_says_so(output):
    run, one, losses = smoothed(output, 0.0)
    assert torch.equal(losses, one.losses)
    assert run.switches[0].acted() == ""
    run, one, losses = smoothed(output, 0.1)
    assert not torch.equal(losses, one.losses)
    assert run.switches[0].acted() == "smoothed 1 batches by 0.1"


def test_it_smooths_the_mixed_labels_after_mixup():
    model, batch = made()
    torch.manual_seed(3)
    mixed = run_of(model, batch, {"mixup": {"alpha": 1.0}})
    plain = loss(mixed, batch)
    torch.manual_seed(3)
    both = run_of(model, batch, {"mixup": {"alpha": 1.0}, "label_smoothing": {"epsilon": 0.3}})
    tokens = model.tokens(batch)[0]
    share, partner = mixed.switches[0].share, mixed.switches[0].partner
    logits = model.output(model.trunk(share * tokens + (1 - share) * tokens[partner]))
    uniform = -F.log_softmax(logits, -1).mean()
    torch.testing.assert_close(loss(both, batch), 0.7 * plain + 0.3 * uniform)


def test_a_row_of_weight_zero_counts_for_nothing():
    model, batch = made()
    run = run_of(model, batch, {"label_smoothing": {}})
    weight = torch.ones(len(batch))
    weight[0] = 0
    other = replace(batch, weight=weight, target=batch.target.clone())
    before = loss(run, other)
    other.target[0] = 1 - other.target[0]
    assert torch.equal(loss(run, other), before)


def test_numbers_cannot_be_smoothed():
    with pytest.raises(ConfigError, match=r"expected the output 'label' or 'multilabel', got 'number'. Turn it off"):
        smoothed("number", 0.1)


def test_a_part_is_below_one():
    with pytest.raises(ConfigError, match=r"below 1, got 1\.0"):
        smoothed("label", 1.0)
