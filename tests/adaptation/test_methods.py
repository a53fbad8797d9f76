"""Each method against its equation, on a case that can be worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from aet.adaptation import Align, Auto, Feedback, Mixture, Prior, Restandardise, Source, Tent
from aet.adaptation.base import RADIUS, is_norm
from aet.adaptation.beliefs import entropy
from aet.adaptation.label_mix import label_mix
from aet.adaptation.methods.align import moves
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.errors import ConfigError
from tests.adaptation.models import batch_of, three


def accuracy(model, state, batch):
    with applied(state):
        return float(model.output.scores(model.logits(batch), batch.target).mean())


class TestRestandardise:
    def test_dials_are_the_windows_moments(self, model):
        method, batch = Restandardise(model, window=50, shrink=10.0), batch_of(model, 80)
        method.propose(batch[torch.arange(30)])
        state = method.propose(batch[torch.arange(30, 80)])
        window = batch.values["number0"][30:80, :, 0].double().numpy()  # (50, G): the newest rows alone
        center = np.median(window, axis=0)
        spread = (np.quantile(window, 0.75, axis=0) - np.quantile(window, 0.25, axis=0)) / 1.349
        trust = 50 / (50 + 10)
        scale, shift = (state[f"inputs.number0.{dial}"][:, 0].numpy() for dial in ("scale", "shift"))
        assert scale == pytest.approx(trust * (1 / spread - 1), abs=1e-5)
        assert shift == pytest.approx(trust * -center / spread, abs=1e-5)
        rest = state.select(lambda name: not name.startswith("inputs."))
        assert rest.size() == 0

    def test_undoes_gain_and_offset(self, model):
        clean, moved = three(500, 8), three(500, 8, shift=2.0, gain=1.6)
        method = Restandardise(model, shrink=0.0)
        batch = model.encode(moved, target=True)
        state = method.propose(batch)
        source = accuracy(model, None, batch)
        assert accuracy(model, state, batch) > source + 0.05
        assert accuracy(model, state, batch) > accuracy(model, None, model.encode(clean, target=True)) - 0.05

    def test_few_rows_move_little(self, model):
        sizes = []
        for rows in (1, 8, 64):
            method = Restandardise(model)
            state = method.propose(batch_of(model, 200)[torch.arange(rows)])
            shift = state["inputs.number0.shift"]
            assert float(shift.abs().max()) <= RADIUS * rows / (rows + 32)
            sizes.append(state.size())
        assert sizes[0] < sizes[2]

    def test_acts_on_its_own_batch_and_memory_is_bounded(self, model):
        method = Restandardise(model, window=20)
        for seed in range(4):
            method(batch_of(model, 33, seed))
            window = method.recent["number0"]
            assert len(window) <= 20
            assert window.untyped_storage().nbytes() == window.nbytes, "what fell out is freed"

    def test_of_a_model_without_moments(self):
        import aet
        from tests.made import quick

        frame = three(80)
        frame = frame[["y"]].assign(kind=np.where(frame["a"] > 1, "high", "low"))
        texts = aet.train(frame, target="y", config=quick(epochs=1))
        with pytest.raises(ConfigError, match="neither"):
            Restandardise(texts)
        auto = Auto(texts)
        assert [type(base) for base in auto.bases] == [Source]
        batch = texts.encode(frame, target=True)
        auto(batch)
        assert auto.state.size() == 0
        auto.label(batch[torch.arange(8)])
        assert auto.state.size() > 0


class TestAlign:
    def test_loss_by_hand(self, model):
        method, batch = Align(model), batch_of(model, 40)
        taps = []
        with torch.no_grad():
            model(batch, taps)
        total = 0.0
        for tap, source in zip(taps, model.statistics.layers, strict=True):
            x = tap.reshape(-1, tap.shape[-1]).double().numpy()
            mean, std = source.mean.numpy(), source.std.numpy()
            now = np.sqrt(x.var(axis=0) + 1e-6)
            total += (((x.mean(0) - mean) / std) ** 2).mean() + (((now - std) / std) ** 2).mean()
        assert len(taps) == 2, "one block and the summary"
        assert method.loss(batch, 1.0).item() == pytest.approx(total, rel=1e-4)

    def test_the_sources_own_rows_have_next_to_no_loss(self, model):
        method = Align(model)
        own, moved = model.encode(three(400), target=True), batch_of(model, 400)
        assert method.loss(own, 1.0).item() < 0.1 * method.loss(moved, 1.0).item()

    def test_learning_lowers_it_and_moves_only_its_dials(self, model):
        method, batch = Align(model, steps=20), batch_of(model, 128)
        before = method.loss(batch, 1.0).item()
        method.learn(batch)
        moved = {name for name, t in method.state.items() if t.abs().max() > 0}
        with applied(method.state):
            after = Align(model).loss(batch, 1.0).item()
        assert after < 0.8 * before
        assert moved
        assert all(moves(name) for name in moved)
        assert not any(name.startswith(("inputs.", "output.")) or name.endswith("log_beta") for name in moved)
        assert {name.rpartition(".")[2] for name in moved} >= {"scale", "shift", "q_scale", "v_shift"}

    def test_small_batches_are_blended_with_the_stream(self, model):
        method = Align(model, batch=64)
        first, second = batch_of(model, 64, 1), batch_of(model, 16, 2, shifted=False)
        method.learn(first)
        before = [m.mean.clone() for m in method.running]
        with applied(method.state), torch.no_grad():
            now = [m.mean for m in method.moments(second)]
        method.learn(second)
        for old, new, running in zip(before, now, method.running, strict=True):
            assert torch.allclose(running.mean, 0.75 * old + 0.25 * new, atol=1e-5)

    def test_a_batch_without_finite_moments_leaves_no_trace(self, model, monkeypatch):
        method = Align(model)
        method.learn(batch_of(model, 64, 1))
        state, running = method.state, method.running
        with monkeypatch.context() as patched:
            tokens = model.tokens
            patched.setattr(type(model), "tokens", lambda self, batch: (tokens(batch)[0] * float("nan"), None))
            method.learn(batch_of(model, 64, 2))
        assert method.state.equal(state)
        assert method.running is running
        method.learn(batch_of(model, 64, 3))
        assert not method.state.equal(state)


class TestTent:
    def test_entropy(self):
        logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0], [1.0, 1.0, -50.0, -50.0]])
        assert entropy(logits).tolist() == pytest.approx([np.log(4), 0.0, np.log(2)], abs=1e-5)

    def test_entropy_falls_and_only_norms_move(self, model):
        method, batch = Tent(model, steps=10, lr=1e-2), batch_of(model, 128)
        with torch.no_grad():
            before = float(entropy(model(batch)).mean())
            method.learn(batch)
            with applied(method.state):
                after = float(entropy(model(batch)).mean())
        assert after < before - 0.01
        moved = {name for name, t in method.state.items() if t.abs().max() > 0}
        assert moved == {name for name in method.state if is_norm(name)}

    def test_acts_from_the_next_batch_on(self, model):
        method, batch = Tent(model), batch_of(model, 32)
        assert torch.equal(method(batch), model.logits(batch))
        assert not torch.equal(method(batch), model.logits(batch))


class TestPrior:
    def test_em_finds_the_most_likely_mix(self):
        """p(x) of two classes, mixed 4 to 1; the likelihood over one number, maximised by search."""
        rng = np.random.default_rng(0)
        x = np.where(rng.random(2000) < 0.8, rng.normal(1, 1, 2000), rng.normal(-1, 1, 2000))
        source = np.array([0.4, 0.6])
        density = np.exp(-0.5 * (x[:, None] - [1, -1]) ** 2)  # (N, 2)
        joint = density * source
        p = torch.tensor(joint / joint.sum(1, keepdims=True))

        def cost(share):
            mix = np.array([share, 1 - share])
            return -np.log(density @ mix).sum()

        best = minimize_scalar(cost, bounds=(1e-6, 1 - 1e-6), method="bounded").x
        found = label_mix(p, torch.tensor(source), rounds=2000, prior_rows=0.0)
        assert float(found[0]) == pytest.approx(best, abs=1e-3)
        assert float(found.sum()) == pytest.approx(1)
        shrunk = label_mix(p, torch.tensor(source), prior_rows=2000.0)
        assert 0.4 < float(shrunk[0]) < float(found[0])

    def test_with_the_sources_mix_nothing_moves(self):
        source = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
        assert torch.allclose(label_mix(source.repeat(50, 1), source), source)
        assert torch.allclose(label_mix(torch.empty(0, 3, dtype=torch.float64), source), source)

    def test_answers_are_the_corrected_posterior(self, model):
        batch = model.encode(three(300, 3, mix=(8, 1, 1)), target=True)
        method = Prior(model)
        p = model.output.probabilities(model.logits(batch))
        mix = label_mix(p, model.statistics.label_mix)
        corrected = p * mix / model.statistics.label_mix
        corrected = corrected / corrected.sum(-1, keepdim=True)
        served = model.output.probabilities(method(batch))
        assert torch.allclose(served, corrected, atol=1e-5)
        assert float(model.output.temperature) != 1.0, "or the temperature would not be tried"
        assert float(mix[0]) == pytest.approx(0.8, abs=0.1)
        assert {name for name, t in method.state.items() if t.abs().max() > 0} == {"output.bias"}
        assert accuracy(model, method.state, batch) >= accuracy(model, None, batch)

    def test_rows_without_finite_probabilities_are_passed_over(self, model, monkeypatch):
        method, batch = Prior(model), batch_of(model, 16)
        method.propose(batch)
        before = method.state
        monkeypatch.setattr(type(model), "logits", lambda self, batch: torch.full((len(batch), 3), torch.nan))
        assert method.propose(batch).equal(before)
        assert len(method.recent) == 16

    def test_window(self, model):
        method = Prior(model, window=30)
        for seed in range(3):
            method.propose(batch_of(model, 25, seed))
        assert len(method.recent) == 30


class TestFeedback:
    def test_fits_eight_rows(self, model):
        rows = batch_of(model, 8)
        rows.target[:] = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])  # whatever they were
        method = Feedback(model, steps=400, steps_a_label=400, anchor=0.0)
        method.label(rows)
        assert accuracy(model, method.state, rows) == 1.0

    def test_generalises(self, model):
        method = Feedback(model)
        method.label(model.encode(three(48, 1, shift=1.5, gain=0.4), target=True))
        fresh = model.encode(three(400, 2, shift=1.5, gain=0.4), target=True)
        assert accuracy(model, method.state, fresh) > accuracy(model, None, fresh) + 0.05

    def test_the_anchor_holds(self, model):
        sizes = []
        for anchor in (0.0, 1.0, 100.0):
            method = Feedback(model, anchor=anchor, steps=60, steps_a_label=60)
            method.label(batch_of(model, 8))
            sizes.append(method.state.size())
        assert sizes[0] > sizes[1] > sizes[2] > 0

    def test_loss_by_hand(self, model):
        method, rows = Feedback(model, anchor=0.3), batch_of(model, 6)
        method.labelled = rows
        state = ElasticState.zeros(model).map(lambda _, t: t + 0.1)
        with applied(state), torch.no_grad():
            found = float(method.loss(state))
            logits = model(rows)
        size = sum(t.numel() for t in state.values()) * 0.01
        expected = -logits.log_softmax(-1)[torch.arange(6), rows.target].mean()
        assert found == pytest.approx(float(expected) + 0.3 / 6 * size, rel=1e-5)

    def test_steps_follow_the_labels(self, model):
        method, rows = Feedback(model, steps=20, steps_a_label=7), batch_of(model, 10)
        method.label(rows[torch.arange(2)])
        assert method.passes == 3 * 14 * 2
        method.label(rows[torch.arange(2, 10)])
        assert method.passes == 3 * 14 * 2 + 3 * 20 * 10

    def test_keeps_the_newest_rows_and_draws_from_them(self, model):
        method, rows = Feedback(model, window=20, batch=8, steps=3), batch_of(model, 30)
        method.label(rows[torch.arange(15)])
        method.label(rows[torch.arange(15, 30)])
        assert torch.equal(method.labelled.values["number0"], rows.values["number0"][10:])
        assert torch.equal(method.labelled.target, rows.target[10:])
        again = Feedback(model, window=20, batch=8, steps=3)
        again.load_memory(method.memory())
        again.state = method.state
        for one in (method, again):
            one.label(rows[torch.arange(3)])
        assert again.state.equal(method.state), "the draws go on where they were"

    def test_leaves_other_states_alone(self, model):
        one, other = Feedback(model), Feedback(model)
        other.label(batch_of(model, 8, 1))
        before = other.state.copy()
        one.label(batch_of(model, 8, 2))
        assert other.state.equal(before)

    def test_a_loss_that_is_not_finite_ends_the_descent(self, model, monkeypatch):
        method, rows = Feedback(model), batch_of(model, 8)
        loss, calls = method.loss, []

        def broken(state):
            calls.append(1)
            return loss(state) + (float("nan") if len(calls) > 3 else 0.0)

        monkeypatch.setattr(method, "loss", broken)
        method.label(rows)
        assert len(calls) == 4
        assert method.state.size() > 0

    def test_a_slope_that_is_not_finite_ends_the_descent(self, model):
        method = Feedback(model)

        def steep(state):
            return state["output.bias"].square().sum().sqrt()  # at zero: value 0, slope 0 · ∞

        state = method.descend(steep, method.state, lambda name: True, 0.1, 5)
        assert state.equal(ElasticState.zeros(model))


class TestAuto:
    def test_is_mixture_until_labels_come(self, model):
        auto, alone = Auto(model), Mixture(model)
        batch = batch_of(model, 64)
        assert torch.equal(auto(batch), alone(batch))
        assert auto.state.equal(alone.state)
        assert auto.follows == "the inputs' moments"

    def test_labels_train_from_the_source_where_it_is_the_better_base(self, model):
        auto, alone, rows = Auto(model), Feedback(model), batch_of(model, 40, 2)
        auto(model.encode(three(64, 1, shift=0.5).assign(a=9.0)))  # moments of rows that the labels know nothing of
        auto.label(rows)
        alone.label(rows)
        assert auto.losses[0] < auto.losses[1]
        assert auto.follows == "the source, and what labels taught on top"
        assert auto.state.equal(alone.state)
        auto(batch_of(model, 64, 3))
        assert auto.state.equal(alone.state), "rows without labels move it no more"

    def test_labels_train_on_the_moments_where_they_are_the_better_base(self, model):
        worn = {"shift": 1.5, "gain": 0.4}
        auto = Auto(model)
        auto(model.encode(three(256, 1, **worn)))
        auto.label(model.encode(three(40, 2, **worn), target=True))
        assert auto.losses[1] < auto.losses[0]
        assert auto.follows == "the inputs' moments, and what labels taught on top"
        test = model.encode(three(400, 3, **worn), target=True)
        assert accuracy(model, auto.state, test) > accuracy(model, None, test) + 0.05
        auto.propose(model.encode(three(256, 4, shift=-1.0)))
        taught = {n: auto.state[n] - t for n, t in auto.bases[1].state.items() if not n.startswith("inputs.")}
        assert any(t.abs().max() > 0 for t in taught.values()), "what labels taught stays on the new moments"

    def test_the_comparison_by_hand(self, model):
        auto, blocks = Auto(model, half_life=8, patience=4), [batch_of(model, n, n) for n in (4, 6, 3)]
        auto(batch_of(model, 64))
        losses, excess = torch.zeros(2, 2, dtype=torch.float64)
        for number, rows in enumerate(blocks):
            found = []
            states = [base.state for base in auto.bases]
            for state in (*states, *map(auto.lessons.on, states)):
                with applied(state), torch.no_grad():
                    found.append(-model(rows).log_softmax(-1)[torch.arange(len(rows)), rows.target].sum().double())
            kept = 2 ** (-len(rows) / 8)
            losses = kept * losses + torch.stack(found[:2])
            excess = kept * excess + (torch.stack(found[2:]) - torch.stack(found[:2])) * (number > 0)
            auto.label(rows)
        assert torch.allclose(auto.losses, losses, rtol=1e-5)
        assert torch.allclose(auto.excess, excess, rtol=1e-5, atol=1e-5)

    def test_what_labels_taught_steps_aside_where_it_harms(self, model):
        auto, rows = Auto(model), batch_of(model, 16, 2)
        wrong = Batch(values=rows.values, target=(rows.target + 1) % 3)
        auto.label(wrong)
        assert accuracy(model, auto.state, batch_of(model, 200, 5)) < accuracy(model, None, batch_of(model, 200, 5))
        auto.label(batch_of(model, 8, 3))
        assert auto.state.size() == 0
        assert auto.follows == "the source"

    def test_memory_gives_everything_back(self, model):
        auto, again, rows = Auto(model), Auto(model), batch_of(model, 40, 2)
        auto(batch_of(model, 64))
        before = auto.memory()
        auto.label(rows[torch.arange(30)])
        again.load_memory(auto.memory())
        assert again.state.equal(auto.state)
        for one in (auto, again):
            one(batch_of(model, 20, 7))
            one.label(rows[torch.arange(30, 40)])
        assert again.state.equal(auto.state)
        assert torch.equal(again.losses, auto.losses)
        again.load_memory(before)
        twin = Auto(model)
        twin(batch_of(model, 64))
        assert torch.equal(again(batch_of(model, 20, 7)), twin(batch_of(model, 20, 7)))
