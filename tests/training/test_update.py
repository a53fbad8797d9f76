"""`model.update`: what is learned, kept, measured, refused and written."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.adaptation.record import model_record
from aet.errors import ConfigError, DataError, RunError, SchemaError, UpdateRefused
from aet.report import render
from aet.training import loop
from aet.training.beside import backward_transfer
from aet.training.cost import Rows, afforded
from aet.training.plan import WITHOUT_ROWS

from ..made import mixed, quick, signs


def turned(rows=160, seed=1):
    """Far from the old rows, under another rule: the old model would answer plus."""
    frame = signs(rows, seed)
    frame["a"] += 6
    frame["y"] = np.where(frame["b"] > 0, "plus", "minus")
    return frame


def trained(keep=60, epochs=12, **changes):
    return aet.train(
        signs(240), target="y", config=quick(epochs, dim=16, lr=1e-2, drift=0.0, keep_rows=keep, **changes)
    )


@pytest.fixture(scope="module")
def model():
    return trained()


@pytest.fixture(scope="module")
def bare():
    return trained(keep=0)


def bits(model):
    return {name: t.clone() for name, t in model.state_dict().items()}


SHORT = {"train": {"epochs": 2}}
LONG = {"train": {"epochs": 20}}


def test_new_rows_are_learned_and_old_ones_kept_and_the_old_model_does_not_change(model):
    before, seen = bits(model), model.reservoir.seen
    made = model.update(turned(), config=LONG)
    runs = made.report["runs"]
    assert made.model.evaluate(turned(200, 5))["accuracy"] > 0.9 > model.evaluate(turned(200, 5))["accuracy"]
    assert made.model.evaluate(signs(200, 6))["accuracy"] > 0.85
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert model.reservoir.seen == seen == 240
    assert runs.keys() == {"before", "update", "scratch", "fine_tuning"}
    assert runs["before"]["old"] - runs["update"]["old"] == pytest.approx(runs["update"]["forgetting"] / 100)
    low, high = runs["update"]["interval"]
    assert low <= runs["update"]["forgetting"] <= high
    assert runs["fine_tuning"]["forgetting"] > runs["update"]["forgetting"] + 10
    assert made.model.config == model.config
    assert made.model.report["update"] is made.report


def test_the_same_seed_gives_the_same_bits(model):
    one = model.update(turned(), config=SHORT, compare=False).model
    torch.manual_seed(7)
    two = model.update(turned(), config=SHORT, compare=False).model
    assert all(torch.equal(t, bits(two)[name]) for name, t in bits(one).items())


def test_the_reservoir_goes_on(model):
    once = model.update(turned(), config=SHORT, compare=False).model
    twice = once.update(signs(100, 9), config=SHORT, compare=False)
    kept = twice.model.reservoir
    assert (len(kept), kept.seen, kept.limit) == (60, 240 + 160 + 100, 60)
    assert set(kept.task.tolist()) == {0, 1, 2}
    assert twice.report["number"] == 2
    assert len(twice.report["learned"]) == 3
    assert twice.report["old"]["stand_for"] == 400


def test_backward_transfer_by_hand():
    now, task = torch.tensor([1.0, 1.0, 0.0, 1.0]), torch.tensor([0, 0, 1, 1])
    assert backward_transfer(now, task, [0.5, 1.0], now) == pytest.approx(100 * (0.5 - 0.5) / 2)
    assert backward_transfer(now, task, [0.5, 0.25, 0.9], now) == pytest.approx(100 * (0.5 + 0.25) / 2)
    assert backward_transfer(now, None, [], torch.ones(4)) == pytest.approx(-25)


def test_statistics_calibration_and_state_are_new(model):
    made = model.update(turned(), config=SHORT, compare=False).model
    old, new = model.known_statistics(), made.known_statistics()
    assert not torch.equal(old.layers[0].mean, new.layers[0].mean)
    assert not torch.equal(old.entropy, new.entropy)
    median = new.columns["a"]["quantiles"][2]
    everything = np.median(np.concatenate([signs(240)["a"], turned()["a"]]))
    assert median == pytest.approx(everything, abs=0.7)
    assert float(made.output.temperature) != float(model.output.temperature)
    assert made.stream().rows == 0


@pytest.mark.parametrize("keep", [0, 60])
def test_a_new_class_makes_the_output_grow(keep, model, bare, tmp_path):
    start = model if keep else bare
    frame = turned()
    frame.loc[frame["b"] > 0.5, "y"] = "third"
    made = start.update(frame, config=LONG, compare=bool(keep), out=tmp_path)
    assert made.report["new"]["classes"] == ["third"]
    again = aet.load(tmp_path)
    assert again.output.classes == ["minus", "plus", "third"]
    assert start.output.classes == ["minus", "plus"]
    assert again.statistics.label_mix.shape == (3,)
    assert again.statistics.confusion.shape == (3, 3)
    test = frame[frame["y"] == "third"]
    assert again.evaluate(test)["accuracy"] > 0.5
    if keep:
        assert again.reservoir.rows.target.max() == 2
        assert again.update(signs(40), config=SHORT, compare=False).model.output.classes == again.output.classes


def test_old_logits_are_unchanged_when_the_output_grows(model):
    grown = copy.deepcopy(model)
    batch = model.encode(model.check(signs(20)).frame)
    assert grown.output.grow(pd.DataFrame({"y": ["plus", "zebra", "bee", "bee"]})) == ["bee", "zebra"]
    torch.testing.assert_close(grown.logits(batch)[:, :2], model.logits(batch))
    assert (grown.logits(batch)[:, 2:] == 0).all()
    assert grown.output.grow(pd.DataFrame({"y": ["bee"]})) == []
    assert grown.output.class_weight.tolist() == [1.0] * 4


def test_members_learn_a_new_class(tmp_path):
    frame = signs(120)
    config = quick(2, dim=16, lr=1e-2, keep_rows=40)
    config["model"]["members"] = 2
    start = aet.train(frame, target="y", config=config)
    heads = copy.deepcopy(start.output.head)
    grown = copy.deepcopy(start)
    grown.output.grow(pd.DataFrame({"y": ["third"]}))
    assert torch.equal(grown.output.head.weight[:, :2], heads.weight)
    assert not grown.output.head.weight[:, 2].any()
    new = turned(80)
    new.loc[new["b"] > 0.5, "y"] = "third"
    start.update(new, config=SHORT, compare=False, out=tmp_path)
    again = aet.load(tmp_path)
    assert again.output.classes == ["minus", "plus", "third"]
    assert again.output.head.weight.shape[:2] == (2, 3)


def test_balanced_weights_grow_too():
    config = {**quick(1), "output": {"class_weight": "balanced"}}
    frame = signs(90)
    frame = frame[(frame["y"] == "plus") | (frame.index % 3 == 0)]
    output = aet.train(frame, target="y", config=config).output
    old = output.class_weight.clone()
    output.grow(pd.DataFrame({"y": ["plus"] * 6 + ["new"] * 2}))
    assert torch.equal(output.class_weight[:2], old)
    assert float(output.class_weight[2]) == 8 / (2 * 2)


def test_columns_that_are_new_or_missing_are_refused(model):
    with pytest.raises(SchemaError, match=r"not trained with: 'c'.*Leave them out.*or train anew"):
        model.update(turned().assign(c=1.0))
    with pytest.raises(SchemaError, match=r"Missing columns: 'b'"):
        model.update(turned().drop(columns="b"))
    with pytest.raises(SchemaError, match=r"'y'"):
        model.update(turned().drop(columns="y"))


def test_rows_that_cannot_be_used(model):
    with pytest.raises(DataError, match="at least 4 usable rows"):
        model.update(turned(3))
    frame = turned(40).astype({"a": object})
    frame.loc[3, "a"] = "wild"
    assert model.update(frame, config=SHORT, compare=False).report["new"]["quarantined"] == 1


def test_an_update_costs_a_share_of_retraining(model, bare):
    made = model.update(turned(), compare=False)
    new, old = made.report["new"], made.report["old"]
    rows = Rows(new["rows"] + old["replayed"], new["held"] + old["held"])
    # A kept row stands for rows of which a fifth were held out.
    everything = Rows(192 + new["rows"], round((192 + new["rows"]) / 4))
    assert made.report["settings"]["epochs"] == afforded(model, everything, rows, {})[0]
    assert made.report["settings"]["lr"] == 2 * model.config.train.lr
    few = bare.update(turned(20), compare=False)
    new = few.report["new"]
    everything, rows = Rows(192 + new["rows"], round((192 + new["rows"]) / 4)), Rows(new["rows"], new["held"])
    assert few.report["settings"]["epochs"] == afforded(bare, everything, rows, {"moment_replay": {}})[0]
    assert few.model.report["seen"] == 192 + new["rows"]


def test_settings(model, bare):
    with pytest.raises(ConfigError, match="under train alone, got model"):
        model.update(turned(), config={"model": {"dim": 8}})
    with pytest.raises(ConfigError, match=r"train.epoch is unknown"):
        model.update(turned(), config={"train": {"epoch": 8}})
    with pytest.raises(ConfigError, match=r"'ewc' has to know which weights matter.*keep_fisher"):
        bare.update(turned(), config={"train": {"switches": {"ewc": {}}}})
    with pytest.raises(ConfigError, match=r"A gate needs old rows.*keep_rows"):
        bare.update(turned(), gate=2)
    switches = {"ewc": {}, "lwf": {"alpha": 0.3}, "l2_start": {}}
    made = model.update(turned(), config={"train": {"epochs": 1, "switches": switches}}, compare=False)
    assert made.report["settings"]["switches"] == switches


def test_without_kept_rows_the_record_says_what_is_missing(bare):
    made = bare.update(turned(), config=SHORT)
    assert made.report["runs"].keys() == {"before", "update", "fine_tuning"}
    assert "Retraining from scratch on everything needs the old rows" in " ".join(made.report["missing"])
    assert "Forgetting is not known" in " ".join(made.report["missing"])
    assert made.report["settings"]["switches"] == WITHOUT_ROWS
    assert made.model.reservoir is None


def test_without_kept_rows_it_forgets_less_than_fine_tuning(bare):
    made = bare.update(turned(), old=signs(240), config={"train": {"epochs": 20}})
    runs = made.report["runs"]
    assert runs["update"]["forgetting"] < runs["fine_tuning"]["forgetting"] - 5
    assert made.report["old"]["from"] == "old rows"
    assert runs["scratch"]["old"] > 0.8


def test_old_rows_are_measured_on_but_not_learned(model):
    one = model.update(turned(), config=SHORT, compare=False)
    two = model.update(turned(), old=signs(240), config=SHORT, compare=False)
    assert all(torch.equal(t, bits(two.model)[name]) for name, t in bits(one.model).items())
    assert two.report["old"]["held"] == 48
    with pytest.raises(DataError, match="No row of `old`"):
        model.update(turned(), old=signs(20).assign(y="other"))


def test_the_gate_writes_nothing(model, tmp_path):
    frame = turned()
    with pytest.raises(UpdateRefused, match=r"forgets .* at most 0 are allowed, and no model was written") as refused:
        model.update(
            frame,
            config={"train": {"epochs": 20, "lr": 0.05}},
            gate=0,
            compare=False,
            old=signs(240),
            out=tmp_path / "new",
        )
    assert refused.value.report["runs"]["update"]["forgetting"] > 0
    assert not (tmp_path / "new").exists()
    assert model.update(frame, config=SHORT, gate=100, compare=False).report["gate"] == 100


def test_the_run_folder_holds_the_rows_and_notices_damage(model, tmp_path):
    made = model.update(turned(), config=SHORT, compare=False)
    folder = made.write(tmp_path / "run")
    again = aet.load(folder)
    assert again.reservoir.seen == made.model.reservoir.seen
    assert torch.equal(again.reservoir.rows.values["number0"], made.model.reservoir.rows.values["number0"])
    assert again.report == json.loads(json.dumps(made.model.report))
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    data = bytearray((folder / "reservoir.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "reservoir.safetensors").write_bytes(data)
    with pytest.raises(RunError, match=r"reservoir.safetensors was changed"):
        aet.load(folder)
    (folder / "reservoir.safetensors").unlink()
    with pytest.raises(RunError, match=r"reservoir.safetensors is missing"):
        aet.load(folder)


def test_a_model_without_rows_leaves_none_behind(model, bare, tmp_path):
    model.save(tmp_path)
    bare.save(tmp_path)
    assert not (tmp_path / "reservoir.safetensors").exists()
    assert aet.load(tmp_path).reservoir is None


def test_a_kept_f_goes_on_and_fades(tmp_path):
    start = aet.train(signs(160), target="y", config=quick(2, keep_fisher=True), out=tmp_path)
    assert aet.load(tmp_path).fisher.keys() == dict(start.named_parameters()).keys()
    frame = turned(60)
    frame.loc[:9, "y"] = "third"
    made = start.update(frame, config={"train": {"epochs": 1, "switches": {"ewc": {"decay": 0.5}}}}, compare=False)
    for name, t in start.fisher.items():
        now = made.model.fisher[name][tuple(slice(0, size) for size in t.shape)]
        assert (now >= 0.5 * t - 1e-9).all()
    assert made.model.fisher["output.head.bias"].shape == (3,)


class Stop(Exception):
    """The power goes."""


def test_an_interrupted_update_goes_on_exactly(model, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    config = {"train": {"epochs": 4}}
    whole = model.update(turned(), config=config, compare=False, out=tmp_path / "whole")
    validate, calls = loop.validate, []

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 3:
            raise Stop
        return validate(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "validate", interrupted)
        with pytest.raises(Stop):
            model.update(turned(), config=config, compare=False, out=tmp_path / "broken")
    assert (tmp_path / "broken" / "checkpoint.safetensors").is_file()
    again = model.update(turned(), config=config, compare=False, out=tmp_path / "broken")
    assert all(torch.equal(t, bits(again.model)[name]) for name, t in bits(whole.model).items())
    assert not (tmp_path / "broken" / "checkpoint.safetensors").exists()
    other = trained(epochs=1)
    assert other.update(turned(), config=config, compare=False, out=tmp_path / "broken").model is not again.model


@pytest.mark.parametrize("target", ["number", ["hot", "wet"], "y"])
def test_all_kinds_of_input_and_output(target, tmp_path):
    frame = mixed(150).assign(hot=lambda f: (f["y"] == "yes").astype(int), wet=lambda f: (f["flat"] > 0).astype(int))
    frame["wet"] = np.arange(150) % 3 == 0
    frame = frame.dropna(subset=["number"]).reset_index(drop=True)
    frame = frame.drop(columns=["y"] if target != "y" else ["hot", "wet"])
    frame = frame if isinstance(target, list) or target == "y" else frame.drop(columns=["hot", "wet"])
    model = aet.train(frame[:90], target=target, kinds={"text": "text"}, config=quick(1, keep_rows=30))
    made = model.update(frame[90:], config=SHORT, out=tmp_path)
    again = aet.load(tmp_path)
    pd.testing.assert_frame_equal(again.predict(frame), made.model.predict(frame))
    assert made.report["score"] == model.output.score_name
    assert np.isfinite(made.report["runs"]["scratch"]["new"])


def test_weights_stand_for_rows():
    frame = signs(200).assign(heavy=np.arange(200) % 2)
    model = aet.train(frame, target="y", weight="heavy", config=quick(1, keep_rows=40))
    assert model.reservoir.seen < 200, "rows of weight 0 were never there"
    with pytest.raises(DataError, match=r"'heavy' is 0 in all new rows"):
        model.update(turned(40).assign(heavy=0))


def test_the_report_shows_it(model):
    page = render(model_record(model.update(turned(), config=SHORT).model, title="Signs"))
    assert "The last update" in page
    assert "retrained from scratch" in page
    assert "fine-tuned on the new rows alone" in page
    assert "The last update" not in render(model_record(model, title="Signs"))
