"""What every method keeps to, on every model that it takes."""

from __future__ import annotations

import pytest
import torch

from aet.adaptation import METHODS, Cotta, Feedback, Memo
from aet.adaptation.base import RADIUS
from aet.adaptation.label_mix import ConfusedMix
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.errors import ConfigError
from tests.adaptation.models import batch_of, filled, frame_of, taken

FORECASTS_ONLY = [name for name in METHODS if METHODS[name].needs == ("forecast",)]
CLASSES_ONLY = [name for name in METHODS if METHODS[name].needs]
CASES = [(name, sort) for name in METHODS if name not in FORECASTS_ONLY for sort in ("model", "regression", "images")]
CASES += [(name, "forecast") for name in (*FORECASTS_ONLY, "auto", "feedback", "mixture", "align")]
FITTING = [(name, sort) for name, sort in CASES if not (name in CLASSES_ONLY and sort == "regression")]
STILL = {(n, sort) for n, sort in CASES if n == "source" or (METHODS[n].corrects and n != "propagate")}
"""Which move no dial."""
UNTAUGHT = [name for name in METHODS if name == "petta" or issubclass(METHODS[name], ConfusedMix)]
BLIND = {(name, "images") for name in UNTAUGHT}
"""Which stay: the model gives all pictures one class, so its predictions tell nothing of the mix,
and shifted pictures are so far from that class that PeTTA's teacher stands still.
"""


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Labels are learned in earnest elsewhere; here the rules matter."""
    monkeypatch.setitem(Feedback.defaults, "steps", 5)
    monkeypatch.setitem(Feedback.defaults, "steps_a_label", 5)
    monkeypatch.setitem(Memo.defaults, "views", 2)
    monkeypatch.setitem(Cotta.defaults, "views", 3)


FILTERS = {"margin": 2.0, "redundancy": 2.0, "limit": 2.0, "drop": 0.0}
"""Settings that choose rows, so wide that the rows of a model that learned next to nothing pass too."""


@pytest.fixture(autouse=True)
def every_row_passes(monkeypatch):
    """What filters leave out is tested elsewhere; here they are to learn."""
    for name in METHODS:
        defaults = METHODS[name].defaults
        for setting in defaults.keys() & FILTERS.keys():
            monkeypatch.setitem(defaults, setting, FILTERS[setting])


def make(request, case):
    name, sort = case
    source = taken(request, name, sort)
    return METHODS[name](source), source


def live(method, rounds=2):
    """Some shifted batches and some labels."""
    for seed in range(rounds):
        method(batch_of(method.model, 32, seed))
    method.label(batch_of(method.model, 8, 9))
    return method


def within(state):
    return all(bool(t.isfinite().all()) and float(t.abs().max()) <= RADIUS for t in state.values())


@pytest.mark.parametrize("name", CLASSES_ONLY)
def test_refuses_a_regression(regression, name):
    with pytest.raises(ConfigError, match="'number'"):
        METHODS[name](regression)


@pytest.mark.parametrize("case", FITTING, ids="-".join)
class TestMethod:
    def test_begins_as_the_source(self, request, case):
        method, source = make(request, case)
        assert method.state.equal(ElasticState.zeros(source))
        batch = batch_of(source)
        with applied(method.state):
            assert torch.equal(source.logits(batch), source.logits(batch))
            adapted = source.logits(batch)
        assert torch.equal(adapted, source.logits(batch))

    def test_moves_something(self, request, case):
        method, source = make(request, case)
        assert (live(method).state.size() > 0) == (case not in STILL | BLIND)
        assert within(method.state)
        batch = batch_of(source, shifted=False)
        same = torch.equal(method.answer(batch), source.logits(batch))
        # What moves the model of images, which learned next to nothing, may be lost in rounding.
        assert same == (case[0] == "source" or case in BLIND) or (case[1] == "images" and not method.corrects)

    def test_works_without_gradients_and_leaves_the_source_alone(self, request, case):
        method, source = make(request, case)
        before = {name: p.clone() for name, p in source.named_parameters()}
        with torch.no_grad():
            logits = method(batch_of(source))
            method.label(batch_of(source, 8))
        assert logits.shape == (96, source.output.width)
        assert not logits.requires_grad
        assert not any(t.requires_grad for t in method.state.values())
        for name, parameter in source.named_parameters():
            assert torch.equal(parameter, before[name])
            assert parameter.grad is None
        graded = METHODS[case[0]](source)
        graded(batch_of(source))
        graded.label(batch_of(source, 8))
        assert graded.state.equal(method.state)

    def test_answers_with_the_state_it_proposes(self, request, case):
        method, source = make(request, case)
        twin, _ = make(request, case)
        batch = batch_of(source)
        with applied(twin.propose(batch)):
            expected = source.logits(batch)
        answered = twin.answer(batch)
        assert torch.equal(twin.answer(batch), answered)
        assert torch.equal(method(batch), answered)
        assert method.corrects or torch.equal(answered, expected)

    def test_one_row_and_no_row(self, request, case):
        method, source = make(request, case)
        one, none = batch_of(source, 1), batch_of(source, 4)[torch.arange(0)]
        assert method(one).shape == (1, source.output.width)
        method.label(one)
        before = method.state
        assert method(none).shape == (0, source.output.width)
        method.label(none)
        assert method.state.equal(before)
        assert within(before)

    @pytest.mark.parametrize("value", [float("nan"), 1e6, -1e6, 0.0, 3e18])
    def test_survives_garbage(self, request, case, value):
        method, source = make(request, case)
        good = batch_of(source)
        garbage = filled(good, value)
        if case[1] == "images" and value != value:
            garbage = filled(good, 1e3)  # a picture that is not finite never gets this far
        for batch in (garbage, garbage[torch.arange(1)]):
            method(batch)
            assert within(method.state)
        method.label(garbage[torch.arange(4)])
        assert within(method.state)
        logits = method(good)
        assert logits.isfinite().all()
        assert within(method.state)
        assert all(t.isfinite().all() for name, t in method.memory().items() if name.startswith(("mean", "std")))

    def test_works_on_after_garbage(self, request, case):
        method, source = make(request, case)
        method(filled(batch_of(source), 1e6 if case[1] != "images" else 1e3))
        before = method.state
        live(method)
        assert within(method.state)
        assert method.state.equal(before) == (case in STILL | BLIND)

    def test_is_the_same_twice(self, request, case):
        one, _ = make(request, case)
        torch.rand(7)
        other, _ = make(request, case)
        assert live(one).state.equal(live(other).state)
        assert one.passes == other.passes

    def test_memory_goes_round(self, request, case):
        method, source = make(request, case)
        live(method)
        copy, _ = make(request, case)
        copy.state = method.state
        copy.load_memory({name: t.clone() for name, t in method.memory().items()})
        none = batch_of(source, 4)[torch.arange(0)]
        assert copy.propose(none).equal(method.state)
        for seed in (20, 21):
            assert torch.equal(copy(batch_of(source, 40, seed)), method(batch_of(source, 40, seed)))
            copy.label(batch_of(source, 4, seed))
            method.label(batch_of(source, 4, seed))
            assert copy.state.equal(method.state)
        assert {n: t.shape for n, t in copy.memory().items()} == {n: t.shape for n, t in method.memory().items()}

    def test_memory_stays_as_it_was_taken(self, request, case):
        """Snapshots hold it: what comes later must not write into it."""
        method, _ = make(request, case)
        live(method)
        state, memory = method.state, method.memory()
        frozen, copies = state.copy(), {name: t.clone() for name, t in memory.items()}
        live(method)
        method.reset()
        assert state.equal(frozen)
        assert all(torch.equal(t, copies[name]) or t.isnan().any() for name, t in memory.items())

    def test_reset(self, request, case):
        method, source = make(request, case)
        live(method)
        method.reset()
        fresh, _ = make(request, case)
        assert method.state.equal(ElasticState.zeros(source))
        assert live(method).state.equal(live(fresh).state)

    def test_settings(self, request, case):
        name, _ = case
        method, source = make(request, case)
        with pytest.raises(ConfigError, match="no setting"):
            METHODS[name](source, wrong=1)
        for setting, default in method.defaults.items():
            for value in (-1, "1", None, float("nan"), float("inf"), True):
                with pytest.raises(ConfigError, match=setting):
                    METHODS[name](source, **{setting: value})
            if isinstance(default, int):
                with pytest.raises(ConfigError, match=setting):
                    METHODS[name](source, **{setting: 0})


@pytest.mark.parametrize(
    "name", ["tent", "align", "prior", "dynamic", "restandardise", "feedback", "auto", "lame", "t3a"]
)
def test_counts_its_passes(request, name):
    """Answering is not counted; a learning step counts three, an extra look one."""
    model = taken(request, name, "model")
    method = METHODS[name](model)
    batch = batch_of(model, 40)
    method(batch)
    expected = {"tent": 120.0, "align": 120.0, "prior": 40.0, "t3a": 40.0, "auto": 10.0}.get(name, 0.0)
    assert method.passes == expected
    method.label(batch_of(model, 4))
    trained = 3 * 5 * 4
    assert method.passes - expected == {"feedback": trained, "auto": trained + 4 * 4}.get(name, 0)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in FORECASTS_ONLY])
def test_missing_cells_are_taken(request, name):
    model = taken(request, name, "model")
    frame = frame_of(model, 64)
    frame.loc[::3, "a"] = None
    frame["b"] = None
    batch = model.encode(model.check(frame).frame)
    method = METHODS[name](model)
    assert method(batch).isfinite().all()
    assert within(method.state)


def test_a_batch_may_carry_weights_and_positions(model):
    rows = batch_of(model, 8)
    heavy = Batch(values=rows.values, target=rows.target, weight=torch.ones(8), positions=torch.arange(8))
    plain, laden = METHODS["feedback"](model), METHODS["feedback"](model)
    plain.label(rows)
    laden.label(heavy)
    laden.label(rows)
    plain.label(rows)
    assert plain.state.equal(laden.state)
