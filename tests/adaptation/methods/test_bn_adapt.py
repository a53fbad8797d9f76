"""Batch norm adaptation as dials against batch norms whose moments were really mixed."""

import copy

import pytest
import torch

from aet.adaptation import BnAdapt
from aet.attention.norms import ElasticBatchNorm
from aet.attention.state import applied
from aet.errors import ConfigError
from tests.adaptation.models import batch_of


def really_mixed(model, batch, rows):
    """A copy that takes its own running moments from the batch, norm by norm, in one pass."""
    adapted, share = copy.deepcopy(model), len(batch) / (rows + len(batch))

    def mix(norm, inputs):
        flat = inputs[0].flatten(0, 1)
        norm.running_mean.lerp_(flat.mean(0), share)
        norm.running_var.lerp_(flat.var(0, correction=0), share)

    for part in adapted.modules():
        if isinstance(part, ElasticBatchNorm):
            part.register_forward_pre_hook(mix)
    with torch.no_grad():
        return adapted(batch)


@pytest.mark.parametrize("rows", [1, 16, 1000])
@pytest.mark.parametrize("sort", ["model", "regression", "images"])
def test_dials_do_what_the_mixed_moments_do(request, sort, rows):
    model = request.getfixturevalue(f"bn_adapt_{sort}")
    for count in (1, 5, 64):
        batch, method = batch_of(model, count, shifted=rows > 1), BnAdapt(model, rows=rows)
        answered = method(batch)
        torch.testing.assert_close(answered, really_mixed(model, batch, rows), rtol=1e-3, atol=1e-3)
        assert method.passes == count
    assert {name.rpartition(".")[2] for name, t in method.state.items() if t.abs().max() > 0} == {"scale", "shift"}


def test_a_gain_and_an_offset_are_undone_where_a_norm_reads_them(bn_adapt_model):
    """The first norm's output has the source's moments again, if the source weighs nothing."""
    method, batch = BnAdapt(bn_adapt_model, rows=1), batch_of(bn_adapt_model, 400)
    state, norm = method.propose(batch), bn_adapt_model.trunk.blocks[0].norm_attention
    with torch.no_grad(), applied(state):
        tokens, _ = bn_adapt_model.tokens(batch)
        out = norm(tokens)
    torch.testing.assert_close(out.mean((0, 1)), norm.bias.detach(), rtol=0, atol=0.05)
    torch.testing.assert_close(out.std((0, 1)), norm.weight.detach().abs(), rtol=0, atol=0.05)


def test_each_batch_speaks_for_itself(bn_adapt_model):
    one, other = BnAdapt(bn_adapt_model), BnAdapt(bn_adapt_model)
    one.propose(batch_of(bn_adapt_model, 40, 1))
    batch = batch_of(bn_adapt_model, 40, 2)
    assert one.propose(batch).equal(other.propose(batch))
    assert one.memory() == {}


def test_a_model_without_batch_norms_is_refused(model):
    with pytest.raises(ConfigError, match=r"'layer'.*Use 'align' or 'norm_align'"):
        BnAdapt(model)
