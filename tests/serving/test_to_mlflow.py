"""A version in MLflow's registry: what can be fetched there is the run, and it can be loaded."""

import pytest

import aet
from aet.errors import ConfigError
from aet.serving.versions import Versions

from ..made import quick, signs

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_version_is_registered_once_with_its_run_and_its_card(tmp_path):
    from aet.serving.to_mlflow import export

    run = tmp_path / "gas"
    model = aet.train(signs(), target="y", config=quick(2), out=run)
    versions = Versions(run)
    versions.add(run, note="the same once more")
    first, second, again = export(versions, 1), export(versions, 2), export(versions, 2)
    assert (first.model, first.version, second.version) == ("gas", "1", "2")
    assert second.new
    assert again == type(again)(**{**vars(second), "new": False})
    client = mlflow.MlflowClient(tracking_uri=second.uri, registry_uri=second.uri)
    kept = client.get_model_version("gas", "2")
    assert kept.tags["aet.version"] == "2"
    assert "the same once more" in kept.description
    fetched = client.download_artifacts(second.run, "run", str(tmp_path))
    assert aet.load(fetched).predict(signs(5)).equals(model.predict(signs(5)))
    assert client.get_run(second.run).data.metrics["accuracy"] == pytest.approx(model.report["valid"]["accuracy"])
    assert versions.roles.serving == 1


def test_a_server_that_is_gone_is_a_sentence(tmp_path):
    from aet.serving.to_mlflow import export

    aet.train(signs(), target="y", config=quick(2), out=tmp_path / "gas")
    with pytest.raises(ConfigError, match=r"not registered in MLflow at http://\.\.\.@127.0.0.1:9"):
        export(Versions(tmp_path / "gas"), 1, uri="http://me:secret@127.0.0.1:9")
