"""What every mechanism and every pooling must keep; new files are found by themselves."""

import importlib
import pkgutil

import pytest
import torch

import aet.attention
from aet.attention.attend import attend
from aet.attention.mechanisms import MECHANISMS, POOLINGS, Mechanism, attend_with, reads
from aet.errors import ConfigError

for module in pkgutil.iter_modules(aet.attention.__path__):
    importlib.import_module(f"aet.attention.{module.name}")

B, H, T, DIM = 2, 2, 4, 6


def scene(rows=B, seed=0):
    """One of everything that a mechanism may read; given weights are neutral."""
    torch.manual_seed(seed)
    query, key, value = torch.randn(3, rows, H, T, DIM // H, dtype=torch.float64).unbind()
    return {
        "query": query,
        "key": key,
        "value": value,
        "tokens": torch.randn(rows, T, DIM, dtype=torch.float64),
        "weights": torch.ones(rows, T, dtype=torch.float64),
        "times": torch.rand(rows, T, dtype=torch.float64).cumsum(-1),
        "concepts": torch.randint(DIM, (rows, T)),
        "lengths": torch.full((rows, T), float(T), dtype=torch.float64),
        "entropy": torch.rand(rows, H, T, dtype=torch.float64) + 0.6,
        "context": torch.randn(rows, DIM, dtype=torch.float64),
    }


def build(name):
    torch.manual_seed(1)
    return MECHANISMS[name].at_zero(DIM, H).double()


def nudged(name):
    """Away from zero, where every parameter has something to say."""
    mechanism = build(name)
    with torch.no_grad():
        for parameter in mechanism.parameters():
            parameter += 0.3 * torch.rand_like(parameter)  # upwards: some are bounded below
    return mechanism


def test_the_registries_hold_what_this_folder_offers():
    assert set(MECHANISMS) >= {
        "key_weights", "decay", "concept_bias", "multiplicative", "gate", "ssmax", "qassmax",
        "adaptive_temperature", "null_slot", "entmax", "context_gate", "distance",
    }  # fmt: skip
    assert set(POOLINGS) >= {"additive", "gated"}
    assert all(issubclass(MECHANISMS[name], Mechanism) for name in MECHANISMS)


@pytest.mark.parametrize("name", MECHANISMS)
def test_zero_setting_is_plain_attention(name):
    given, mechanism = scene(), build(name)
    # Plain causal attention is the identity of those that are causal by nature.
    causal = mechanism.gives == "dials" and mechanism(**reads(mechanism, given)).get("causal", False)
    plain = attend(given["query"], given["key"], given["value"], causal=causal)
    torch.testing.assert_close(attend_with(mechanism, given), plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MECHANISMS)
def test_gradients(name):
    given, mechanism = scene(), nudged(name)
    floats = {n: x.requires_grad_() for n, x in given.items() if x.is_floating_point()}
    parameters = dict(mechanism.named_parameters())

    def run(*leaves):
        read = given | dict(zip(floats, leaves, strict=False))
        learned = dict(zip(parameters, leaves[len(floats) :], strict=True))
        return torch.func.functional_call(Runner(mechanism), {f"inner.{n}": p for n, p in learned.items()}, read)

    leaves = (*floats.values(), *parameters.values())
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


class Runner(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, given):
        return attend_with(self.inner, given)


@pytest.mark.parametrize("name", MECHANISMS)
def test_rows_do_not_see_each_other(name):
    given, mechanism = scene(), nudged(name)
    alone = attend_with(mechanism, {n: x[1:] for n, x in given.items()})
    torch.testing.assert_close(alone, attend_with(mechanism, given)[1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MECHANISMS)
def test_empty_batch(name):
    out = attend_with(nudged(name), {n: x[:0] for n, x in scene().items()})
    assert out.shape == (0, H, T, DIM // H)


@pytest.mark.parametrize("name", MECHANISMS)
def test_deterministic(name):
    mechanism = nudged(name)
    assert torch.equal(attend_with(mechanism, scene()), attend_with(mechanism, scene()))


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_query_that_sees_nothing_gets_zero(name):
    given, mechanism = scene(), nudged(name)
    leaves = [given[n].requires_grad_() for n in ("query", "key", "value")] + list(mechanism.parameters())
    mask = torch.ones(B, 1, T, T, dtype=torch.bool)
    mask[0, :, 2] = False
    out = attend_with(mechanism, given, bias=mask)
    assert out.isfinite().all()
    assert torch.equal(out[0, :, 2], torch.zeros(H, DIM // H, dtype=torch.float64))
    out.sum().backward()
    assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in leaves)


@pytest.mark.parametrize("name", MECHANISMS)
def test_state_survives_saving(name):
    mechanism, fresh = nudged(name), build(name)
    fresh.load_state_dict(mechanism.state_dict())
    assert torch.equal(attend_with(fresh, scene()), attend_with(mechanism, scene()))


@pytest.mark.parametrize("name", MECHANISMS)
def test_inputs_are_not_changed(name):
    given, before = scene(), scene()
    attend_with(nudged(name), given)
    assert all(torch.equal(given[n], before[n]) for n in given)


def test_a_missing_input_is_named():
    given = scene()
    del given["times"]
    with pytest.raises(ConfigError, match=r"Add \['times'\]"):
        attend_with(build("decay"), given)


def pooling(name):
    torch.manual_seed(2)
    return POOLINGS[name](DIM, 5).double()


def bag():
    torch.manual_seed(3)
    tokens = torch.randn(B, T, DIM, dtype=torch.float64)
    mask = torch.tensor([[True, True, False, True], [True, False, False, False]])
    return tokens, mask


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_starts_as_the_mean_of_real_tokens(name):
    tokens, mask = bag()
    pooled, weights = pooling(name)(tokens, mask)
    expected = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-12)
    assert torch.equal(weights == 0, ~mask)


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_keeps_its_promises_once_trained(name):
    tokens, mask = bag()
    module = pooling(name)
    torch.nn.init.normal_(module.score)
    pooled, weights = module(tokens, mask)
    torch.testing.assert_close(weights.sum(1), torch.ones(B, dtype=torch.float64))
    assert weights[0, mask[0]].std() > 0.01
    # batch of one, order of tokens, padding that holds nan
    torch.testing.assert_close(module(tokens[:1], mask[:1])[0], pooled[:1])
    order = torch.tensor([3, 1, 0, 2])
    torch.testing.assert_close(module(tokens[:, order], mask[:, order])[0], pooled)
    torch.testing.assert_close(module(tokens.masked_fill(~mask[..., None], torch.nan), mask)[0], pooled)
    # a token of weight 2 is the token given twice
    double = torch.tensor([[2.0, 1.0, 1.0, 1.0]] * B, dtype=torch.float64)
    twice = torch.tensor([0, 0, 1, 2, 3])
    torch.testing.assert_close(
        module(tokens, mask, double)[0], module(tokens[:, twice], mask[:, twice])[0], rtol=0, atol=1e-12
    )
    # a token of weight 0 is left out, and only ratios count
    none = torch.tensor([[1.0, 0.0, 1.0, 1.0]] * B, dtype=torch.float64)
    fewer = torch.tensor([0, 2, 3])
    torch.testing.assert_close(
        module(tokens, mask, none)[0], module(tokens[:, fewer], mask[:, fewer])[0], rtol=0, atol=1e-12
    )
    torch.testing.assert_close(module(tokens, mask, 7 * double)[0], module(tokens, mask, double)[0])
    # a row without tokens
    assert torch.equal(module(tokens, torch.zeros_like(mask))[0], torch.zeros(B, DIM, dtype=torch.float64))


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_gradients(name):
    tokens, mask = bag()
    module = pooling(name)
    torch.nn.init.normal_(module.score)
    weights = torch.rand(B, T, dtype=torch.float64) + 0.5

    def run(tokens, weights, *parameters):
        learned = dict(zip(dict(module.named_parameters()), parameters, strict=True))
        return torch.func.functional_call(module, learned, (tokens, mask, weights))

    assert torch.autograd.gradcheck(
        run, (tokens.requires_grad_(), weights.requires_grad_(), *module.parameters()), fast_mode=True
    )
