"""A version in MLflow's registry: its run folder with its card as artefact, its figures, and a version that names them.

MLflow is a copy for those who look there; who serves is read off `versions.jsonl` alone.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aet.errors import ConfigError
from aet.optional import optional
from aet.serving.cards import CARD
from aet.serving.versions import Versions, files_of_run
from aet.training.tracker import EXTRA
from aet.training.trackers.mlflow import experiment_of, local_store, quiet_defaults
from aet.training.tracking import beside, shortened

EXPERIMENT = "aet versions"
TAG = "aet.version"


@dataclass(frozen=True)
class Exported:
    """Where a version is in MLflow."""

    model: str
    version: str
    run: str
    uri: str
    """Of the registry, without what it may hold of a password."""
    new: bool
    """False where it was there already."""


def export(versions: Versions, number: int, uri: str = "") -> Exported:
    """Register a version in MLflow, once: a second call gives what the first one made.

    Args:
        versions: the registry it is in; MLflow's model has the name of its folder.
        number: the version.
        uri: tracking URI; else MLFLOW_TRACKING_URI, else `mlflow.db` beside the run folder.

    Raises ConfigError for a version that is not there, and where MLflow refuses or cannot be reached; MissingPackage.
    """
    version, (place, name) = versions.version(number), beside(versions.folder.resolve())
    version.load()  # a damaged version is not handed on
    quiet_defaults()
    mlflow = optional("mlflow", "Registering in MLflow", EXTRA, "copy the run folder")
    uri = uri or local_store(place)
    try:
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        sums = {TAG: str(number), "aet.made": version.made.isoformat()}
        if (found := known(client, name, sums)) is not None:
            return Exported(name, str(found.version), str(found.run_id), shortened(uri), new=False)
        run = client.create_run(experiment_of(client, EXPERIMENT, place, uri), run_name=f"{name} {number}", tags=sums)
        for metric, value in version.metrics.items():
            client.log_metric(run.info.run_id, metric, float(value))
        with tempfile.TemporaryDirectory() as folder:
            for file in files_of_run(version.path):
                shutil.copy2(file, folder)
            (Path(folder) / CARD).write_text(versions.card(number), encoding="utf-8")
            client.log_artifacts(run.info.run_id, folder, "run")
        client.set_terminated(run.info.run_id)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        source = f"{run.info.artifact_uri}/run"
        made = client.create_model_version(
            name, source, run.info.run_id, tags=sums, description=versions.card(number)[:5000]
        )
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise ConfigError(
            f"Version {number} was not registered in MLflow at {shortened(uri)}: {shortened(str(error))}. Check the "
            "address (MLFLOW_TRACKING_URI) and what the server allows, and try again."
        ) from error
    return Exported(name, str(made.version), str(made.run_id), shortened(uri), new=True)


def known(client: Any, name: str, tags: dict[str, str]) -> Any | None:
    """The model version with these tags, if there is one."""
    for one in client.search_model_versions(f"name = '{name}'"):
        if all(one.tags.get(tag) == value for tag, value in tags.items()):
            return one
    return None
