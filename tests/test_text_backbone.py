"""Models whose text goes through a pretrained network: sizes, training, run folders, streams, and what does not go."""

import shutil
import sys

import pandas as pd
import pytest
import torch

import aet
from aet.config import Config
from aet.errors import ConfigError, MissingPackage
from aet.inputs import pretrained_files
from aet.model import Model
from aet.schema import infer
from aet.sizes import sizes
from aet.training.loop import fit
from aet.training.switches.layer_decay import layers_of

from .inputs.networks import network
from .made import sentences, signs

ODD = [
    "",
    " \t\n ",
    None,
    "lovely " * 150_000,
    "x" * 2**20,
    "broken \ud83d half \udc00",
    "nul \x00 bell \x07 escape \x1b[31m",
    "مرحبا بالعالم \u202e abc",
    "👩\u200d👩\u200d👧 great 🎉",
    "[PAD] [CLS] [UNK]",
    "这家酒店很好",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(network(tmp_path_factory.mktemp("network")))


def settings(folder, epochs=4, text=(), **train):
    given = {"backbone": folder, "rate": 1.0, **dict(text)}
    own = {"epochs": epochs, "batch_size": 16, "lr": 0.02, "rehearsals": 0, **train}
    return {"inputs": {"text": given}, "train": own}


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return aet.train(sentences(), target="y", config=settings(folder, 12), out=out), out


def untrained(folder, rows=None, **config):
    rows = sentences(40) if rows is None else rows
    given = {"inputs": {"text": {"backbone": folder}}, **config}
    return Model(infer(rows, "y"), Config.read(given)).fit_columns(rows)


def test_alone_it_sets_the_width_and_needs_no_block(run):
    model, _ = run
    assert (model.dim, model.depth, len(model.trunk.blocks)) == (8, 0, 0)
    assert (model.config.model.dim, model.config.model.depth) == (8, 0)
    assert model.inputs["text0"].project is None


def test_beside_other_columns_or_against_the_users_word_it_is_projected(folder):
    both = untrained(folder, sentences(40).assign(a=signs(40)["a"]))
    assert (both.dim, both.depth) == (64, 3)
    assert both.inputs["text0"].project.weight.shape == (64, 8)
    told = untrained(folder, model={"dim": 12, "depth": 1, "heads": 2})
    assert (told.dim, len(told.trunk.blocks)) == (12, 1)
    assert sizes(Config(), infer(sentences(40), "y").inputs) == (64, 3)


def test_pooling_starts_as_the_mean_over_the_pieces(folder):
    model = untrained(folder).eval()
    batch = model.encode(sentences(5, seed=3))
    tokens, mask = model.tokens(batch)
    normed = model.trunk.norm(tokens, mask)
    mean = (normed * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(model.trunk(tokens, mask), mean)


def test_it_learns(run):
    model, _ = run
    assert model.evaluate(sentences(60, seed=5))["accuracy"] > 0.9


def test_a_run_needs_neither_the_folder_nor_the_network_nor_pickle(tmp_path, monkeypatch):
    own = network(tmp_path / "network")
    model = aet.train(sentences(60), target="y", config=settings(str(own), 1), out=tmp_path / "run")
    shutil.rmtree(own)
    monkeypatch.setattr(pretrained_files, "found", lambda name: pytest.fail("it looked for the network"))
    monkeypatch.setattr(pretrained_files, "from_hub", lambda name: pytest.fail("it asked the hub"))
    rows = sentences(20, seed=4)
    again = aet.load(tmp_path / "run")
    pd.testing.assert_frame_equal(again.predict(rows), model.predict(rows))
    assert {file.suffix for file in (tmp_path / "run").iterdir()} <= {".yaml", ".json", ".jsonl", ".safetensors"}
    # What was loaded can be saved again.
    pd.testing.assert_frame_equal(aet.load(again.save(tmp_path / "more")).predict(rows), model.predict(rows))


def test_a_run_whose_package_is_not_installed_is_not_called_damaged(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPackage, match=r"needs the package transformers.*\[text\]") as raised:
        aet.load(run[1])
    assert "damaged" not in str(raised.value)


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_only_what_follows_trains(freeze, folder):
    rows = sentences(40)
    text = {"backbone": folder, "tuning": "frozen" if freeze else "full"}
    model = untrained(folder, inputs={"text": text}, train={"epochs": 2})
    before = {name: t.clone() for name, t in model.state_dict().items()}
    fit(model, model.encode(rows, target=True), model.encode(rows, target=True))
    moved = {name for name, t in model.state_dict().items() if not torch.equal(t, before[name])}
    assert any(name.startswith("output.") for name in moved)
    assert any("backbone" in name for name in moved) != freeze


def test_a_frozen_network_stays_so_beside_switches_that_freeze_and_thaw(folder):
    rows = sentences(40)
    text = {"backbone": folder, "tuning": "frozen"}
    on = {"epochs": 1, "switches": {"lora": {"inputs": True}}}
    model = untrained(folder, inputs={"text": text}, model={"dim": 4, "depth": 1, "heads": 2}, train=on)
    batch = model.encode(rows, target=True)
    before = {name: p.clone() for name, p in model.inputs.named_parameters()}
    fit(model, batch, batch)
    for name, p in model.inputs.named_parameters():
        assert p.requires_grad != ("backbone" in name), name
        assert torch.equal(p, before[name]) == ("backbone" in name), name


def test_its_layers_are_layers_of_the_whole(folder):
    model = untrained(folder)
    layers = layers_of(model)
    named = dict(model.named_parameters())
    path = "inputs.text0.backbone.module."
    assert layers[named[f"{path}embeddings.word_embeddings.weight"]] == 0
    assert layers[named[f"{path}encoder.layer.0.output.dense.weight"]] == 1
    assert layers[named[f"{path}encoder.layer.1.output.dense.weight"]] == 2
    assert layers[named["output.head.weight"]] == 3
    deep = untrained(folder, model={"dim": 4, "depth": 1, "heads": 2})
    named, layers = dict(deep.named_parameters()), layers_of(deep)
    assert layers[named["inputs.text0.project.weight"]] == 2
    assert layers[named["trunk.blocks.0.mlp.0.weight"]] == 3


def test_layer_decay_multiplies_the_networks_share(folder):
    rows = sentences(40)
    switches = {"layer_decay": {"decay": 0.5}}
    model = untrained(folder, train={"epochs": 1, "switches": switches})
    seen = {}

    class Watch(aet.training.switch.Switch):
        name = "watch"

        def stepped(self, run):
            self.calls += 1
            seen.update({p: group["scale"] for group in run.optimiser.param_groups for p in group["params"]})

    batch = model.encode(rows, target=True)
    fit(model, batch, batch, more=[Watch()])
    named = dict(model.named_parameters())
    assert seen[named["output.head.weight"]] == 1.0
    assert seen[named["inputs.text0.backbone.module.encoder.layer.1.output.dense.weight"]] == pytest.approx(0.025)
    assert seen[named["inputs.text0.backbone.module.embeddings.word_embeddings.weight"]] == pytest.approx(0.00625)


def test_a_stream_without_blocks_answers_and_learns_from_labels(run):
    model, _ = run
    rows = sentences(80, seed=6)
    stream = model.stream()
    answers = pd.concat([stream.predict(rows[start : start + 40]) for start in (0, 40)])
    assert answers["prediction"].notna().all()
    stream.feedback(list(range(16)), rows["y"][:16].tolist())
    assert stream.predict(rows[:10])["prediction"].notna().all()


def test_an_update_goes_on_from_it(run):
    model, _ = run
    made = model.update(sentences(40, seed=7), compare=False)
    assert made.model.predict(sentences(5))["prediction"].notna().all()


@pytest.mark.parametrize("own", [True, False])
def test_odd_texts_are_answered(own, run):
    model, rows = run[0], sentences(80)
    if own:
        small = {"model": {"dim": 8, "depth": 1, "heads": 2}, "train": {"epochs": 1, "rehearsals": 0}}
        rows["text"] = pd.Series([*ODD, *rows["text"][len(ODD) :]], dtype=object)
        model = aet.train(rows, target="y", kinds={"text": "text"}, config=small)
    answers = model.predict(pd.DataFrame({"text": pd.Series(ODD, dtype=object)}))
    assert answers["prediction"].notna().all()
    assert answers["confidence"].between(0, 1).all()
    assert answers["problem"].isna().all()
    assert answers["prediction"][0] == answers["prediction"][1] == answers["prediction"][2]
    assert answers["confidence"][0] == pytest.approx(answers["confidence"][1])


def test_chinese_is_learned_by_its_characters():
    good = ["酒店很好", "服务热情", "房间干净", "早餐好吃", "位置方便", "非常满意", "值得推荐", "态度友好"]
    bad = ["酒店很差", "服务冷淡", "房间很脏", "早餐难吃", "位置偏僻", "非常失望", "不再推荐", "态度恶劣"]
    pairs = [(f"{a}，{b}。", name) for name, some in (("good", good), ("bad", bad)) for a in some for b in some]
    rows = pd.DataFrame(pairs, columns=["text", "y"])
    config = {"model": {"dim": 16, "depth": 1, "heads": 2}, "train": {"epochs": 15, "lr": 0.01, "rehearsals": 0}}
    model = aet.train(rows, target="y", kinds={"text": "text"}, config=config)
    assert model.report["valid"]["accuracy"] > 0.9
    assert model.predict(pd.DataFrame({"text": ["好吃！干净！", "难吃！很脏！"]}))["prediction"].tolist() == [
        "good",
        "bad",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"attention": {"ssmax": {}}}}, "no block to attend"),
        ({"train": {"switches": {"lora": {}}}}, "works on the trunk's blocks"),
        ({"train": {"switches": {"adalora": {}}}}, "works on the trunk's blocks"),
        ({"train": {"switches": {"r_drop": {}}}}, "works on the trunk's blocks"),
        ({"train": {"switches": {"stochastic_depth": {}}}}, "works on the trunk's blocks"),
        ({"train": {"switches": {"pretrain": {}}}}, "trains the trunk's blocks"),
        ({"inputs": {"text": {"backbone": "./not/here"}}}, "there is no such folder"),
        ({"train": {"optimizer": "prodigy"}, "inputs": {"text": {"rate": 0.1}}}, "one size of step for all weights"),
    ],
)
def test_what_does_not_go_says_so(changes, said, folder):
    if "prodigy" in str(changes):
        pytest.importorskip("prodigyopt")
    config = {**settings(folder, 1), **changes}
    config["inputs"] = {"text": {**settings(folder)["inputs"]["text"], **config["inputs"]["text"]}}
    with pytest.raises(ConfigError, match=said):
        aet.train(sentences(40), target="y", config=config)


@pytest.mark.parametrize("model", [{"dim": 0}, {"dim": "wide"}, {"depth": -1}, {"depth": 1.5}, {"dim": True}])
def test_sizes_out_of_range_are_errors(model):
    with pytest.raises(ConfigError, match=rf"model.{next(iter(model))}=.*whole number.*or 'auto'"):
        Config.read({"model": model})
