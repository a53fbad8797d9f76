"""R-Drop: the divergences of PyTorch, the loss of two passes, and an error where it would do nothing."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from aet.errors import ConfigError
from aet.training.switches.r_drop import disagreement

from .steps import loss, made, run_of, seen

torch.manual_seed(0)
ONE, TWO = torch.randn(2, 6, 3)


def test_labels_by_the_divergence_of_pytorch():
    p, q = F.log_softmax(ONE, -1), F.log_softmax(TWO, -1)
    both = [F.kl_div(a, b, reduction="none", log_target=True).sum(-1) for a, b in ((p, q), (q, p))]
    torch.testing.assert_close(disagreement("label", ONE, TWO), (both[0] + both[1]) / 4)


def test_yes_or_no_by_the_divergence_of_pytorch():
    p, q = (torch.distributions.Bernoulli(logits=z) for z in (ONE, TWO))
    both = torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p)
    torch.testing.assert_close(disagreement("multilabel", ONE, TWO), both.mean(-1) / 4)


def test_numbers_by_the_divergence_of_pytorch():
    p, q = (torch.distributions.Normal(z, 1.0) for z in (ONE, TWO))
    both = torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p)
    torch.testing.assert_close(disagreement("number", ONE, TWO), both.mean(-1) / 4)


@pytest.mark.parametrize("output", ["label", "multilabel", "number"])
def test_two_passes_by_hand(output):
    model, batch = made(output, dropout=0.5)
    batch = replace(batch, weight=torch.linspace(0, 2, len(batch)))
    run = run_of(model.train(), batch, {"r_drop": {"alpha": 3.0}})
    torch.manual_seed(4)
    total = loss(run, batch)
    torch.manual_seed(4)
    one = seen(run, batch)
    two = one.forward(one.tokens, one.mask)
    assert not torch.equal(one.logits, two)
    losses = (one.losses + model.output.losses(two, batch.target)) / 2 + 3 * disagreement(output, one.logits, two)
    torch.testing.assert_close(total, (losses * batch.weight).mean())
    assert run.switches[0].acted() == "compared two passes of 1 batches"


def test_without_dropout_it_would_do_nothing():
    model, batch = made()
    with pytest.raises(ConfigError, match=r"expected model.dropout above 0, got 0. Set it"):
        run_of(model, batch, {"r_drop": {}})


def test_skipped_branches_differ_too():
    model, batch = made(switches={"stochastic_depth": {}, "r_drop": {}})
    run = run_of(model.train(), batch, {"stochastic_depth": {"rate": 0.5}, "r_drop": {}})
    one = seen(run, batch)
    assert run.switches[1].term(run, one) != 0
