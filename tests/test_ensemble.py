"""Deep ensembles: the mixture by hand, the folder, going on where it was interrupted, the command."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import aet
from aet.cli import app
from aet.ensemble import Ensemble, load_any
from aet.errors import ConfigError, RunError
from aet.training import train as training

from .made import quick, signs


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three members and their folder."""
    folder = tmp_path_factory.mktemp("ensemble")
    return aet.train_ensemble(signs(), "y", members=3, config=quick(4), out=folder), folder


def test_the_mixture_is_the_mean_of_calibrated_probabilities(made):
    ensemble, _ = made
    fresh = signs(40, seed=1)
    frame = ensemble.check(fresh).frame
    p = torch.stack([m.output.probabilities(m.logits(m.encode(frame))) for m in ensemble.members]).mean(0)
    torch.testing.assert_close(ensemble.logits(ensemble.encode(frame)).softmax(-1), p)
    sharpened = (p.log() / ensemble.output.temperature).softmax(-1)
    answers = ensemble.predict(fresh, proba=True)
    np.testing.assert_allclose(answers[["p_minus", "p_plus"]], sharpened, atol=1e-6)


def test_numbers_are_a_normal_of_the_mixtures_variance():
    """Means 1 and 3 with deviation 1 each: mean 2, variance 1 + 1."""
    frame = signs().assign(y=lambda f: f["a"] * 2 + 5)
    output = aet.train(frame, "y", output="number", config=quick(1)).output
    z = 1.6448536269514722
    members = torch.tensor([[[1.0, 1 - z, 1 + z]], [[3.0, 3 - z, 3 + z]]])
    torch.testing.assert_close(
        output.pooled(members)[0], torch.tensor([2.0, 2 - z * math.sqrt(2), 2 + z * math.sqrt(2)])
    )


def test_members_differ_by_their_seed_and_share_the_held_out_rows(made):
    ensemble, _ = made
    assert [m.config.seed for m in ensemble.members] == [0, 1, 2]
    single = aet.train(signs(), "y", config=quick(4))
    for name, tensor in single.state_dict().items():
        assert torch.equal(tensor, ensemble.members[0].state_dict()[name]), "the first is the model of aet.train"
    assert not torch.equal(ensemble.members[1].output.head.weight, ensemble.members[0].output.head.weight)
    assert len({m.report["rows"] for m in ensemble.members}) == 1
    assert torch.equal(ensemble.members[1].inputs["number0"].center, ensemble.members[0].inputs["number0"].center)
    assert [record["seed"] for record in ensemble.report["members"]] == [0, 1, 2]


def test_a_folder_gives_it_back(made):
    ensemble, folder = made
    fresh = signs(30, seed=2)
    again = Ensemble.load(folder)
    pd.testing.assert_frame_equal(again.predict(fresh, proba=True), ensemble.predict(fresh, proba=True))
    assert again.evaluate(fresh) == ensemble.evaluate(fresh)
    assert again.report == ensemble.report
    assert isinstance(load_any(folder), Ensemble)
    assert isinstance(load_any(folder / "member-1"), aet.Model)


def test_saved_elsewhere_it_is_the_same(made, tmp_path):
    ensemble, _ = made
    again = Ensemble.load(ensemble.save(tmp_path / "copy"))
    pd.testing.assert_frame_equal(again.predict(signs(9)), ensemble.predict(signs(9)))


def test_damage_is_told(made, tmp_path):
    ensemble, folder = made
    with pytest.raises(RunError, match=r"holds an ensemble, not one model.*distill"):
        aet.load(folder)
    copy = ensemble.save(tmp_path / "copy")
    described = json.loads((copy / "ensemble.json").read_text())
    (copy / "ensemble.json").write_text(json.dumps({**described, "members": ["member-0"]}))
    with pytest.raises(RunError, match="was changed or damaged"):
        Ensemble.load(copy)
    copy = ensemble.save(tmp_path / "other")
    aet.train(signs(seed=5), "y", config=quick(1), out=copy / "member-1")
    with pytest.raises(RunError, match=r"member-1.*belongs to another run"):
        Ensemble.load(copy)
    with pytest.raises(RunError, match="holds no ensemble"):
        Ensemble.load(tmp_path)


def test_members_that_are_done_are_not_trained_again(tmp_path, monkeypatch):
    settings = {"members": 3, "config": quick(2), "out": tmp_path}
    trained, fit = [], training.fit

    def interrupted(model, *rest, **more):
        trained.append(model.config.seed)
        if trained == [0, 1]:
            raise KeyboardInterrupt
        return fit(model, *rest, **more)

    monkeypatch.setattr(training, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        aet.train_ensemble(signs(), "y", **settings)
    assert not (tmp_path / "ensemble.json").exists()
    first = (tmp_path / "member-0" / "model.safetensors").stat().st_mtime_ns
    made = aet.train_ensemble(signs(), "y", **settings)
    assert trained == [0, 1, 1, 2]
    assert (tmp_path / "member-0" / "model.safetensors").stat().st_mtime_ns == first
    whole = aet.train_ensemble(signs(), "y", members=3, config=quick(2))
    pd.testing.assert_frame_equal(made.predict(signs(20)), whole.predict(signs(20)))
    aet.train_ensemble(signs(seed=1), "y", **settings)
    assert trained[7:] == [0, 1, 2], "other rows are another ensemble"


@pytest.mark.parametrize("members", [1, 0, 2.0, True])
def test_too_few_members(members):
    with pytest.raises(ConfigError, match="2 members or more"):
        aet.train_ensemble(signs(), "y", members=members)


def test_a_folder_of_one_model_is_not_overwritten(tmp_path):
    aet.train(signs(), "y", config=quick(1), out=tmp_path)
    with pytest.raises(RunError, match="holds a single model"):
        aet.train_ensemble(signs(), "y", out=tmp_path, config=quick(1))


def test_members_of_other_tables_are_refused():
    one = aet.train(signs(), "y", config=quick(1))
    two = aet.train(signs().rename(columns={"a": "c"}), "y", config=quick(1))
    with pytest.raises(ConfigError, match=r"Member 1 .* other columns"):
        Ensemble([one, two])
    with pytest.raises(ConfigError, match="no members"):
        Ensemble([])


def test_the_command(tmp_path):
    signs().to_csv(tmp_path / "rows.csv", index=False)
    rows, out = str(tmp_path / "rows.csv"), str(tmp_path / "run")
    quickly = ["--set", "train.epochs=2", "--set", "model.dim=8", "--set", "model.heads=2"]

    def call(*words):
        return CliRunner().invoke(app, [*words, "--json"])

    answer = call("train", rows, "--target", "y", "--ensemble", "2", "--out", out, *quickly)
    assert answer.exit_code == 0, answer.output
    assert len(json.loads(answer.stdout)["members"]) == 2
    assert json.loads(call("evaluate", out, rows).stdout)["rows"] == 160
    assert json.loads(call("predict", out, rows, "--out", str(tmp_path / "a.parquet")).stdout)["rows"] == 160
    both = call("train", rows, "--target", "y", "--ensemble", "2", "--compare", "--out", out)
    assert both.exit_code == 2
    assert "--compare is for one model" in both.output
