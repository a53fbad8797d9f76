"""Searching: what is tried, exact going on, a budget of time, the figures on rows that were never seen."""

import pandas as pd
import pytest
import yaml

import aet
from aet.config import Config
from aet.errors import ConfigError
from aet.schema import infer
from aet.training import tune as tuning
from aet.training.space import fits, searchable, suggest
from aet.training.switch import SWITCHES
from aet.training.train import train_on

from ..inputs.networks import network
from ..made import quick, sentences, signs

optuna = pytest.importorskip("optuna")


def search(out, trials=3, **more):
    return aet.tune(
        signs(200), "y", out=out, trials=trials, config=quick(2, drift=0.0), switches=["ema", "sam"], **more
    )


class Always:
    """A trial that turns everything on, at the upper end."""

    def suggest_float(self, name, low, high, log=False):
        return high

    def suggest_int(self, name, low, high):
        return high

    def suggest_categorical(self, name, choices):
        return choices[-1]


def test_every_switch_that_works_alone_can_be_tried():
    names = searchable()
    assert "focus_target" not in names
    assert "density_ratio" not in names
    for name in names:
        config = suggest(Always(), Config(), [name])
        SWITCHES[name](**config.train.switches[name])


def test_what_excludes_another_is_left_out(monkeypatch):
    monkeypatch.setattr(SWITCHES["sam"], "excludes", ("ema",))
    assert list(suggest(Always(), Config(), ["ema", "sam"]).train.switches) == ["ema"]
    assert fits("agc", ["sam"])


def test_a_search_gives_settings_that_train(tmp_path):
    found = search(tmp_path)
    assert found.config == Config.read(tmp_path / "best.yaml")
    assert len(found.trials) == 3
    assert found.trials["valid_loss"].is_monotonic_increasing
    assert found.worth["difference"] == pytest.approx(found.worth["with"] - found.worth["without"])
    assert pd.read_csv(tmp_path / "trials.csv")["trial"].tolist() == found.trials["trial"].tolist()
    model = aet.train(signs(200), config=tmp_path / "best.yaml")
    assert model.config.train.lr == found.config.train.lr


def test_the_first_trial_is_what_was_given(tmp_path):
    first = search(tmp_path, trials=1)
    assert first.config == Config.read(quick(2, drift=0.0) | {"data": {"target": "y"}})
    assert first.worth["difference"] == 0


def test_a_search_goes_on_where_it_stopped(tmp_path):
    search(tmp_path, trials=2)
    found = search(tmp_path, trials=4)
    again = search(tmp_path, trials=4)
    assert found.trials["trial"].sort_values().tolist() == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(found.trials, again.trials)
    assert len({tuple(row) for row in found.trials[["train.lr", "model.dropout"]].to_numpy()}) == 4


def test_rows_held_out_are_in_no_trial(tmp_path, monkeypatch):
    seen = []

    def noted(frame, *rest, **more):
        seen.append(set(frame.index))
        return train_on(frame, *rest, **more)

    monkeypatch.setattr(tuning, "train_on", noted)
    search(tmp_path, trials=2)
    assert {len(rows) for rows in seen} == {160}
    assert len(set.union(*seen)) == 160


def test_a_trial_that_cannot_train_says_why(tmp_path, monkeypatch):
    def broken(frame, schema, config, **more):
        if config.train.switches or "watch" not in more:
            return train_on(frame, schema, config, **more)
        raise ConfigError("Training diverged.")

    monkeypatch.setattr(tuning, "train_on", broken)
    found = search(tmp_path, trials=6)
    why = found.trials.set_index("trial").loc[0, "why"]
    assert why == "Training diverged."
    assert found.trials["state"].iloc[-1] == "pruned"


def test_a_trial_that_is_interrupted_is_tried_again(tmp_path, monkeypatch):
    def interrupted(*rest, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "train_on", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, trials=1)
    monkeypatch.undo()
    found = search(tmp_path, trials=1)
    assert found.trials["state"].tolist() == ["complete"]
    assert found.config.train.switches == {}, "the settings given come first, the interruption aside"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"switches": ["emma"]}, "Did you mean 'ema'"),
        ({"switches": ["density_ratio"]}, "needs the setting file"),
        ({"grups": {}}, "Did you mean 'groups'"),
        ({"minutes": 0.0}, "No trial was finished"),
    ],
)
def test_what_cannot_be_searched(tmp_path, change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        aet.tune(signs(100), "y", out=tmp_path, trials=2, config=quick(2), **change)


def test_another_search_in_the_folder(tmp_path):
    search(tmp_path, trials=1)
    with pytest.raises(ConfigError, match="begun with other switches"):
        aet.tune(signs(200), "y", out=tmp_path, config=quick(2, drift=0.0), switches=["ema"])
    with pytest.raises(ConfigError, match="begun with other settings"):
        aet.tune(signs(200), "y", out=tmp_path, config=quick(3), switches=["ema", "sam"])
    assert yaml.safe_load((tmp_path / "best.yaml").read_text())["train"]["epochs"] == 2


def text_rows():
    return sentences(48)


def text_config(backbone, **text):
    return {
        "inputs": {"text": {"backbone": str(backbone), **text}},
        "train": {"epochs": 1, "rehearsals": 0, "lr": 0.01},
    }


def test_a_search_over_texts_goes_on_past_refusals(tmp_path):
    """r_drop works on blocks, and a network that is alone has none; adalora takes more steps than there are."""
    folder = network(tmp_path / "network")
    study = optuna.create_study()
    schema = infer(text_rows(), "y")
    for number, changes in enumerate(({"switches": {"r_drop": {}}}, {"epochs": 1})):
        config = text_config(folder, **({} if number == 0 else {"tuning": {"adalora": {"warm": 0.4, "settle": 0.5}}}))
        config["train"] |= changes
        trial = study.ask()
        with pytest.raises(optuna.TrialPruned):
            tuning.attempt(trial, text_rows(), schema, Config.read(config))
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    whys = [trial.user_attrs["why"] for trial in study.trials]
    assert "works on the trunk's blocks" in whys[0]
    assert "no step left to move ranks in" in whys[1]
    found = aet.tune(
        text_rows(), "y", out=tmp_path / "search", trials=2, config=text_config(folder, tuning="lora"), switches=["ema"]
    )
    assert found.model.inputs["text0"].network["tuning"]["name"] == "lora"
    assert found.model.predict(text_rows())["prediction"].notna().all()


def test_what_refuses_every_trial_is_said(tmp_path):
    config = text_config("./not/here")
    with pytest.raises(ConfigError, match=r"None of 2 trials.*same reason: .*there is no such folder"):
        aet.tune(text_rows(), "y", out=tmp_path, trials=2, config=config, switches=[])
