"""MLflow: runs in `mlflow.db`, an SQLite file beside the run folder, unless a tracking server is named. Look with

    mlflow ui --backend-store-uri sqlite:///runs/mlflow.db

A server is named by the setting `uri` or by MLFLOW_TRACKING_URI; its password stays in MLflow's own environment
variables (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN), since settings are written to
the run folder. A server that does not answer is asked twice, 20 seconds each, and MLflow's own usage reports are off,
but for what MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT and MLFLOW_DISABLE_TELEMETRY say.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from aet.training.tracker import TRACKERS, Start, Tracker

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
LONGEST = 500
"""Characters of a setting's value that every MLflow server takes."""


def quiet_defaults() -> None:
    """No usage reports, no minutes of waiting: set where the user has not."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def local_store(folder: Path) -> str:
    """The tracking URI: MLFLOW_TRACKING_URI, or a file in `folder`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve() / 'mlflow.db'}"


def experiment_of(client: Any, name: str, folder: Path, uri: str) -> str:
    """The id of an experiment, made if there is none; a local one keeps its artefacts in `folder`."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = (folder.resolve() / "mlflow" / name).as_uri() if uri.startswith("sqlite:") else None
    return str(client.create_experiment(name, artifact_location=place))


@TRACKERS.register("mlflow")
class MLflow(Tracker):
    """A run in MLflow: beside the run folder, or on a server."""

    name = "mlflow"
    defaults: ClassVar[dict[str, Any]] = {"uri": "", "experiment": "aet"}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        quiet_defaults()
        self.library = self.package("mlflow")
        self.failures = (*self.failures, self.library.exceptions.MlflowException)

    def begin(self, start: Start) -> str:
        """A run, or the one that was interrupted."""
        uri = self.settings["uri"] or local_store(start.folder)
        start.folder.mkdir(parents=True, exist_ok=True)
        self.client = self.library.MlflowClient(tracking_uri=uri)
        if start.earlier is not None:
            self.run = start.earlier
            self.client.update_run(self.run, status="RUNNING")
            return self.run
        experiment = experiment_of(self.client, self.settings["experiment"], start.folder, uri)
        self.run = str(self.client.create_run(experiment, run_name=start.name).info.run_id)
        param = self.library.entities.Param
        params = [param(name, str(value)[:LONGEST]) for name, value in start.settings.items()]
        self.client.log_batch(self.run, params=params)
        return self.run

    def epoch(self, number: int, figures: Mapping[str, float], said: Mapping[str, str]) -> None:
        """Metrics in one call; what the switches did are tags, which the next epoch replaces."""
        tag = self.library.entities.RunTag
        tags = [tag(f"acted.{name}", words) for name, words in said.items()]
        self.client.log_batch(self.run, metrics=self._metrics(figures, number), tags=tags)

    def end(self, figures: Mapping[str, float]) -> None:
        """Metrics under `final/`."""
        self.client.log_batch(self.run, metrics=self._metrics({f"final/{n}": v for n, v in figures.items()}, 0))

    def close(self, done: bool) -> None:
        """Its state: finished, or interrupted."""
        self.client.set_terminated(self.run, "FINISHED" if done else "KILLED")

    def _metrics(self, figures: Mapping[str, float], step: int) -> list[Any]:
        metric, now = self.library.entities.Metric, int(time.time() * 1000)
        return [metric(name, value, now, step) for name, value in figures.items()]
