"""The run folder: what comes back from it, and what is said of every damage."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import aet
from aet.errors import DataError, RunError
from aet.run import FORMAT, own_sum, sha256

from .made import mixed, quick, shapes, signs

PARTS = ("config.yaml", "schema.json", "model.safetensors", "statistics.safetensors")
SOURCE = Path(aet.__file__).parent


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A model of all input kinds, its frame, and its folder, which nobody writes to."""
    frame = mixed(100).join(shapes(100)[["picture"]])
    folder = tmp_path_factory.mktemp("kept") / "run"
    return aet.train(frame, target="y", kinds={"text": "text"}, config=quick(2), out=folder), frame, folder


@pytest.fixture
def run(kept, tmp_path):
    """A copy of that folder, to be damaged."""
    shutil.copytree(kept[2], tmp_path / "run")
    return tmp_path / "run"


def rewrite(folder, change=lambda described: None):
    """Write schema.json anew after `change`, with sums that fit, as another program might."""
    described = json.loads((folder / "schema.json").read_text())
    described["sha256"] = {name: sha256(folder / name) for name in PARTS if name != "schema.json"}
    change(described)
    if isinstance(described.get("sha256"), dict):
        described["sha256"]["schema.json"] = own_sum(described)
    (folder / "schema.json").write_text(json.dumps(described))


def test_a_loaded_model_gives_the_same_bits(kept):
    model, frame, folder = kept
    again = aet.load(folder)
    batch = model.encode(model.check(frame).frame, target=True)
    other = again.encode(again.check(frame).frame, target=True)
    assert torch.equal(again.logits(other), model.logits(batch))
    assert torch.equal(other.target, batch.target)
    pd.testing.assert_frame_equal(again.predict(frame, proba=True), model.predict(frame, proba=True))
    assert again.report == model.report
    assert again.config == model.config
    assert again.schema == model.schema
    assert again.token_names() == model.token_names()
    assert not again.training
    assert again.statistics.columns == model.statistics.columns
    tensors = again.statistics.tensors()
    assert all(torch.equal(tensors[name], t) for name, t in model.statistics.tensors().items())


@pytest.mark.parametrize("output", ["number", "multilabel"])
def test_other_answers_come_back_too(tmp_path, output):
    frame = signs(60).assign(y=lambda f: f["a"] * 1e6, hot=lambda f: (f["a"] > 0).astype(int), wet=[0, 1, 1] * 20)
    target = "y" if output == "number" else ["hot", "wet"]
    model = aet.train(frame, target=target, config=quick(1), out=tmp_path)
    assert model.output.kind == output
    pd.testing.assert_frame_equal(aet.load(tmp_path).predict(frame, proba=True), model.predict(frame, proba=True))


def test_a_model_saved_again_is_the_same_and_stays_what_lies_beside_it(kept, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    again = aet.load(kept[2])
    assert again.save(tmp_path) == tmp_path
    assert (tmp_path / "notes.txt").read_text() == "mine"
    for name in PARTS:
        assert (tmp_path / name).read_bytes() == (kept[2] / name).read_bytes()


def test_loading_draws_nothing_from_the_program_s_generator(kept):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    aet.load(kept[2])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "foreign", "folder"])
def test_every_damage_of_every_part_is_a_run_error_with_the_mend(run, name, damage):
    path = run / name
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "foreign": b"\x93NUMPY\xff\x00" * 9}[damage])
    with pytest.raises(RunError, match=r"Copy the folder again as a whole, or train again|Name the folder") as caught:
        aet.load(run)
    assert str(run) in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PARTS), st.floats(0, 1), st.integers(1, 255))
def test_one_changed_byte_is_noticed(kept, tmp_path, name, place, change):
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept[2], folder)
    data = bytearray((folder / name).read_bytes())
    data[min(int(place * len(data)), len(data) - 1)] ^= change
    (folder / name).write_bytes(data)
    if name == "schema.json" and means_the_same(bytes(data), kept[2]):
        return
    with pytest.raises(RunError):
        aet.load(folder)


def means_the_same(data, folder):
    """Some bytes of JSON are only white space."""
    try:
        return json.loads(data) == json.loads((folder / "schema.json").read_bytes())
    except ValueError:
        return False


def test_a_newer_format_asks_for_a_newer_aet(run):
    rewrite(run, lambda d: d.update(format=FORMAT + 1))
    with pytest.raises(RunError, match=rf"has format {FORMAT + 1}, .* reads up to {FORMAT}. Install a newer aet"):
        aet.load(run)


@pytest.mark.parametrize("version", ["1", None, 1.0, [1]])
def test_a_format_that_is_no_number_is_refused(run, version):
    rewrite(run, lambda d: d.update(format=version))
    with pytest.raises(RunError, match="has format"):
        aet.load(run)


@pytest.mark.parametrize("name", ["model.safetensors", "statistics.safetensors"])
def test_files_of_another_run_are_noticed_though_they_would_fit(run, name, tmp_path):
    other = aet.train(
        mixed(100).join(shapes(100, 1)[["picture"]]), target="y", seed=1, kinds={"text": "text"}, config=quick(1)
    ).save(tmp_path / "other")
    shutil.copy(other / name, run / name)
    with pytest.raises(RunError, match=rf"{name} was changed, is damaged or belongs to another run"):
        aet.load(run)


def test_weights_of_another_table_are_named_by_their_shapes(run, tmp_path):
    other = aet.train(signs(40), target="y", config=quick(1)).save(tmp_path / "other")
    shutil.copy(other / "model.safetensors", run / "model.safetensors")
    rewrite(run)
    with pytest.raises(RunError, match=r"belongs to another run: expected \d+ tensors .* Copy the folder again"):
        aet.load(run)


def test_settings_that_do_not_fit_are_a_run_error(run):
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["model"]["dim"] = 16
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(RunError, match=r"config\.yaml was changed, is damaged"):
        aet.load(run)
    rewrite(run)
    with pytest.raises(RunError, match=r"model\.safetensors belongs to another run"):
        aet.load(run)
    settings["model"]["width"] = 8
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    rewrite(run)
    with pytest.raises(RunError, match=r"is damaged. The setting model.width is unknown"):
        aet.load(run)


@pytest.mark.parametrize("part", ["schema", "inputs", "output", "statistics", "sha256"])
@pytest.mark.parametrize("value", [None, [], {}, "x", 3])
def test_a_description_with_a_wrong_part_is_a_run_error(run, part, value):
    rewrite(run, lambda d: d.pop(part) if value is None else d.update({part: value}))
    with pytest.raises(RunError):
        aet.load(run)


def test_a_save_that_is_interrupted_does_not_pass_for_a_run(kept, run, monkeypatch):
    def power_goes(*arguments, **named):
        raise KeyboardInterrupt

    model = aet.train(signs(40), target="y", config=quick(1))
    monkeypatch.setattr("yaml.safe_dump", power_goes)
    with pytest.raises(KeyboardInterrupt):
        model.save(run)
    with pytest.raises(RunError, match="was changed, is damaged or belongs to another run"):
        aet.load(run)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_that_is_no_run_is_named(tmp_path, name):
    with pytest.raises(RunError, match=r"is no run folder: schema.json is missing. Name the folder that"):
        aet.load(tmp_path / name)


def test_foreign_tensors_beside_the_own_are_noticed(run):
    from safetensors.torch import load_file

    weights = load_file(run / "model.safetensors")
    save_file({**weights, "more": torch.zeros(1)}, run / "model.safetensors")
    rewrite(run)
    with pytest.raises(RunError, match="belongs to another run"):
        aet.load(run)


def test_no_pickle_is_read_anywhere():
    forbidden = re.compile(r"\b(pickle|joblib|dill|marshal|shelve)\b|torch\.load\(|allow_pickle=True|read_pickle")
    found = [
        f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"
        for path in sorted(SOURCE.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if forbidden.search(re.sub(r"No pickle\b.*|#.*", "", line))
    ]
    assert found == []
    loads = [path for path in SOURCE.rglob("*.py") if "np.load(" in path.read_text(encoding="utf-8")]
    assert all("np.load(stream, allow_pickle=False)" in path.read_text(encoding="utf-8") for path in loads)


def test_a_pickle_in_the_place_of_weights_is_not_opened(run):
    import pickle

    class Trap:
        def __reduce__(self):
            return (Path(run / "sprung").write_text, ("x",))

    (run / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    np.save(run / "array.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(RunError, match="was changed, is damaged"):
        aet.load(run)
    rewrite(run)
    with pytest.raises(RunError, match="cannot be read as safetensors"):
        aet.load(run)
    with pytest.raises(DataError, match="without Python objects"):
        aet.train(str(run / "array.npy"), target="y")
    assert not (run / "sprung").exists()
