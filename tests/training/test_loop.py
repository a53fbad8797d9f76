"""The loop: exact resume, the best weights, early stopping, weights, accumulation, precision, devices."""

import os
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from aet.attention.state import ElasticState, merge
from aet.batch import Batch
from aet.config import Config
from aet.drift import worlds
from aet.errors import ConfigError, RunError
from aet.training import loop
from aet.training.loop import fit, judged, monitored, parameter_groups, pick_device, validate
from aet.training.switch import switched_on

from ..made import mixed, quick, signs
from .loops import Interrupt, after, bits, figures, prepared, same


@pytest.fixture
def save_always(monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)


def test_the_same_seed_gives_the_same_bits_whatever_the_program_draws():
    one, *rows = prepared()
    history = fit(one, *rows)
    two, *rows = prepared()
    torch.manual_seed(123)
    again = fit(two, *rows)
    assert same(bits(one), bits(two))
    assert figures(history) == figures(again)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulate": 2},
        {"precision": "bfloat16"},
        {"drift": 0.0},
        {"patience": 2, "lr": 0.05},
        {"attention": {"dynamic": {}, "ssmax": {}, "entmax": {}}},
        {"attention": {"dynamic": {}}, "precision": "bfloat16"},
    ],
)
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path, save_always, changes):
    epochs = 3
    whole, *rows = prepared(**changes)
    expected = fit(whole, *rows)
    broken, *rows = prepared(**changes)
    with pytest.raises(Interrupt):
        fit(broken, *rows, tmp_path, after(min(epochs, len(expected) - 1)))
    resumed, *rows = prepared(**changes)
    seen = []
    history = fit(resumed, *rows, tmp_path, seen.append)
    assert same(bits(resumed), bits(whole))
    assert figures(history) == figures(expected)
    assert seen[0]["epoch"] == min(epochs, len(expected) - 1) + 1


def test_a_run_interrupted_inside_an_epoch_ends_with_the_same_bits(tmp_path, save_always, monkeypatch):
    whole, *rows = prepared()
    fit(whole, *rows)
    broken, *rows = prepared()
    drifted, steps = loop.drifted, iter(range(1000))

    def fails_late(*arguments):
        if next(steps) == 10:  # three batches an epoch: inside the fourth
            raise Interrupt
        return drifted(*arguments)

    monkeypatch.setattr(loop, "drifted", fails_late)
    with pytest.raises(Interrupt):
        fit(broken, *rows, tmp_path)
    monkeypatch.setattr(loop, "drifted", drifted)
    resumed, *rows = prepared()
    seen = []
    fit(resumed, *rows, tmp_path, seen.append)
    assert [record["epoch"] for record in seen] == [4, 5]
    assert same(bits(resumed), bits(whole))


def test_a_run_may_be_interrupted_again_and_again(tmp_path, save_always):
    whole, *rows = prepared()
    fit(whole, *rows)
    for epochs in (1, 2, 2, 4):
        broken, *rows = prepared()
        with pytest.raises(Interrupt):
            fit(broken, *rows, tmp_path, after(epochs))
    resumed, *rows = prepared()
    fit(resumed, *rows, tmp_path)
    assert same(bits(resumed), bits(whole))


@pytest.mark.parametrize("other", ["settings", "rows", "targets", "weights"])
def test_the_checkpoint_of_another_run_is_not_taken(tmp_path, save_always, other):
    broken, *rows = prepared()
    with pytest.raises(Interrupt):
        fit(broken, *rows, tmp_path, after(3))

    def changed():
        model, train, valid = prepared(**({"lr": 2e-3} if other == "settings" else {}))
        if other == "rows":
            train = replace(train, values={name: t.roll(1, 0) for name, t in train.values.items()})
        if other == "targets":
            train = replace(train, target=train.target.flip(0))
        if other == "weights":
            train = replace(train, weight=torch.ones(len(train)))
        return model, train, valid

    expected, *rows = changed()
    fit(expected, *rows)
    model, *rows = changed()
    assert len(fit(model, *rows, tmp_path)) == 5
    assert same(bits(model), bits(expected))


def test_a_damaged_checkpoint_says_how_to_start_anew(tmp_path, save_always):
    model, *rows = prepared()
    fit(model, *rows, tmp_path)
    path = tmp_path / loop.CHECKPOINT
    path.write_bytes(path.read_bytes()[:500])
    model, *rows = prepared()
    with pytest.raises(RunError, match=r"is damaged .* Remove it to start the run anew"):
        fit(model, *rows, tmp_path)


def test_the_weights_of_the_best_epoch_are_kept_and_patience_ends_the_run(monkeypatch):
    losses = iter([3.0, 2.0, 1.0, 1.5, 1.0, 1.2, 0.1])  # drawn one an epoch
    monkeypatch.setattr(
        loop,
        "validate",
        lambda *_: {"valid_loss": next(losses), "valid_metric": 0.0, "valid_metric_drifted": 0.0},
    )
    model, *rows = prepared(epochs=20, patience=3)
    seen = []
    history = fit(model, *rows, on_epoch=lambda record: seen.append(bits(model)))
    # The third epoch is best; the three after it are no better (the same loss is not better), so there is no seventh.
    assert len(history) == 6
    assert same(bits(model), seen[2])
    assert not same(seen[2], seen[5])
    assert not model.training


def test_agreement_is_half_accuracy_and_half_belief_and_rows_count_by_weight():
    model, train, valid = prepared(signs(150), epochs=1, drift=0.0)
    fit(model, train, valid)
    z, y = model.logits(valid), valid.target
    belief = torch.softmax(z, -1)[torch.arange(len(y)), y]
    figures = validate(model, valid, valid)
    assert figures["valid_belief"] == pytest.approx(float(belief.mean()), rel=1e-5)
    expected = 1 - (figures["valid_metric"] + float(belief.mean())) / 2
    assert judged(figures, "agreement") == pytest.approx(expected, rel=1e-5)
    first = replace(valid, weight=(torch.arange(len(y)) == 0).float())
    assert validate(model, first, first)["valid_belief"] == pytest.approx(float(belief[0]), rel=1e-5)


def test_without_probabilities_agreement_is_the_metric():
    model, train, valid = prepared(mixed(200)[["number", "category"]].dropna(), target="number", epochs=1)
    fit(model, train, valid)
    figures = validate(model, valid, valid)
    assert "valid_belief" not in figures
    assert judged(figures, "agreement") == judged(figures, "metric")


@pytest.mark.parametrize(
    ("names", "monitor"),
    [
        ([], "loss"),
        (["ema"], "loss"),
        (["learning_to_reweight"], "metric"),
        (["learning_to_reweight", "sample_attention"], "agreement"),
    ],
)
def test_the_switches_say_what_chooses_the_epoch(names, monitor):
    settings = Config.read(quick(epochs=1)).train
    switches = switched_on({name: {"file": "x.csv"} if name == "learning_to_reweight" else {} for name in names})
    assert monitored(settings, switches) == monitor
    assert monitored(settings.model_copy(update={"monitor": "loss"}), switches) == "loss"


def test_validation_is_the_mean_over_the_rows_and_a_drifted_copy():
    model, train, valid = prepared()
    history = fit(model, train, valid)
    best = min(history, key=lambda record: record["valid_loss"])
    worn = worlds(model, valid, 1.0, torch.Generator().manual_seed(0))
    figures = validate(model, valid, worn)
    plain, moved = (float(model.output.loss(model.logits(rows), valid.target)) for rows in (valid, worn))
    assert figures["valid_loss"] == pytest.approx((plain + moved) / 2) == pytest.approx(best["valid_loss"])
    assert figures["valid_loss_plain"] == pytest.approx(plain)
    assert plain != moved


def test_a_run_that_diverges_says_so(monkeypatch):
    nan = {"valid_loss": float("nan"), "valid_metric": 0.0, "valid_metric_drifted": 0.0}
    monkeypatch.setattr(loop, "validate", lambda *_: nan)
    model, *rows = prepared(epochs=2)
    with pytest.raises(ConfigError, match=r"Training diverged: .* was nan in every epoch. Lower train.lr"):
        fit(model, *rows)


def generators():
    return torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()


def test_the_generators_of_the_program_are_left_alone():
    model, *rows = prepared()
    torch.manual_seed(5)
    before = generators()
    fit(model, *rows)
    assert torch.equal(before[0], generators()[0])
    assert (before[1] == generators()[1]).all()
    assert before[2] == generators()[2]


@pytest.mark.parametrize("weighted", [False, True])
def test_accumulated_batches_make_the_step_of_one_large_batch(weighted):
    """120 rows: the last step of an epoch has fewer rows than the others, and its last piece fewer still."""
    losses = []
    for changes in ({"batch_size": 25, "accumulate": 3}, {"batch_size": 75}):
        model, train, valid = prepared(signs(150), dropout=0.0, drift=0.0, **changes)
        if weighted:
            train = replace(train, weight=torch.linspace(0, 2, len(train)))
        losses.append([record["loss"] for record in fit(model, train, valid)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_bfloat16_runs_and_gives_float32_weights_near_those_of_float32():
    losses = []
    for precision in ("float32", "bfloat16"):
        model, *rows = prepared(precision=precision)
        losses.append([record["loss"] for record in fit(model, *rows)])
        assert all(t.dtype != torch.bfloat16 for t in model.state_dict().values())
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_every_weight_is_trained_and_only_matrices_decay():
    model, *_ = prepared()
    matrices, vectors = parameter_groups(model, 0.05)
    assert {id(p) for p in (*matrices["params"], *vectors["params"])} == {id(p) for p in model.parameters()}
    assert matrices["weight_decay"] == 0.05
    assert vectors["weight_decay"] == 0
    assert all(p.ndim == 1 for p in vectors["params"])


def test_every_weight_moves():
    model, *rows = prepared(epochs=2)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit(model, *rows)
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert not still


@pytest.mark.parametrize("name", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(ConfigError, match=rf"train.device='{name}' cannot be used .* Expected 'auto'"):
        pick_device(name)
    assert pick_device("cpu").type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_a_card_trains_resumes_and_gives_the_model_back_on_the_cpu(tmp_path, save_always):
    whole, *rows = prepared(device="cuda")
    before = torch.cuda.get_rng_state()
    expected = fit(whole, *rows)
    assert torch.equal(torch.cuda.get_rng_state(), before)
    broken, *rows = prepared(device="cuda")
    with pytest.raises(Interrupt):
        fit(broken, *rows, tmp_path, after(3))
    resumed, *rows = prepared(device="cuda")
    history = fit(resumed, *rows, tmp_path)
    assert whole.device.type == "cpu"
    assert [r["loss"] for r in history] == pytest.approx([r["loss"] for r in expected], rel=1e-3)


@pytest.mark.parametrize(
    "backend",
    [
        "eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(
                    "AET_SLOW" not in os.environ or shutil.which("g++") is None,
                    reason="takes minutes: set AET_SLOW, and have a C++ compiler",
                ),
            ],
        ),
    ],
)
def test_a_compiled_run_learns_the_same_and_leaves_a_plain_model(monkeypatch, backend):
    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module: compiler(module, backend=backend))
    losses = []
    for compiled in (False, True):
        model, *rows = prepared(signs(150), dropout=0.0, epochs=2)
        model.config = model.config.model_copy(
            update={"train": model.config.train.model_copy(update={"compile": compiled})}
        )
        losses.append([record["loss"] for record in fit(model, *rows)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert not [name for name in model.state_dict() if "_orig_mod" in name]
    state = ElasticState.zeros(model)
    batch = Batch(rows[1].values)
    torch.testing.assert_close(merge(model, state).logits(batch), model.logits(batch))
