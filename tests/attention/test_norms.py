"""The kinds of norm against PyTorch's, their dials, and whole models built of them."""

import pytest
import torch
from torch import nn

import aet
from aet.attention.layer import watched_norms
from aet.attention.norms import NORMS, ElasticBatchNorm, ElasticRMSNorm
from aet.attention.state import ElasticState, applied, merge, name_elastic
from aet.errors import ConfigError
from aet.trunk import Trunk
from tests.made import quick, signs

DIM = 6


def made(kind, trained=True):
    """A norm with weights of some training."""
    torch.manual_seed(0)
    module = name_elastic(nn.ModuleDict({"norm": NORMS[kind](DIM)})).double()
    if trained:
        with torch.no_grad():
            for tensor in module.state_dict().values():
                if tensor.is_floating_point():
                    tensor.uniform_(0.5, 2.0)
    return module.eval()


def some_state(module, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(module).map(
        lambda _, t: 0.4 * torch.randn(t.shape, generator=generator, dtype=torch.float64)
    )


def tokens(seed=0):
    return 2 + 3 * torch.randn(4, 5, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", NORMS)
class TestKinds:
    def test_the_zero_state_is_the_norm(self, kind):
        module, x = made(kind), tokens()
        with applied(ElasticState.zeros(module)):
            adapted = module["norm"](x)
        assert torch.equal(adapted, module["norm"](x))

    def test_dials_come_after_the_norm(self, kind):
        module, x = made(kind), tokens()
        state, plain = some_state(module), module["norm"](x)
        with applied(state):
            adapted = module["norm"](x)
        torch.testing.assert_close(adapted, plain * (1 + state["norm.scale"]) + state["norm.shift"])

    def test_each_row_may_have_its_own_dials(self, kind):
        module, x = made(kind), tokens()
        states = [some_state(module, seed) for seed in range(4)]
        with applied(ElasticState.stack(states)):
            together = module["norm"](x)
        for row, state in enumerate(states):
            with applied(state):
                torch.testing.assert_close(together[row], module["norm"](x)[row])

    def test_fold_is_exact(self, kind):
        module, x = made(kind), tokens()
        state = some_state(module)
        with applied(state):
            expected = module["norm"](x)
        torch.testing.assert_close(merge(module, state)["norm"](x), expected, rtol=0, atol=1e-12)

    def test_rows_do_not_see_each_other_in_evaluation(self, kind):
        module, x = made(kind), tokens()
        torch.testing.assert_close(module["norm"](x)[1:2], module["norm"](x[1:2]))
        assert module["norm"](x[:0]).shape == (0, 5, DIM)

    def test_a_watch_sees_input_and_plain_output_and_says_what_goes_on(self, kind):
        module, x, seen = made(kind), tokens(), []

        def watch(norm, x, plain, mask):
            seen.append((norm.elastic_name, x, plain, mask))
            return plain + 1

        plain, mask = module["norm"](x), torch.ones(4, 5, dtype=torch.bool)
        with applied(some_state(module)), watched_norms(watch):
            out = module["norm"](x, mask)
        (name, before, after, there), *rest = seen
        assert (name, rest) == ("norm", [])
        assert before is x
        assert there is mask
        assert torch.equal(after, plain)
        assert torch.equal(out, plain + 1)

    def test_a_model_of_them_learns_saves_and_loads(self, kind, tmp_path):
        frame = signs(200)
        model = aet.train(frame, target="y", config=quick(8, norm=kind, dropout=0.0))
        assert {type(part) for part in model.modules() if isinstance(part, tuple(NORMS.values()))} == {NORMS[kind]}
        batch = model.encode(model.check(frame).frame, target=True)
        right = (model.logits(batch).argmax(-1) == batch.target).float().mean()
        assert right > 0.75
        again = aet.load(model.save(tmp_path / "run"))
        assert torch.equal(again.logits(batch), model.logits(batch))
        state = ElasticState.zeros(model).map(lambda _, t: t + 0.1)
        with applied(state):
            adapted = model.logits(batch)
        torch.testing.assert_close(merge(model, state).logits(batch), adapted, rtol=1e-4, atol=1e-4)
        stream = again.stream(adapt="align", guard="always")
        assert stream.predict(frame[["a", "b"]])["prediction"].notna().all()
        assert stream.state.size() > 0


class TestFormulas:
    def test_rms(self):
        module, x = made("rms"), tokens()
        expected = module["norm"].weight * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() + module["norm"].bias
        torch.testing.assert_close(module["norm"](x), expected)
        fresh, plain = ElasticRMSNorm(DIM), nn.RMSNorm(DIM, eps=1e-6)
        assert torch.equal(fresh(x.float()), plain(x.float()))

    def test_batch_in_evaluation_and_training_is_torchs(self):
        ours, theirs = ElasticBatchNorm(DIM).double(), nn.BatchNorm1d(DIM).double()
        for seed in range(3):
            x = tokens(seed)
            torch.testing.assert_close(ours(x), theirs(x.transpose(1, 2)).transpose(1, 2))
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)
        x = tokens(9)
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x.transpose(1, 2)).transpose(1, 2))

    def test_batch_leaves_padding_out(self):
        """What stands in padded places changes neither the moments nor the real tokens."""
        x, mask = tokens(), torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) < 0.7
        one, other = ElasticBatchNorm(DIM).double(), ElasticBatchNorm(DIM).double()
        first, second = one(x, mask), other(x.masked_fill(~mask[..., None], 1e3), mask)
        assert torch.equal(first[mask], second[mask])
        assert torch.equal(one.running_mean, other.running_mean)
        torch.testing.assert_close(one.running_mean, 0.1 * x[mask].mean(0))
        torch.testing.assert_close(one.running_var, 0.9 + 0.1 * x[mask].var(0))

    def test_batch_of_one_token_in_training(self):
        norm = ElasticBatchNorm(DIM).double()
        x, mask = tokens()[:1], torch.tensor([[True, False, False, False, False]])
        assert norm(x, mask).isfinite().all()
        assert torch.equal(norm.running_mean, torch.zeros(DIM, dtype=torch.float64))

    def test_gradients_reach_the_real_tokens(self):
        norm, mask = ElasticBatchNorm(2).double(), torch.tensor([[True, True, False], [True, False, False]])
        x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: norm(x, mask)[mask], x, fast_mode=True)


def test_padding_reaches_the_norms_of_a_trunk():
    trunk = name_elastic(Trunk(8, 2, 2, norm="batch")).train()
    x, mask = torch.randn(3, 4, 8), torch.tensor([[True, True, True, False]] * 3)
    first = trunk(x, mask)
    moments = {name: t.clone() for name, t in trunk.state_dict().items() if "running" in name}
    torch.manual_seed(0)
    twin = name_elastic(Trunk(8, 2, 2, norm="batch")).train()
    twin.load_state_dict({n: t for n, t in trunk.state_dict().items() if "running" not in n}, strict=False)
    second = twin(torch.where(mask[..., None], x, 50.0), mask)
    torch.testing.assert_close(first, second)
    for name, t in twin.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(t, moments[name])


def test_the_default_is_the_layer_norm_with_the_same_bits():
    torch.manual_seed(0)
    default = Trunk(8, 1, 2)
    torch.manual_seed(0)
    named = Trunk(8, 1, 2, norm="layer")
    x = torch.randn(2, 3, 8)
    assert torch.equal(default(x), named(x))
    assert torch.equal(default.norm(x), nn.functional.layer_norm(x, (8,), default.norm.weight, default.norm.bias))


def test_an_unknown_kind_is_a_config_error():
    with pytest.raises(ConfigError, match=r"model\.norm"):
        aet.train(signs(40), target="y", config={"model": {"norm": "group"}})
