"""The elastic state: arithmetic, files, and what is active where."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aet.attention.layer import ElasticAttention, ElasticNorm
from aet.attention.state import (
    ElasticModule,
    ElasticState,
    applied,
    elastic_modules,
    load_tensors,
    merge,
    name_elastic,
)
from aet.errors import ConfigError, NotElastic, RunError


def network(dim=8):
    torch.manual_seed(0)
    return name_elastic(nn.Sequential(ElasticNorm(dim), ElasticAttention(dim, 2), ElasticNorm(dim))).eval()


def noise(module, seed=0, size=0.3):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(module).map(lambda _, t: size * torch.randn(t.shape, generator=generator, dtype=t.dtype))


def refusal(path):
    """What is said of a file that cannot be read; any other error fails the test."""
    try:
        load_tensors(path)
    except RunError as error:
        return str(error)
    return ""


def test_zeros_names_every_dial_once_with_its_shape():
    state = ElasticState.zeros(network())
    assert len(state) == 2 + 7 + 2
    assert state["1.q_scale"].shape == (2, 1, 4)
    assert state["1.log_beta"].shape == (2, 1, 1)
    assert state["2.shift"].shape == (1, 8)
    assert state.size() == 0
    assert state.nbytes == 4 * sum(t.numel() for t in state.values())


def test_a_module_without_dials_is_not_elastic():
    with pytest.raises(NotElastic, match="Linear holds no elastic module: expected attention or norms"):
        ElasticState.zeros(nn.Linear(2, 2))


def test_arithmetic_keeps_the_original():
    state = noise(network())
    before = state.copy()
    assert state.scaled(2.0).size() == pytest.approx(2 * state.size())
    assert state.scaled(0.0).size() == 0
    assert state.updated({"0.scale": torch.ones(1, 8)})["0.scale"].sum() == 8
    assert state.equal(before)
    assert not state.equal(state.scaled(1.001))
    assert not state.equal(state.select(lambda name: name.startswith("0")))


@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_clipped_is_finite_and_inside_whatever_came_before(values):
    clipped = ElasticState({"norm.scale": torch.tensor(values)}).clipped(2.5)
    assert torch.isfinite(clipped["norm.scale"]).all()
    assert clipped["norm.scale"].abs().max() <= 2.5


def test_trainable_copies_take_gradients_and_leave_the_state():
    state = noise(network())
    free = state.trainable()
    assert all(t.requires_grad and t.is_leaf for t in free.values())
    with torch.no_grad():
        free["0.scale"].add_(1)
    assert not any(t.requires_grad for t in state.values())
    assert state.map(lambda name, t: free[name].detach() - t).size() == pytest.approx(8**0.5)


def test_save_and_load_give_the_same_bits(tmp_path):
    state = noise(network())
    state.save(tmp_path / "state.safetensors")
    assert ElasticState.load(tmp_path / "state.safetensors").equal(state)


def test_a_missing_or_damaged_file_is_a_run_error(tmp_path):
    path = tmp_path / "state.safetensors"
    with pytest.raises(RunError, match=r"is missing. Expected a safetensors file"):
        ElasticState.load(path)
    noise(network()).save(path)
    whole = path.read_bytes()
    for length in (0, 4, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError, match="cannot be read as safetensors"):
            load_tensors(path)


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read_or_refused_with_the_mend(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("state") / "x.safetensors"
    path.write_bytes(data)
    assert "restore it from a copy" in refusal(path)


@given(st.integers(0, 2000), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_in_the_header_is_read_or_refused(tmp_path_factory, place, change):
    path = tmp_path_factory.mktemp("state") / "x.safetensors"
    noise(network()).save(path)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= change
    path.write_bytes(data)
    assert refusal(path) == "" or "cannot be read as safetensors" in refusal(path)


def test_zero_state_is_the_source():
    module = network()
    x = torch.randn(3, 5, 8)
    with applied(ElasticState.zeros(module)):
        moved = module(x)
    torch.testing.assert_close(moved, module(x), rtol=0, atol=1e-6)


def test_none_is_the_source_and_contexts_nest():
    module, x = network(), torch.randn(2, 3, 8)
    plain = module(x)
    with applied(noise(module, 1)):
        first = module(x)
        with applied(noise(module, 2)):
            second = module(x)
            with applied(None):
                assert torch.equal(module(x), plain)
        assert torch.equal(module(x), first)
    assert torch.equal(module(x), plain)
    assert len({t.sum().item() for t in (plain, first, second)}) == 3


def test_the_state_before_returns_after_an_error():
    module, x = network(), torch.randn(2, 3, 8)
    plain = module(x)

    def fail():
        with applied(noise(module)):
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert torch.equal(module(x), plain)


def test_applying_a_state_changes_neither_weights_nor_state():
    module = network()
    weights = {name: t.clone() for name, t in module.state_dict().items()}
    state = noise(module)
    before = state.copy()
    with applied(state):
        module(torch.randn(2, 3, 8)).sum().backward()
    assert state.equal(before)
    assert all(torch.equal(weights[name], t) for name, t in module.state_dict().items())


def test_threads_do_not_see_each_other():
    module, x = network(), torch.randn(2, 3, 8)
    plain = module(x)
    states = [noise(module, seed) for seed in range(4)]
    expected = []
    for state in states:
        with applied(state):
            expected.append(module(x))
    together = Barrier(len(states) + 1)

    def serve(state):
        with applied(state):
            together.wait(10)
            answers = [module(x) for _ in range(20)]
            together.wait(10)
        return answers

    def watch():
        together.wait(10)
        answers = [module(x) for _ in range(20)]
        together.wait(10)
        return answers

    with applied(states[0]), ThreadPoolExecutor(5) as pool:
        # A thread that applies nothing serves the source, even if the one that started it applies something.
        jobs = [*(pool.submit(serve, state) for state in states), pool.submit(watch)]
        for job, answer in zip(jobs, [*expected, plain], strict=True):
            assert all(torch.equal(got, answer) for got in job.result(20))


@pytest.mark.parametrize("kept", ["1.log_gate", "1.q_shift", "0.scale", "2.shift"])
def test_a_partial_state_leaves_the_rest_at_the_source(kept):
    module, x = network(), torch.randn(4, 5, 8)
    part = noise(module).select(lambda name: name == kept)
    whole = ElasticState.zeros(module).updated(part)
    with applied(whole):
        expected = module(x)
    with applied(part):
        torch.testing.assert_close(module(x), expected)
    torch.testing.assert_close(merge(module, part)(x), expected, atol=1e-5, rtol=0)
    batched = ElasticState.stack([part, part.scaled(0.0)]).rows(torch.tensor([0, 1, 0, 1]))
    with applied(batched):
        rows = module(x)
    torch.testing.assert_close(rows[::2], expected[::2])
    torch.testing.assert_close(rows[1::2], module(x)[1::2])


@given(st.integers(1, 4), st.lists(st.integers(0, 99), min_size=1, max_size=7))
@settings(max_examples=25, deadline=None)
def test_each_row_of_a_batch_may_have_its_own_state(count, picks):
    module = network().double()
    states = [noise(module, seed) for seed in range(count)]
    index = torch.tensor(picks) % count
    x = torch.randn(len(index), 5, 8, dtype=torch.float64)
    with applied(ElasticState.stack(states).rows(index)):
        together = module(x)
    for row, which in enumerate(index.tolist()):
        with applied(states[which]):
            torch.testing.assert_close(together[row], module(x[row : row + 1])[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_merged_weights_give_the_applied_answers(dtype, tolerance):
    module = network().to(dtype)
    state, x = noise(module), torch.randn(4, 5, 8, dtype=dtype)
    weights = {name: t.clone() for name, t in module.state_dict().items()}
    with applied(state):
        expected = module(x)
    merged = merge(module, state)
    torch.testing.assert_close(merged(x), expected, rtol=0, atol=tolerance)
    assert all(torch.equal(weights[name], t) for name, t in module.state_dict().items())
    # The merged model is a source of its own: a state on top moves it further.
    more = noise(merged, 7)
    with applied(more):
        moved = merged(x)
    torch.testing.assert_close(merge(merged, more)(x), moved, rtol=0, atol=tolerance)


def test_batched_and_foreign_states_cannot_be_merged():
    module = network()
    state = noise(module)
    with pytest.raises(ConfigError, match=r"Only one shared state can be merged: 0.scale has shape \(2, 1, 8\)"):
        merge(module, ElasticState.stack([state, state]))
    with pytest.raises(ConfigError, match=r"The state is of another model: it moves 'blocks.0.scale'"):
        merge(module, ElasticState({"blocks.0.scale": torch.zeros(1, 8)}))


def test_names_are_paths_from_the_module_that_was_named():
    module = network()
    assert [part.elastic_name for part in elastic_modules(module)] == ["0", "1", "2"]


def test_a_module_must_say_what_its_dials_are():
    bare = ElasticModule()
    with pytest.raises(NotImplementedError):
        bare.dial_shapes()
    with pytest.raises(NotImplementedError):
        bare.fold({})


def test_states_stacked_at_one_stroke_are_those_stacked_dial_by_dial():
    draws = torch.Generator().manual_seed(0)

    def state(dtype=torch.float32):
        shapes = {"a.scale": (2, 1, 3), "b.shift": (4,)}
        return ElasticState({name: torch.randn(shape, generator=draws).to(dtype) for name, shape in shapes.items()})

    states = [state() for _ in range(3)]
    copies, mixed = [one.copy() for one in states], [state(), state(torch.float64)]
    stacked = ElasticState.stack(states)
    for name in states[0]:
        assert torch.equal(stacked[name], torch.stack([one[name] for one in copies]))
        assert stacked.module(name.partition(".")[0])
    assert all(one.equal(copy) for one, copy in zip(states, copies, strict=True))
    states[0]["b.shift"][0] = 7.0  # what is written later is seen, in the state and in what is stacked of it
    assert states[0].module("b")["shift"][0] == 7.0
    assert ElasticState.stack(states)["b.shift"][0, 0] == 7.0
    with pytest.raises(RuntimeError):
        ElasticState.stack([*states, ElasticState({"a.scale": torch.zeros(2, 1, 3), "b.shift": torch.zeros(5)})])
    assert ElasticState.stack(mixed)["a.scale"].shape == (2, 2, 1, 3)
    free = state().trainable()
    assert ElasticState.stack([free, state()])["a.scale"].requires_grad
