"""What a part was worth: paired differences by hand, and runs without it that are really without it."""

import numpy as np
import pytest
import torch

import aet
from aet.errors import ConfigError
from aet.training import loop
from aet.training.worth import FOLDER, difference, paired

from ..made import quick, signs
from .loops import Interrupt, bits, same


def test_the_interval_by_hand():
    d = torch.tensor([0.5, -0.5, 1.0, 0.0, 0.0], dtype=torch.float64)
    mean, half = paired(d)
    assert mean == pytest.approx(0.2)
    assert half == pytest.approx(1.96 * float(np.std(d.numpy(), ddof=1)) / 5**0.5)
    assert paired(torch.tensor([1.0])) == (1.0, float("inf"))
    assert paired(torch.zeros(60)) == (0.0, 0.05), "rows without a difference do not prove that there is none"


def test_a_row_of_weight_zero_is_not_there():
    d, w = torch.tensor([1.0, 0.0, 5.0]), torch.tensor([1.0, 1.0, 0.0])
    assert paired(d, w) == pytest.approx(paired(d[:2]))


def trained(**more):
    return aet.train(signs(), target="y", config=quick(3, drift=0.5), **more)


def test_every_part_is_compared_with_the_run_without_it(tmp_path):
    model = trained(switches={"ema": {}, "label_smoothing": {"epsilon": 0.3}}, compare=True, out=tmp_path)
    assert [entry["part"] for entry in model.report["worth"]] == ["ema", "label_smoothing", "all"]
    plain = trained()
    rows = model.encode(model.check(signs()).frame, target=True)
    found = model.report["worth"][2]
    # The plain run is the run without all: its score on the held-out rows is the one that was noted.
    assert found["without"] == pytest.approx(plain.report["valid"]["accuracy"])
    assert found["with"] == pytest.approx(model.report["valid"]["accuracy"])
    assert found["difference"] == pytest.approx(found["with"] - found["without"])
    assert found["low"] <= found["difference"] <= found["high"]
    assert set(found["drifted"]) == {"with", "without", "difference", "low", "high"}
    again = difference(model, plain, rows)
    assert again["with"] == model.evaluate(signs())["accuracy"]
    assert again["without"] == plain.evaluate(signs())["accuracy"]
    assert aet.load(tmp_path).report["worth"] == model.report["worth"]
    assert not (tmp_path / FOLDER).exists()


def test_the_model_is_the_one_trained_without_comparing():
    assert same(bits(trained(switches=["ema"], compare=True)), bits(trained(switches=["ema"])))


def test_nothing_on_leaves_nothing_to_compare():
    with pytest.raises(ConfigError, match="nothing is on"):
        trained(compare=True)


def test_an_interrupted_comparison_goes_on(tmp_path, monkeypatch):
    whole = trained(switches=["ema", "sam"], compare=True).report["worth"]
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    runs, real = [], loop.fit

    def fit(model, train, valid, folder=None, on_epoch=lambda record: None, **more):
        def counted(record):
            runs.append(list(model.config.train.switches))
            if len(runs) == 5:  # in the second epoch of the first run without a part
                raise Interrupt
            on_epoch(record)

        return real(model, train, valid, folder, counted, **more)

    for module in (aet.training.train, aet.training.worth):
        monkeypatch.setattr(module, "fit", fit)
    with pytest.raises(Interrupt):
        trained(switches=["ema", "sam"], compare=True, out=tmp_path)
    assert (tmp_path / FOLDER / "ema").is_dir()
    first = len(runs)
    found = trained(switches=["ema", "sam"], compare=True, out=tmp_path).report["worth"]
    assert len(runs) - first < 12, "epochs done before the interruption are not done again"
    for one, other in zip(whole, found, strict=True):
        drop = ("seconds", "seconds_without")
        assert {k: v for k, v in one.items() if k not in drop} == {k: v for k, v in other.items() if k not in drop}


def test_what_each_switch_did_is_in_the_log_and_the_report(tmp_path, capsys):
    model = trained(switches={"ema": {"decay": 0.9}}, out=tmp_path, progress=True)
    (entry,) = model.report["switches"]
    assert entry["name"] == "ema"
    assert entry["settings"] == {"decay": 0.9}
    assert "averaged 12 steps" in entry["acted"]
    assert '"acted": {"ema": "averaged 4 steps"}' in (tmp_path / "metrics.jsonl").read_text()
    seen = capsys.readouterr().err
    assert "On: ema (decay 0.9)" in seen
    assert "ema: averaged 12 steps." in seen
