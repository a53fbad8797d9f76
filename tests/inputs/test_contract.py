"""What every kind of input promises; kinds are found in the registry."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from aet.attention.state import ElasticState, applied, merge, name_elastic
from aet.batch import Batch
from aet.drift import drifted
from aet.errors import ConfigError
from aet.inputs import INPUTS
from aet.schema import KINDS

from ..made import loose_tensors
from .examples import EXAMPLES

DIM, ROWS, RADIUS = 6, 60, 5.0
NAMES = [*EXAMPLES, *(kind for kind in INPUTS if kind not in EXAMPLES)]


def example(kind):
    """What stands under a name: a kind, or a kind with settings."""
    if kind not in EXAMPLES:
        pytest.fail(f"The input kind {kind!r} has no example: add one to EXAMPLES in tests/inputs/examples.py.")
    return EXAMPLES[kind]


def registered(kind):
    return INPUTS[example(kind).kind or kind]


def target(rows=ROWS):
    """Classes of rows, for parts that look at them."""
    return torch.arange(rows) % 3


def fitted(kind, seed=0):
    """A fitted and built part, in a dict that names its dials."""
    given = example(kind)
    torch.manual_seed(seed)
    part = registered(kind)(given.specs, DIM)
    part.fit(given.frame(ROWS, 0), given.settings, target())
    part.build()
    return name_elastic(nn.ModuleDict({"part": part})).eval()


def encoded(kind, box, rows=12, seed=1, dtype=torch.float32):
    """Encoded rows, the odd ones among them."""
    given = example(kind)
    frame = pd.concat([given.frame(rows, seed), given.odd], ignore_index=True)
    values = box["part"].encode(frame)
    return values.to(dtype) if values.is_floating_point() else values


def random_state(box, seed=0, size=0.3):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(box).map(lambda _, t: size * torch.randn(t.shape, generator=generator, dtype=t.dtype))


def cells(frame):
    """What is in a frame, arrays by their bytes, to compare it with itself later."""
    return [cell.tobytes() if hasattr(cell, "tobytes") else repr(cell) for cell in frame.to_numpy(object).flatten()]


every_kind = pytest.mark.parametrize("kind", NAMES)
dialled = pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if fitted(kind)["part"].dial_shapes()])


def test_the_schema_knows_the_registered_kinds():
    assert set(INPUTS) == set(KINDS)


@every_kind
def test_it_is_registered_under_its_kind(kind):
    assert registered(kind).kind == (example(kind).kind or kind)
    bundles = registered(kind).bundle(example(kind).specs)
    assert [spec for bundle in bundles for spec in bundle] == example(kind).specs


@every_kind
def test_tokens_are_finite_named_and_masked_whatever_the_cells(kind):
    box = fitted(kind)
    values = encoded(kind, box)
    tokens, mask = box["part"](values)
    names = box["part"].token_names()
    assert tokens.shape == (len(values), len(names), DIM)
    assert len(set(names)) == len(names)
    assert torch.isfinite(tokens).all()
    if mask is not None:
        assert mask.shape == tokens.shape[:2]
        assert mask.dtype == torch.bool
        assert mask.any(1).all(), "a row without any token cannot be answered"


@every_kind
def test_rows_are_answered_one_by_one_as_together(kind):
    box = fitted(kind)
    given = example(kind)
    frame = pd.concat([given.frame(5, 1), given.odd], ignore_index=True)
    together, masks = box["part"](box["part"].encode(frame))
    for row in range(len(frame)):
        alone, mask = box["part"](box["part"].encode(frame.iloc[[row]]))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-5, atol=1e-5)
        assert masks is None or torch.equal(mask[0], masks[row])


@every_kind
def test_no_rows_give_no_tokens(kind):
    box = fitted(kind)
    values = box["part"].encode(example(kind).frame(3, 0).iloc[:0])
    tokens, _ = box["part"](values)
    assert tokens.shape == (0, len(box["part"].token_names()), DIM)
    assert len(box["part"].augment(values, 1.0, torch.Generator())) == 0


@every_kind
def test_tables_are_left_as_they_were(kind):
    given = example(kind)
    frame = given.frame(ROWS, 0)
    before = cells(frame)
    part = registered(kind)(given.specs, DIM)
    part.fit(frame, given.settings, target())
    part.build()
    part.encode(frame)
    assert cells(frame) == before


@every_kind
def test_the_same_rows_and_seed_give_the_same_bits(kind):
    one, two = fitted(kind), fitted(kind)
    assert json.dumps(one["part"].settings()) == json.dumps(two["part"].settings())
    values = encoded(kind, one)
    torch.testing.assert_close(encoded(kind, two), values, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(one["part"](values)[0], two["part"](values)[0])


@every_kind
def test_settings_and_weights_make_it_again(kind):
    box = fitted(kind)
    again = registered(kind)(example(kind).specs, DIM)
    again.load_settings(json.loads(json.dumps(box["part"].settings())))
    torch.manual_seed(9)
    again.build()
    again.load_state_dict(box["part"].state_dict())
    values = encoded(kind, box)
    other = name_elastic(nn.ModuleDict({"part": again})).eval()
    torch.testing.assert_close(encoded(kind, other), values, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(again(values)[0], box["part"](values)[0])
    assert again.token_names() == box["part"].token_names()


@every_kind
def test_unknown_settings_are_errors(kind):
    given = example(kind)
    part = registered(kind)(given.specs, DIM)
    with pytest.raises(ConfigError, match=rf"inputs\.{registered(kind).kind}\.wrong is unknown"):
        part.fit(given.frame(ROWS, 0), {**given.settings, "wrong": 1})


@every_kind
def test_tensors_move_with_the_module(kind):
    """Every tensor is a parameter or a buffer, so that `.to(device)` finds it."""
    assert not loose_tensors(fitted(kind))


@every_kind
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_tokens_are_the_same_on_a_card(kind):
    box = fitted(kind)
    values = encoded(kind, box)
    expected, _ = box["part"](values)
    box.to("cuda")
    assert not box["part"].encode(example(kind).frame(3, 0)).is_cuda
    tokens, _ = box["part"](values.to("cuda"))
    torch.testing.assert_close(tokens.cpu(), expected, rtol=1e-4, atol=1e-4)


@every_kind
def test_gradients_in_double_precision(kind):
    box = fitted(kind).double()
    values = encoded(kind, box, rows=3, dtype=torch.float64)
    state = ElasticState.zeros(box) if box["part"].dial_shapes() else ElasticState({})
    weights = dict(box["part"].named_parameters())

    def run(*tensors):
        named = dict(zip([*weights, *state], tensors, strict=True))
        with applied(ElasticState({name: named[name] for name in state})):
            tokens, mask = torch.func.functional_call(box["part"], {name: named[name] for name in weights}, (values,))
        # A masked token is read by nobody, and padding takes no gradient.
        return tokens if mask is None else tokens * mask[..., None]

    leaves = [t.detach().clone().requires_grad_() for t in (*weights.values(), *state.values())]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


@every_kind
def test_drift_changes_rows_but_not_what_they_are(kind):
    box = fitted(kind)
    values = encoded(kind, box, rows=30)
    before = values.clone()
    changed = 0
    for seed in range(5):
        moved = box["part"].augment(values, 1.0, torch.Generator().manual_seed(seed))
        again = box["part"].augment(values, 1.0, torch.Generator().manual_seed(seed))
        assert moved.shape == values.shape
        assert moved.dtype == values.dtype
        torch.testing.assert_close(moved, again, rtol=0, atol=0, equal_nan=True)
        tokens, mask = box["part"](moved)
        assert torch.isfinite(tokens).all()
        assert mask is None or mask.any(1).all()
        changed += not torch.equal(moved.nan_to_num(7.0), values.nan_to_num(7.0))
    torch.testing.assert_close(values, before, rtol=0, atol=0, equal_nan=True)
    assert changed >= 4


@every_kind
def test_drift_draws_from_its_own_generator(kind):
    box = fitted(kind)
    values = encoded(kind, box)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    box["part"].augment(values, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(torch.random.get_rng_state(), before)


@every_kind
def test_drift_of_strength_zero_is_the_very_batch(kind):
    box = fitted(kind)
    batch = Batch({"x": encoded(kind, box)})
    model = SimpleNamespace(parts=lambda: [("x", box["part"])])
    assert drifted(model, batch, 0.0, torch.Generator()) is batch
    assert drifted(model, batch, 1.0, torch.Generator()) is not batch


@dialled
def test_zero_state_is_the_source(kind):
    box = fitted(kind)
    values = encoded(kind, box)
    expected, _ = box["part"](values)
    with applied(ElasticState.zeros(box)):
        torch.testing.assert_close(box["part"](values)[0], expected, rtol=1e-6, atol=1e-6)


@dialled
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_merged_is_applied(kind, dtype, tolerance):
    box = fitted(kind).to(dtype)
    values = encoded(kind, box, dtype=dtype)
    for state in (random_state(box), random_state(box).select(lambda name: name.endswith("shift"))):
        with applied(state):
            expected, _ = box["part"](values)
        merged = merge(box, state)
        torch.testing.assert_close(merged["part"](values)[0], expected, rtol=tolerance, atol=tolerance)
        # The rows stay encoded in the source's units, and further states come on top.
        frame = example(kind).frame(4, 2)
        torch.testing.assert_close(
            merged["part"].encode(frame), box["part"].encode(frame), rtol=0, atol=0, equal_nan=True
        )
        more = random_state(merged, 5)
        with applied(more):
            moved, _ = merged["part"](values)
        torch.testing.assert_close(merge(merged, more)["part"](values)[0], moved, rtol=tolerance, atol=tolerance)


@dialled
def test_each_row_may_have_its_own_state(kind):
    box = fitted(kind).double()
    values = encoded(kind, box, dtype=torch.float64)
    states = [random_state(box, seed) for seed in range(3)]
    index = torch.arange(len(values)) % 3
    with applied(ElasticState.stack(states).rows(index)):
        together, _ = box["part"](values)
    for row, which in enumerate(index.tolist()):
        with applied(states[which]):
            torch.testing.assert_close(together[row], box["part"](values[row : row + 1])[0][0], rtol=1e-12, atol=1e-12)


@dialled
def test_tokens_stay_finite_all_over_the_trust_region(kind):
    box = fitted(kind)
    values = encoded(kind, box)
    for edge in (-RADIUS, RADIUS):
        with applied(ElasticState.zeros(box).map(lambda _, t, e=edge: t + e)):
            assert torch.isfinite(box["part"](values)[0]).all()


@every_kind
def test_realigned_gives_its_dials_finite_for_any_rows(kind):
    box = fitted(kind)
    shapes = box["part"].dial_shapes()
    values = encoded(kind, box)
    for some in (values, values[:1], values[:0], values[-1:]):
        dials = box["part"].realigned(some)
        assert set(dials) == set(shapes)
        for name, tensor in dials.items():
            assert tuple(tensor.shape) == shapes[name]
            assert torch.isfinite(tensor).all()


@dialled
def test_realigned_leaves_training_rows_and_undoes_gain_and_offset(kind):
    box = fitted(kind)
    values = box["part"].encode(example(kind).frame(ROWS, 0))
    assert all(tensor.abs().max() < 0.05 for tensor in box["part"].realigned(values).values())
    source, _ = box["part"](values)
    worn = 1.6 * values + 0.7
    dials = {f"part.{name}": tensor for name, tensor in box["part"].realigned(worn).items()}
    with applied(ElasticState(dials)):
        mended, _ = box["part"](worn)
    assert (mended - source).abs().max() < 0.1 * (box["part"](worn)[0] - source).abs().max()
