"""The network that emits the elastic state: its formula, its bounds, and how the trunk is trained with it."""

import pytest
import torch

from aet.attention.dynamic import StateNetwork
from aet.attention.state import ElasticState, applied, name_elastic
from aet.batch import Batch
from aet.trunk import Trunk
from tests.made import loose_tensors, quick, signs

DIM = 6


def network(**settings):
    torch.manual_seed(0)
    made = StateNetwork(DIM, 10, **settings).double()
    torch.nn.init.normal_(made.emit.weight)
    return made


def tokens(rows=9, count=4, seed=0):
    return torch.randn(rows, count, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trunk(**settings):
    torch.manual_seed(0)
    made = name_elastic(Trunk(DIM, 2, 2, attention={"dynamic": settings})).double()
    torch.nn.init.normal_(made.dynamic.emit.weight, std=0.3)
    torch.nn.init.normal_(made.pool.score)
    return made


def test_the_formula_by_hand():
    made, x = network(kappa=4.0, bound=0.5), tokens()
    made.center.normal_()
    made.spread.uniform_(0.5, 2)
    flat = x.flatten(0, 1)
    phi = torch.nn.functional.gelu(made.phi(flat))
    s = torch.cat([flat.mean(0), flat.std(0, correction=0).log(), phi.mean(0)])
    torch.testing.assert_close(made.statistics(made.rows(x).mean(0)), s)
    z = (s - made.center) / made.spread
    z = 8 / 12 * z / (1 + z.abs() / 2.0)
    expected = 0.5 * torch.tanh(made.emit.weight @ torch.nn.functional.gelu(made.read.weight @ z))
    torch.testing.assert_close(made(s, 9), expected)


def test_padding_is_no_part_of_a_row():
    made, x = network(), tokens(2)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    rows = made.rows(x.masked_fill(~mask[..., None], 7.0), mask)
    torch.testing.assert_close(rows[1], made.rows(x[1:, :2])[0])


def test_one_row_and_the_mean_world_are_the_source():
    made = network()
    s = made.statistics(made.rows(tokens(1)).mean(0))
    assert not made(s, 1).any()
    assert made(s, 2).any()
    made.center.copy_(s)
    assert not made(s, 1000).any()


def test_trust_grows_with_the_rows():
    made = network(kappa=8.0)
    torch.nn.init.normal_(made.emit.weight, std=1e-3)
    s = made.statistics(made.rows(tokens()).mean(0))
    sizes = [float(made(s, n).detach().norm()) for n in (1, 2, 4, 16, 256)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 0


@pytest.mark.parametrize("value", [1e12, -1e12, float("nan"), float("inf")])
def test_no_row_speaks_too_loud(value):
    made, x = network(bound=0.7), tokens(40)
    for seed in range(3):
        rows = made.rows(tokens(40, seed=seed))
        made.note(rows, made.statistics(rows.mean(0)))
    broken = x.clone()
    broken[0] = value
    s = made.statistics(made.tamed(made.rows(broken)).mean(0))
    dials = made(s, 40)
    assert dials.isfinite().all()
    assert dials.abs().max() <= 0.7
    clean = made.tamed(made.rows(x))
    torch.testing.assert_close(clean, made.rows(x), rtol=0, atol=0)


def test_the_source_is_the_mean_over_batches():
    made = network(memory=1000)
    batches = [made.rows(tokens(20, seed=seed) * (1 + seed)).detach() for seed in range(5)]
    each = torch.stack([made.statistics(rows.mean(0)) for rows in batches])
    for rows, s in zip(batches, each, strict=True):
        made.note(rows, s)
    torch.testing.assert_close(made.center, each.mean(0))
    whole = torch.cat(batches)
    torch.testing.assert_close(made.row_center, whole.mean(0))
    torch.testing.assert_close(made.spread, each.std(0, correction=0), rtol=1e-4, atol=0)
    torch.testing.assert_close(made.row_spread, whole.std(0, correction=0), rtol=1e-4, atol=0)


def test_evaluation_is_the_source_and_training_emits():
    made, x = trunk(), tokens()
    source = made.eval()(x)
    assert (made.train()(x) - source).abs().max() > 1e-3
    made.emits = False
    assert torch.equal(made(x), source)
    made.emits = True
    assert torch.equal(made.eval()(x), source)


def test_a_state_that_is_applied_wins():
    made, x = trunk(), tokens()
    state = ElasticState.zeros(made).map(lambda _, t: 0.1 * torch.ones_like(t))
    with applied(state):
        expected = made.eval()(x)
        assert torch.equal(made.train()(x), expected)


def test_each_world_of_a_batch_has_its_own_state():
    made = trunk()
    x, ids = torch.cat([tokens(5, seed=1), 3 * tokens(7, seed=2)]), torch.tensor([4] * 5 + [2] * 7)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    made.train()
    made.dynamic.note = lambda *_: None  # the second world would meet source moments that the first has moved
    alone = torch.cat([made(x[:5]), made(x[5:])])
    made.worlds = ids[order]
    torch.testing.assert_close(made(x[order]), alone[order])
    made.worlds = None
    assert (made(x[order]) - alone[order]).abs().max() > 1e-3


def test_gradients_reach_the_network():
    made = trunk().train()
    made(tokens())  # the first batch defines the source moments and says nothing beyond them
    made(2 * tokens(seed=3)).square().sum().backward()
    for name, p in made.dynamic.named_parameters():
        assert p.grad.abs().max() > 0, name


def test_learns_what_no_row_alone_shows():
    """Each world adds an offset of its own to the tokens; the network alone learns to answer as if there were none."""
    made = trunk().float()
    torch.nn.init.zeros_(made.dynamic.emit.weight)
    optimiser = torch.optim.Adam(made.dynamic.parameters(), lr=1e-2)

    def loss(offset):
        x = torch.randn(32, 2, DIM)
        with torch.no_grad():
            expected = made.eval()(x)
        return (made.train()(x + offset * torch.eye(DIM)[0]) - expected).square().mean()

    untrained = sum(float(loss(offset).detach()) for offset in (-2.0, 2.0) * 5)
    for step in range(50):
        optimiser.zero_grad()
        loss((-2.0, 2.0)[step % 2]).backward()
        optimiser.step()
    trained = sum(float(loss(offset).detach()) for offset in (-2.0, 2.0) * 5)
    assert trained < 0.8 * untrained


def trained(**data):
    import aet

    settings = quick(epochs=2, attention={"dynamic": {}})
    frame = signs().assign(site=["n", "s", "e", "w"] * 40)
    return aet.train(frame, target="y", config=settings, **data), frame


def test_a_share_of_the_batches_is_emitted():
    model, frame = trained(ignore="site")
    batch = model.encode(frame)
    model.train()
    torch.manual_seed(0)
    emitted = 0
    for _ in range(60):
        tokens, _ = model.tokens(batch)
        moved = not torch.equal(tokens, model.eval().tokens(batch)[0])
        assert moved == model.trunk.emits
        emitted += moved
        model.train()
    assert 18 <= emitted <= 42
    model.eval()


def test_inputs_are_brought_to_the_source_world_by_world():
    model, frame = trained(group="site")
    moved = frame.assign(a=frame["a"] + 10 * (frame["site"] == "n"))
    batch = model.encode(moved, target=True)
    assert batch.streams.tolist() == [0, 1, 2, 3] * 40
    model.trunk.dynamic.settings["share"] = 1.0
    model.train()
    state = model.simulated(batch)
    model.eval()
    far, near = batch.streams == 0, batch.streams == 1
    for dial, t in state.items():
        assert t.shape[0] == len(batch), dial
        world = batch[far.nonzero()[:, 0]].values
        expected = 39 / 47 * model.inputs["number0"].realigned(world["number0"])[dial.rpartition(".")[2]]
        torch.testing.assert_close(t[far], expected.expand_as(t[far]))
        assert (t[far][0] - t[near][0]).abs().max() > 0.01


def test_one_row_leaves_the_inputs_alone():
    model, frame = trained(ignore="site")
    assert not any(t.any() for t in model.realigned(model.encode(frame.head(1)).values).values())


def test_a_model_with_it_saves_and_loads(tmp_path):
    import aet

    model, frame = trained(group="site")
    assert "dials" in model.attention_acted()["dynamic"]
    assert not loose_tensors(model)
    copy = aet.load(model.save(tmp_path / "run"))
    assert torch.equal(copy.trunk.dynamic.center, model.trunk.dynamic.center)
    assert copy.predict(frame).equals(model.predict(frame))


def test_without_it_there_is_nothing():
    import aet

    model = aet.train(signs(), target="y", group=None, config=quick(epochs=1))
    assert model.trunk.dynamic is None
    assert model.attention_acted() == {}
    assert model.encode(signs(4)).streams is None
    assert isinstance(model.encode(signs(4)), Batch)
