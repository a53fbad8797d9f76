"""What every tracker promises, and what training promises about them; a new tracker is tested the day it is added."""

import json
import socket
import sqlite3
import sys
import warnings
from typing import ClassVar

import pytest

import aet
from aet.config import Config
from aet.errors import ConfigError, MissingPackage
from aet.run import load
from aet.training import loop
from aet.training.tracker import TRACKERS, Start, Tracker
from aet.training.tracking import REFERENCES, TrackerWarning, Tracking, final_figures, flat

from ..made import quick, signs

SWITCHED = {"ema": {}}


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


def made(name, **settings):
    try:
        return TRACKERS[name](**settings)
    except MissingPackage as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=list(TRACKERS))
def name(request):
    made(request.param)
    return request.param


def scalars(folder):
    """All scalars of TensorBoard's event files: {name: {step: value}}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder)).Reload()
    return {tag: {event.step: event.value for event in read.Scalars(tag)} for tag in read.Tags()["scalars"]}


def test_tensorboard_shows_what_metrics_jsonl_holds(tmp_path):
    made("tensorboard")
    out = tmp_path / "gas"
    model = aet.train(signs(), target="y", config=quick(3), switches=SWITCHED, track="tensorboard", out=out)
    told = scalars(tmp_path / "tensorboard" / "gas")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for name in ("loss", "valid_loss", "valid_metric", "valid_metric_drifted", "lr"):
        assert told[name] == {line["epoch"]: pytest.approx(line[name], rel=1e-5) for line in lines}
    assert told["final/accuracy"] == {3: pytest.approx(model.report["valid"]["accuracy"])}
    assert model.report["tracked"] == [
        {"name": "tensorboard", "where": str(tmp_path / "tensorboard" / "gas"), "failed": None}
    ]
    assert load(out).report["tracked"] == model.report["tracked"]
    assert not (out / REFERENCES).exists()
    assert not (out / "tensorboard").exists(), "logs lie beside the run folder"


def test_an_interrupted_run_goes_on_in_the_same_run_of_its_tracker(tmp_path, monkeypatch):
    """MLflow, whose store is a database that can be read without it."""
    made("mlflow")
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    told = {"target": "y", "config": quick(3), "switches": SWITCHED, "track": ["mlflow"], "out": tmp_path / "gas"}
    tell = TRACKERS["mlflow"].epoch

    def interrupted(self, number, figures, said):
        tell(self, number, figures, said)
        if number == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(TRACKERS["mlflow"], "epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        aet.train(signs(), **told)
    monkeypatch.setattr(TRACKERS["mlflow"], "epoch", tell)
    assert (tmp_path / "gas" / REFERENCES).is_file()
    model = aet.train(signs(), **told)
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        runs = store.execute("SELECT run_uuid, name, status FROM runs").fetchall()
        steps = store.execute("SELECT DISTINCT step FROM metrics WHERE key = 'valid_loss' ORDER BY step").fetchall()
        params = dict(store.execute("SELECT key, value FROM params").fetchall())
        tags = dict(store.execute("SELECT key, value FROM tags").fetchall())
    assert runs == [(model.report["tracked"][0]["where"], "gas", "FINISHED")]
    assert [step for (step,) in steps] == [1, 2, 3]
    assert params["train.epochs"] == "3"
    assert params["train.switches"] == '{"ema": {}}'
    assert tags["acted.ema"] == model.report["switches"][0]["acted"]
    assert not (tmp_path / "gas" / REFERENCES).exists()


def test_it_is_told_settings_epochs_and_the_end(name, tmp_path, monkeypatch):
    """On this machine alone: nothing that this process loads speaks to another."""
    connect = socket.socket.connect

    def refused(self, address):
        assert not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1", "localhost"), address
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refused)
    tracker = made(name)
    where = tracker.begin(Start("gas", tmp_path, {"train.lr": 0.1, "data.target": "y" * 5000}, 1))
    assert where
    tracker.epoch(1, {"loss": 0.5, "valid_loss": float("nan")}, {"sam": "5 times"})
    tracker.epoch(2, {"loss": 0.25}, {"sam": "10 times"})
    tracker.end({"accuracy": 0.75})
    tracker.close(done=True)
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    assert kept, "it writes beside the run folder"


def test_it_is_described_and_checks_its_settings(name):
    kind = TRACKERS[name]
    assert kind.name == name
    assert kind.__doc__
    assert len(sys.modules[kind.__module__].__doc__) > 100, "what it keeps and where stands at the top of the file"
    with pytest.raises(ConfigError, match="no setting 'nonsense'"):
        kind(nonsense="x")


def test_a_package_that_is_missing_is_said_before_any_row_is_read(name, monkeypatch):
    for module in ("tensorboard", "mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackage, match=f"tracker '{name}' needs the package"):
        aet.train(signs(), target="y", config={"train": {"track": name}})


class Frail(Tracker):
    """Fails when it is told to."""

    name = "frail"
    defaults: ClassVar = {"at": "epoch"}

    def _act(self, at):
        if self.settings["at"] == at:
            raise OSError(28, "No space left on device", f"//user:secret@host/{at}")

    def begin(self, start):
        self.told = []
        self._act("begin")
        return "here"

    def epoch(self, number, figures, said):
        self.told.append(number)
        if number == 2:
            self._act("epoch")
        assert number < 3 or self.settings["at"] != "epoch", "told after it had failed"

    def end(self, figures):
        self._act("end")

    def close(self, done):
        self._act("close")


@pytest.mark.parametrize("at", ["begin", "epoch", "end", "close"])
def test_a_tracker_that_fails_does_not_end_the_training(at, tmp_path, monkeypatch):
    made("tensorboard")
    monkeypatch.setitem(TRACKERS._entries, "frail", Frail)
    plain = aet.train(signs(), target="y", config=quick(3))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model = aet.train(
            signs(), target="y", config=quick(3), track={"frail": {"at": at}, "tensorboard": {}}, out=tmp_path / "gas"
        )
    said = [str(w.message) for w in seen if issubclass(w.category, TrackerWarning)]
    assert len(said) == 1
    assert "'frail' failed" in said[0]
    assert "No space left" in said[0]
    assert "secret" not in said[0]
    record, other = model.report["tracked"]
    assert record["name"] == "frail"
    assert record["failed"].startswith("OSError: [Errno 28] No space left")
    assert other["failed"] is None, "the others go on"
    assert len(model.report["history"]) == 3
    assert [r["loss"] for r in model.report["history"]] == [r["loss"] for r in plain.report["history"]]
    assert "failed under way: OSError" in (model_page(tmp_path / "gas"))


def model_page(run):
    from aet.commands.replayed import write_report

    return write_report(run, None, None).read_text()


def test_a_server_that_is_gone_is_one_warning(tmp_path):
    made("mlflow")
    with pytest.warns(TrackerWarning, match="'mlflow' failed") as seen:
        model = aet.train(
            signs(), target="y", config=quick(2), track={"mlflow": {"uri": "http://127.0.0.1:9"}}, out=tmp_path / "gas"
        )
    assert len([w for w in seen if w.category is TrackerWarning]) == 1
    assert model.report["tracked"][0]["where"] is None
    assert "MlflowException" in model.report["tracked"][0]["failed"]


def test_names_are_given_in_three_ways():
    one, several, settled = (
        Config.read({"train": {"track": given}}).train.track
        for given in ("mlflow", ["mlflow", "wandb"], {"mlflow": {"experiment": "gas"}})
    )
    assert (one, several) == ({"mlflow": {}}, {"mlflow": {}, "wandb": {}})
    assert settled == {"mlflow": {"experiment": "gas"}}
    with pytest.raises(ConfigError, match=r"train\.track"):
        Config.read({"train": {"track": 5}})


def test_a_tracker_does_not_decide_what_is_learned():
    plain, tracked = Config(), Config.read({"train": {"track": "mlflow"}})
    assert plain.deciding() == tracked.deciding()
    assert "train.track" not in flat(tracked, 5)


def test_the_final_figures_hold_what_each_part_was_worth():
    report = {"valid": {"accuracy": 0.5}, "rows": 9, "lr": None, "worth": [{"part": "a=b", "difference": 0.1}]}
    assert final_figures(report) == {"accuracy": 0.5, "rows": 9.0, "worth_a-b": 0.1}


def test_only_the_first_of_several_processes_tracks(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(TRACKERS._entries, "frail", Frail)
    tracking = Tracking({"frail": {"at": "begin"}}, None, {})
    tracking.epoch({"epoch": 1, "loss": 0.5})
    assert tracking.end({"history": [{}]}) == []


def test_an_update_is_tracked_where_it_says_so(tmp_path):
    made("tensorboard")
    config = quick(2)
    config["train"] |= {"track": "tensorboard", "keep_rows": 40}
    model = aet.train(signs(), target="y", config=config, out=tmp_path / "gas")
    quiet = model.update(signs(60, 1), out=tmp_path / "may", compare=False)
    assert "tracked" not in quiet.model.report
    asked = {"train": {"track": "tensorboard", "epochs": 2}}
    told = model.update(signs(60, 1), out=tmp_path / "june", compare=False, config=asked)
    assert told.model.report["tracked"][0]["failed"] is None
    assert set(scalars(tmp_path / "tensorboard" / "june")["valid_loss"]) == {1, 2}
    assert not (tmp_path / "tensorboard" / "may").exists()


def test_a_search_refuses_to_be_tracked(tmp_path):
    with pytest.raises(ConfigError, match="A search is not tracked"):
        aet.tune(signs(), target="y", out=tmp_path, config={"train": {"track": "wandb"}})
