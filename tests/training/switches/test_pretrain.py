"""The switch `pretrain`: which rows it learns from, what it says, that it comes first, and files that do not fit."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

import aet
from aet.errors import ConfigError
from aet.training.loop import fit
from aet.training.switch import switched_on
from aet.training.switches.pretrain import Pretrain

from ...made import quick, signs
from ..loops import bits, prepared, same
from .steps import run_of


@pytest.fixture
def file(tmp_path):
    """Fifty rows without answers."""
    signs(50, seed=4).drop(columns="y").to_csv(tmp_path / "rows.csv", index=False)
    return str(tmp_path / "rows.csv")


def test_it_learns_from_the_file_and_the_training_rows(file):
    model, *rows = prepared(signs(150), epochs=1, switches={"pretrain": {"file": file, "epochs": 2}})
    (record,) = fit(model, *rows)
    assert record["acted"]["pretrain"].startswith("learned from 170 rows in 2 epochs, loss of hidden tokens ")


def test_rows_that_count_nothing_are_left_out():
    model, train, _ = prepared(signs(150))
    weight = torch.zeros(len(train))
    weight[:30] = 1
    run = run_of(model, replace(train, weight=weight), {"pretrain": {"epochs": 1}})
    assert run.switches[0].seen[0] == 30


def test_it_comes_before_switches_that_keep_the_starting_weights():
    on = switched_on({"ema": {}, "pretrain": {}})
    assert [switch.name for switch in on] == ["pretrain", "ema"]
    model, train, _ = prepared(signs(150))
    start = bits(model)
    run = run_of(model, train, {"ema": {}, "pretrain": {"epochs": 1}})
    ema = run.switches[1]
    assert all(torch.equal(ema.mean[name], p) for name, p in model.named_parameters())
    assert not same(bits(model), start)


def test_nothing_is_left_in_the_run_folder(tmp_path):
    aet.train(signs(), "y", config=quick(1), switches={"pretrain": {"epochs": 1}}, out=tmp_path)
    assert not list(tmp_path.glob("pretrained*"))


def test_files_that_cannot_be_used(tmp_path):
    pd.DataFrame({"a": [1.0]}).to_csv(tmp_path / "rows.csv", index=False)
    for name, sentence in (("rows.csv", "Missing columns: 'b'"), ("none.csv", "cannot be used")):
        model, *rows = prepared(signs(150), switches={"pretrain": {"file": str(tmp_path / name)}})
        with pytest.raises(ConfigError, match=f"'pretrain'.*{sentence}"):
            fit(model, *rows)
    pd.DataFrame({"a": ["inf"], "b": [1.0]}).to_csv(tmp_path / "bad.csv", index=False)
    model, *rows = prepared(signs(150), switches={"pretrain": {"file": str(tmp_path / "bad.csv")}})
    with pytest.raises(ConfigError, match=r"has no row that can be used.*row 1, column 'a'"):
        fit(model, *rows)


@pytest.mark.parametrize("settings", [{"share": 1.0}, {"lr": 0.0}, {"epochs": 0}, {"file": 3}])
def test_wrong_settings(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Pretrain(**settings)
