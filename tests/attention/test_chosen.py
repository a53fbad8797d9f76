"""Mechanisms inside the layer and the trunk: nothing at first, learnable from there, right with states and masks."""

import pytest
import torch
from torch import nn

from aet.attention.chosen import Mechanisms, Offered, usable
from aet.attention.layer import ElasticAttention
from aet.attention.mechanisms import MECHANISMS, combine
from aet.attention.obvious import attend_obvious, attention_scores
from aet.attention.state import ElasticState, applied, merge, name_elastic
from aet.config import Config
from aet.errors import ConfigError
from aet.trunk import Trunk, check_attention
from tests.made import quick, signs

DIM, HEADS = 12, 3
USABLE = [
    "adaptive_temperature",
    "context_gate",
    "distance",
    "entmax",
    "gate",
    "multiplicative",
    "null_slot",
    "qassmax",
]
USABLE += ["ssmax"]
READING = ["decay", "destationary"]
"""Those that read times, or series, where an input gives them."""
TOGETHER = [name for name in USABLE if name != "null_slot"]


def layer(names=(), seed=0):
    torch.manual_seed(seed)
    return name_elastic(nn.ModuleDict({"layer": ElasticAttention(DIM, HEADS, names)})).double()["layer"]


def trunk(names=(), dtype=torch.float64):
    torch.manual_seed(0)
    made = name_elastic(Trunk(DIM, 2, HEADS, attention={name: {} for name in names})).to(dtype).eval()
    torch.nn.init.normal_(made.pool.score)
    return made


def nudged(module, amount=0.3):
    """Every parameter of a mechanism away from its zero setting; upwards, since some are bounded below."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if "mechanisms." in name:
                p += amount * torch.rand_like(p)
    return module


def tokens(rows=3, count=5, seed=1):
    return torch.randn(rows, count, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masked():
    return torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4])


def noise(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(module).map(lambda _, t: 0.3 * torch.randn(t.shape, generator=generator, dtype=t.dtype))


def test_usable_are_those_that_read_what_a_layer_has():
    assert usable() == sorted([*USABLE, *READING])


@pytest.mark.parametrize("mask", [None, masked()], ids=["whole", "masked"])
@pytest.mark.parametrize("names", [*([name] for name in USABLE), TOGETHER], ids=lambda names: "+".join(names)[:20])
class TestZero:
    def test_a_fresh_model_is_the_model_without(self, names, mask):
        plain, with_it = trunk(), trunk(names)
        expected = plain(tokens(), mask)
        torch.testing.assert_close(with_it(tokens(), mask), expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(with_it.focus(tokens(), mask), plain.focus(tokens(), mask), rtol=0, atol=1e-10)
        own = plain.state_dict()
        assert all(torch.equal(with_it.state_dict()[name], t) for name, t in own.items())
        assert with_it.acted() == dict.fromkeys(names, "")

    def test_it_can_leave_zero(self, names, mask):
        with_it = trunk(names)
        optimiser = torch.optim.SGD([p for n, p in with_it.named_parameters() if "mechanisms." in n], lr=1e-2)
        target = torch.randn(3, DIM, dtype=torch.float64)
        for _ in range(3):
            optimiser.zero_grad()
            (with_it(tokens(), mask) - target).square().sum().backward()
            optimiser.step()
        acted = with_it.acted()
        assert all(acted.values())
        assert "over 2 blocks of 3 heads" in acted[names[0]]


@pytest.mark.parametrize("names", [*([name] for name in USABLE), TOGETHER], ids=lambda names: "+".join(names)[:20])
class TestMoved:
    def test_it_changes_answers(self, names):
        assert (nudged(trunk(names))(tokens()) - trunk()(tokens())).abs().max() > 1e-5

    def test_padding_is_never_read(self, names):
        made, x, mask = nudged(trunk(names)), tokens(), masked()
        expected = made(x, mask)
        torch.testing.assert_close(made(x.masked_fill(~mask[..., None], 1e6), mask), expected)
        torch.testing.assert_close(made(x[1:2])[0], made(x)[1])
        torch.testing.assert_close(made(x[1:2, :3])[0], expected[1], rtol=0, atol=1e-10)

    def test_merged_is_applied(self, names):
        made = nudged(trunk(names))
        with applied(noise(made)):
            expected = made(tokens(), masked())
        torch.testing.assert_close(merge(made, noise(made))(tokens(), masked()), expected, rtol=0, atol=1e-10)

    def test_each_row_may_have_its_own_state(self, names):
        made, x = nudged(trunk(names)), tokens(4)
        states, index = [noise(made, seed) for seed in range(3)], torch.tensor([1, 0, 2, 1])
        with applied(ElasticState.stack(states).rows(index)):
            together, looks = made(x), made.focus(x)
        for row, which in enumerate(index.tolist()):
            with applied(states[which]):
                torch.testing.assert_close(together[row], made(x[row : row + 1])[0], rtol=0, atol=1e-10)
                torch.testing.assert_close(looks[row], made.focus(x[row : row + 1])[0], rtol=0, atol=1e-10)

    def test_weights_are_what_mixes_the_values(self, names):
        made, x = nudged(layer(names)), tokens()
        bias = masked()[:, None, None, :]
        weights = made.weights(x, bias)
        assert (weights[1, :, :, 3:] == 0).all()
        total = weights.sum(-1)
        if "null_slot" in names:
            assert (total < 1 - 1e-3).all()
        else:
            torch.testing.assert_close(total, torch.ones_like(total))
        if set(names) & {"gate", "context_gate"}:
            return
        _, _, value = made.projected(x)
        mixed = (weights @ value).transpose(1, 2).flatten(-2)
        torch.testing.assert_close(made.out(mixed), made(x, bias), rtol=0, atol=1e-10)

    def test_no_rows(self, names):
        assert nudged(trunk(names))(torch.empty(0, 5, DIM, dtype=torch.float64)).shape == (0, DIM)


def test_dials_and_state_by_hand():
    """Temperature by length, distance, output gate and a state, each where the formula has it."""
    made, x, bias = nudged(layer(["ssmax", "distance", "gate"])), tokens(), masked()[:, None, None, :]
    state = noise(nn.ModuleDict({"layer": made}))
    ssmax, distance, gate = (one for _, one in made.mechanisms.each())
    d = {name.removeprefix("layer."): t for name, t in state.items()}
    q, k, v = (part.view(3, 5, HEADS, DIM // HEADS).transpose(1, 2) for part in made.qkv(x).chunk(3, -1))
    n = masked().sum(1).double()[:, None, None, None]
    beta = ssmax.slope[:, None, None] * n.log() + ssmax.offset[:, None, None]
    place = torch.arange(5.0, dtype=torch.float64)
    near = -distance.rate[:, None, None] * ((place[:, None] - place) / 8).square()
    opened = 2 * torch.sigmoid(gate.project(x)).view(3, 5, HEADS, -1).transpose(1, 2)
    expected = attend_obvious(
        q * (1 + d["q_scale"]) + d["q_shift"],
        k * (1 + d["k_scale"]),
        v * (1 + d["v_scale"]) + d["v_shift"],
        inverse_temperature=beta * d["log_beta"].exp(),
        gate=opened * d["log_gate"].exp(),
        bias=torch.where(bias, near, -torch.inf),
    )
    with applied(state):
        got = made(x, bias)
    torch.testing.assert_close(got, made.out(expected.transpose(1, 2).flatten(-2)), rtol=0, atol=1e-12)


def test_what_a_layer_offers():
    x = tokens()
    q, k, _ = layer().projected(x)
    bias = masked()[:, None, None, :]
    inputs = Offered(x, q, k, q, bias)
    assert inputs.lengths().tolist() == [[5], [3], [1]]
    torch.testing.assert_close(inputs.context(), torch.stack([x[0].mean(0), x[1, :3].mean(0), x[2, 0]]))
    p = attention_scores(q, k, bias=bias).softmax(-1)
    torch.testing.assert_close(inputs.entropy(), torch.special.entr(p).sum(-1))
    added = Offered(x, q, k, q, torch.zeros(1, 1, 5, 5).masked_fill(~torch.ones(5, 5).bool().tril(), -torch.inf))
    assert added.lengths().tolist() == [[1, 2, 3, 4, 5]]
    assert Offered(x, q, k, q, None).lengths().tolist() == [[5]]


def test_combining_nothing_is_nothing():
    assert combine() == {}


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        ({"smax": {}}, "no mechanism 'smax' for model.attention. Did you mean 'ssmax'.*'dynamic'"),
        ({"key_weights": {}}, "'key_weights' reads weights, which an attention layer is not given.*'context_gate'"),
        ({"gate": {"width": 2}}, "'gate' has no settings"),
        ({"dynamic": {"hiden": 2}}, "no setting 'hiden'. Did you mean 'hidden'"),
        ({"dynamic": {"share": 2.0}}, "share.*from 0 to 1"),
        ({"dynamic": {"reach": 0.0}}, "reach.*more than 0"),
        ({"entmax": {}, "null_slot": {}}, "'entmax' and 'null_slot' both take the place of the softmax"),
    ],
)
def test_refusals(attention, message):
    with pytest.raises(ConfigError, match=message):
        Trunk(DIM, 1, HEADS, attention=attention)


def test_the_registry_of_a_layer_refuses_too():
    with pytest.raises(ConfigError, match="There is no mechanism 'gat'"):
        Mechanisms(8, 2, ["gat"])
    assert "gate" in MECHANISMS


def test_names_without_dynamic():
    assert check_attention({"gate": {}, "dynamic": {}}) == ["gate"]


def test_a_model_learns_saves_and_loads_with_mechanisms(tmp_path):
    import aet

    names = ["ssmax", "entmax", "context_gate"]
    settings = quick(epochs=3, attention={name: {} for name in names})
    model = aet.train(signs(), target="y", config=settings)
    acted = model.attention_acted()
    assert list(acted) == names
    assert all(acted.values())
    copy = aet.load(model.save(tmp_path / "run"))
    assert copy.predict(signs(20, 1)).equals(model.predict(signs(20, 1)))
    assert copy.attention_acted() == acted
    assert copy.config.model.attention == {name: {} for name in names}
    assert Config().model.attention == {}
