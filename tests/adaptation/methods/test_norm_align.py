"""The norms' outputs have the source's moments afterwards; trust, window and source moments by hand."""

import pytest
import torch

from aet.adaptation import NormAlign
from aet.attention.layer import watched_norms
from aet.attention.state import applied
from aet.errors import ConfigError
from aet.statistics import Moments
from aet.training.activations import activations
from tests.adaptation.models import batch_of


def outputs(model, batch, state):
    """What each norm gives under a state, dials and all."""
    found = {}

    def watch(norm, _, plain, mask):
        dials = norm.dials()
        found[norm.elastic_name] = plain * (1 + dials["scale"]) + dials["shift"] if dials else plain
        return found[norm.elastic_name]

    with applied(state), watched_norms(watch), torch.no_grad():
        model(batch)
    return found


@pytest.mark.parametrize("sort", ["model", "regression", "images", "bn_adapt_model"])
def test_every_norm_has_the_sources_moments(request, sort):
    model = request.getfixturevalue(sort)
    method, batch = NormAlign(model, shrink=0.0), batch_of(model, 200)
    state, before = method.propose(batch), outputs(model, batch, None)
    assert len(before) == 3
    for name, out in outputs(model, batch, state).items():
        source, now, was = model.statistics.norms[name], Moments.of(out), Moments.of(before[name])
        free = ((state[f"{name}.scale"].abs() < 5) & (state[f"{name}.shift"].abs() < 5))[0]  # not at the region's edge
        assert free.float().mean() > 0.6
        torch.testing.assert_close(now.mean[free], source.mean[free], rtol=0, atol=2e-2)
        torch.testing.assert_close(now.std[free], source.std[free], rtol=2e-2, atol=2e-2)
        assert (was.mean - source.mean).abs().max() > 2e-2
    assert method.passes == 200


def test_source_moments_are_those_over_all_tokens(model):
    batch = batch_of(model, 90, shifted=False)
    pieces, whole = activations(model, batch, rows=7).norms, outputs(model, batch, None)
    assert set(pieces) == set(whole) == set(model.statistics.norms)
    for name, out in whole.items():
        torch.testing.assert_close(pieces[name].mean, out.mean((0, 1)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(pieces[name].std, out.flatten(0, 1).std(0, correction=0), rtol=1e-3, atol=1e-3)


def test_dials_and_trust_by_hand(model):
    """The first norm over two batches: running moments, shrunk by n / (n + k)."""
    method, norm = NormAlign(model, shrink=30.0, window=100), model.trunk.blocks[0].norm_attention
    first = second = None
    for rows, seen in ((40, 40), (50, 90), (60, 100)):
        batch = batch_of(model, rows, rows)
        state = method.propose(batch)
        with torch.no_grad():
            plain = norm(model.tokens(batch)[0]).flatten(0, 1)
        mean, square = plain.mean(0), plain.square().mean(0)
        share = rows / seen
        first = mean if first is None else (1 - share) * first + share * mean
        second = square if second is None else (1 - share) * second + share * square
        std, source, trust = (second - first**2).sqrt(), model.statistics.norms[norm.elastic_name], seen / (seen + 30)
        scale, shift = trust * (source.std / std - 1), trust * (source.mean - first * source.std / std)
        torch.testing.assert_close(state[f"{norm.elastic_name}.scale"][0], scale, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(state[f"{norm.elastic_name}.shift"][0], shift, rtol=1e-3, atol=1e-3)


def test_only_the_last_rows_of_a_large_batch_count(model):
    large, small = NormAlign(model, window=50), NormAlign(model, window=50)
    batch = batch_of(model, 200)
    assert large.propose(batch).equal(small.propose(batch[torch.arange(150, 200)]))
    assert large.passes == 50


def test_only_norms_move_and_little_on_rows_like_the_sources(model):
    clean, drifted = NormAlign(model), NormAlign(model)
    clean.propose(batch_of(model, 400, shifted=False))
    drifted.propose(batch_of(model, 400))
    assert clean.state.size() < 0.5 * drifted.state.size()
    assert all(".norm" in name for name, t in drifted.state.items() if t.abs().max() > 0)


def test_a_model_that_does_not_know_its_norms_is_refused(model, monkeypatch):
    monkeypatch.setattr(model.statistics, "norms", None)
    with pytest.raises(ConfigError, match=r"'norm_align'.*use 'align'"):
        NormAlign(model)
