"""Networks that train in part: the identity at first, folded into plain weights at last, and the same after a break."""

import copy
import sys

import pandas as pd
import pytest
import torch

import aet
from aet.config import Config
from aet.errors import ConfigError, MissingPackage
from aet.inputs.pretrained import pretrained
from aet.inputs.text import TextInput
from aet.inputs.tuning import TUNINGS, tuning
from aet.model import Model
from aet.schema import InputSpec, infer
from aet.training import loop
from aet.training.loop import fit
from aet.training.switch import Switch
from aet.training.switches.layer_decay import layers_of
from aet.training.tunings import Tuning, tunings
from aet.training.tunings.base import TUNED

from ...inputs.networks import KINDS, network
from ...made import sentences

PARTIAL = sorted(TUNED)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: str(network(tmp_path_factory.mktemp(kind), kind)) for kind in KINDS}


def settings(folder, told, epochs=3, **train):
    own = {"epochs": epochs, "batch_size": 16, "lr": 0.02, "rehearsals": 0, **train}
    return {"inputs": {"text": {"backbone": folder, "tuning": told}}, "train": own}


def untrained(folder, told, rows=None, **train):
    rows = sentences(60) if rows is None else rows
    torch.manual_seed(0)
    model = Model(infer(rows, "y"), Config.read(settings(folder, told, **train))).fit_columns(rows)
    return model, model.encode(rows, target=True)


def shapes(model):
    return {name: t.shape for name, t in model.state_dict().items()}


def test_every_name_is_known_by_both_rooms():
    assert {*TUNED} | {"full", "frozen"} == {*TUNINGS}


@pytest.mark.parametrize("told", PARTIAL)
@pytest.mark.parametrize("kind", KINDS)
def test_the_identity_at_first_and_folded_at_last(kind, told, folders):
    if (kind, told) in {("distilbert", "ia3"), ("t5", "elastic")}:
        pytest.skip("refused, see below")
    model, batch = untrained(folders[kind], told)
    plain, before = copy.deepcopy(model), shapes(model)
    (switch,) = tunings(model)
    switch.prepare(model)
    torch.testing.assert_close(model.logits(batch), plain.logits(batch), rtol=0, atol=1e-6)
    fresh = switch.parts["text0"].fresh
    assert {id(p) for p in model.inputs.parameters() if p.requires_grad} == {id(p) for p in fresh}
    torch.manual_seed(1)
    with torch.no_grad():
        for p in fresh:
            p.add_(0.1 * torch.randn_like(p))
    moved = model.logits(batch)
    assert (moved - plain.logits(batch)).abs().max() > 1e-4
    if told == "adalora":
        switch.parts["text0"].stayed = []
    switch.end(None)
    assert shapes(model) == before
    assert all(p.requires_grad for p in model.parameters())
    torch.testing.assert_close(model.logits(batch), moved, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("told", PARTIAL)
def test_a_run_needs_no_peft_to_load(told, folders, tmp_path, monkeypatch):
    model = aet.train(sentences(80), target="y", config=settings(folders["bert"], told), out=tmp_path)
    (record,) = model.report["switches"]
    assert record["name"] == "tuning"
    assert record["acted"].startswith(f"{told} of text0: trained ")
    monkeypatch.setitem(sys.modules, "peft", None)
    again, rows = aet.load(tmp_path), sentences(20, seed=3)
    pd.testing.assert_frame_equal(again.predict(rows), model.predict(rows))
    assert not any("lora" in name or "ia3" in name or "dials" in name for name in again.state_dict())
    assert again.inputs["text0"].network["tuning"]["name"] == told
    # What was folded can adapt, be told labels, and be updated.
    stream = again.stream()
    stream.predict(rows)
    stream.feedback([0, 1], rows["y"][:2].tolist())
    assert stream.predict(rows)["prediction"].notna().all()


def test_only_the_layers_named_move(folders):
    model, batch = untrained(folders["bert"], "lora")
    before = {name: t.clone() for name, t in model.inputs.state_dict().items()}
    fit(model, batch, batch)
    moved = {name for name, t in model.inputs.state_dict().items() if not torch.equal(t, before[name])}
    assert {name.split(".")[-2:][0] for name in moved} == {"query", "value"}
    assert len(moved) == 4


@pytest.mark.parametrize("told", ["adalora", "elastic", "frozen"])
def test_an_interrupted_run_goes_on_exactly(told, folders, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)

    def stop(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    whole, batch = untrained(folders["bert"], told, epochs=4)
    fit(whole, batch, batch)
    model, batch = untrained(folders["bert"], told, epochs=4)
    with pytest.raises(KeyboardInterrupt):
        fit(model, batch, batch, folder=tmp_path, on_epoch=stop)
    model, batch = untrained(folders["bert"], told, epochs=4)
    fit(model, batch, batch, folder=tmp_path)
    for name, t in whole.state_dict().items():
        assert torch.equal(t, model.state_dict()[name]), name


@pytest.mark.parametrize("keep", [40, 0])
def test_an_update_tunes_where_kept_rows_let_the_inputs_move(keep, folders):
    model = aet.train(sentences(80), target="y", config=settings(folders["bert"], "lora", keep_rows=keep))
    made = model.update(sentences(40, seed=7), compare=False)
    before, after = model.inputs.state_dict(), made.model.inputs.state_dict()
    moved = {name.split(".")[-2] for name, t in after.items() if not torch.equal(t, before[name])}
    assert moved == ({"query", "value"} if keep else set())


class Watch(Switch):
    """Notes how many triplets are left of the weights that each epoch validates."""

    name = "watch"

    def begin(self, run):
        self.left = []

    def validated(self, run, record):
        self.calls += 1
        (switch,) = (s for s in run.switches if isinstance(s, Tuning))
        self.left.append(sum(switch.parts["text0"].ranks()))


def test_ranks_of_adalora_really_fall(folders):
    told = {"adalora": {"rank": 2, "start": 6}}
    model, batch = untrained(folders["bert"], told, epochs=6)
    watch = Watch()
    history = fit(model, batch, batch, more=[watch])
    # Four layers of six triplets, of which two a layer stay.
    assert 24 > watch.left[0] > watch.left[-1] == 8
    assert "ranks of 4 layers from 6 each" in history[-1]["acted"]["tuning"]
    assert "(24 to 8 in all" in history[-1]["acted"]["tuning"]


def test_adalora_that_never_prunes_is_an_error(folders, monkeypatch):
    import peft

    monkeypatch.setattr(peft.AdaLoraModel, "update_and_allocate", lambda self, step: None)
    model, batch = untrained(folders["bert"], "adalora")
    with pytest.raises(ConfigError, match=r"'tuning' was on and did nothing.*No rank was pruned"):
        fit(model, batch, batch)


def test_what_stands_still_is_an_error(folders):
    model, batch = untrained(folders["bert"], "elastic", lr=1e-30)
    with pytest.raises(ConfigError, match=r"'tuning' was on and did nothing.*Raise train.lr"):
        fit(model, batch, batch)


def test_gradual_unfreezing_thaws_the_networks_layers_downwards(folders):
    rows = sentences(60)
    switches = {"unfreeze": {"share": 0.8, "snr": 0.0}}
    model, batch = untrained(folders["bert"], "full", rows, switches=switches, epochs=5)
    seen = []

    class Look(Switch):
        name = "look"

        def stepped(self, run):
            self.calls += 1
            open_ = {layer for p, layer in layers_of(run.model).items() if p.requires_grad}
            seen.append(min(open_))
            assert open_ == set(range(min(open_), 4)), "the output downwards"

    before = {name: t.clone() for name, t in model.state_dict().items()}
    history = fit(model, batch, batch, more=[Look()])
    assert sorted({*seen}, reverse=True) == [3, 2, 1, 0]
    assert "kept parts frozen for 16 steps" in history[-1]["acted"]["unfreeze"]
    assert all(p.requires_grad for p in model.parameters())
    embeddings = "inputs.text0.backbone.module.embeddings.word_embeddings.weight"
    assert not torch.equal(model.state_dict()[embeddings], before[embeddings]), "thawed last, and trained"


def test_gradual_unfreezing_thaws_adapters_too(folders):
    switches = {"unfreeze": {"share": 0.5, "snr": 0.0}}
    model, batch = untrained(folders["bert"], "lora", switches=switches, epochs=4)
    acted = fit(model, batch, batch)[-1]["acted"]
    assert acted["unfreeze"]
    assert acted["tuning"]


def test_a_run_from_before_the_name_still_loads(folders):
    part = TextInput([InputSpec("x", "text", ("x",))], 8)
    given = pretrained(folders["bert"])
    kept = {"tokenizer": given.tokenizer.to_str(), "length": 8, "windows": 1}
    for freeze, name in ((True, "frozen"), (False, "full")):
        network = {"settings": given.settings, "rate": 0.05, "freeze": freeze, "longest": 24}
        part.load_settings({**kept, "network": network})
        assert part.network["tuning"]["name"] == name


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("prefix", "is refused: .* cannot be folded.*Take lora or ia3"),
        ("lorra", "Did you mean 'lora'"),
        ({"lora": {"rank": 0}}, "whole number of at least 1"),
        ({"lora": {"ranks": 2}}, "Did you mean 'rank'"),
        ({"lora": {"dropout": 1.0}}, "expected below 1"),
        ({"lora": {"layers": "some"}}, "usual, all"),
        ({"adalora": {"rank": 8}}, "needs rank below start"),
        ({"adalora": {"warm": 0.5, "settle": 0.6}}, "sum below 1"),
        ({"lora": {}, "ia3": {}}, "one name"),
    ],
)
def test_what_cannot_be_asked_for_says_so(told, said):
    with pytest.raises(ConfigError, match=said):
        tuning(told)


def test_too_few_steps_for_adalora_are_named(folders):
    model, batch = untrained(folders["bert"], {"adalora": {"warm": 0.4, "settle": 0.5}}, epochs=1)
    with pytest.raises(ConfigError, match=r"no step left to move ranks in: 4 steps.*Raise train.epochs"):
        fit(model, batch, batch)


@pytest.mark.parametrize(("kind", "told"), [("distilbert", "ia3"), ("t5", "elastic")])
def test_what_a_network_has_no_place_for_says_so(kind, told, folders):
    model, batch = untrained(folders[kind], told)
    with pytest.raises(ConfigError, match=rf"inputs.text.tuning='{told}'.*Take lora"):
        fit(model, batch, batch)


def test_without_peft_the_extra_is_named(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    model, batch = untrained(folders["bert"], "lora")
    with pytest.raises(MissingPackage, match=r"needs the package peft.*\[text\]"):
        fit(model, batch, batch)


def test_a_switch_that_freezes_the_inputs_is_named(folders):
    config = settings(folders["bert"], "lora", switches={"ia3": {}})
    config["model"] = {"dim": 4, "depth": 1, "heads": 2}
    with pytest.raises(ConfigError, match=r"A switch freezes the inputs, and inputs.text.tuning: lora"):
        aet.train(sentences(60), target="y", config=config)
    config["train"]["switches"] = {"ia3": {"inputs": True}}
    assert len(aet.train(sentences(60), target="y", config=config).report["switches"]) == 2


def test_settings_that_would_do_nothing_are_errors(folders):
    with pytest.raises(ConfigError, match=r"inputs.text.rate does nothing with inputs.text.tuning: frozen"):
        TextInput.chosen({"backbone": folders["bert"], "tuning": "frozen", "rate": 0.1})
    with pytest.raises(ConfigError, match=r"inputs.text.tuning does nothing without"):
        TextInput.chosen({"tuning": "lora"})
    with pytest.raises(ConfigError, match=r"inputs.text.tuning"):
        TextInput.chosen({"backbone": folders["bert"], "tuning": 5})
