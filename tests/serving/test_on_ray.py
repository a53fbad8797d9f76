"""What Ray mounts, without a cluster: the app that a replica builds, and what is refused before anything is deployed.

Ray's start-up takes longer than this suite may: `benchmarks/on_ray.py` runs all three doors for real.
"""

from __future__ import annotations

import sys

import pytest
from starlette.testclient import TestClient

import aet
from aet.errors import ConfigError, MissingPackage
from aet.folder import OnRay
from aet.serving.keys import Keys
from aet.serving.on_ray import builder, check, deployment, serve_on_ray
from aet.serving.store import Store
from aet.training.on_ray import train_on_ray
from tests.made import signs
from tests.serving.conftest import rows_of


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    return model.save(tmp_path_factory.mktemp("made") / "gas")


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "store.db")


def test_a_replica_builds_the_same_app(run, url):
    build = builder([str(run)], url, {"guard": "never"}, "127.0.0.1")
    rows, truth = rows_of(3)
    with TestClient(build(), base_url="http://127.0.0.1") as client:
        answers = client.post("/predict", json={"stream": "site", "rows": rows}).json()
        assert answers["model"] == "gas"
        labels = [{"id": row["id"], "label": true} for row, true in zip(answers["answers"], truth, strict=True)]
        client.post("/feedback", json={"stream": "site", "labels": labels, "wait": True})
        assert client.get("/streams/site").json()["guard"]["name"] == "never"
        assert client.get("/v2/health/ready").status_code == 200
        other = client.get("/streams", headers={"Host": "elsewhere.example"})
        assert other.status_code == 421, "without keys, this machine's own names alone"
    with TestClient(build(), base_url="http://127.0.0.1") as client:
        again = client.post("/predict", json={"stream": "site", "rows": rows}).json()
        assert [row["id"] for row in again["answers"]] == [3, 4, 5]
        assert client.get("/streams/site").json()["labels"] == 3


def test_keys_count_from_the_start(run, url):
    with Store(url) as store:
        secret = Keys(store.engine).add("predict", "acme").secret
    with TestClient(builder([str(run)], url, {}, "0.0.0.0")()) as client:
        assert client.get("/streams").status_code == 401
        assert client.get("/streams", headers={"Authorization": f"Bearer {secret}"}).json() == []


def test_what_cannot_be_is_said_before_anything_is_deployed(url):
    with pytest.raises(ConfigError, match=r"several replicas would fork its streams: expected a PostgreSQL URL"):
        check(url, most=2, host="127.0.0.1")
    with pytest.raises(ConfigError, match="the store holds no key"):
        check(url, most=1, host="0.0.0.0")
    check(url, most=1, host="127.0.0.1")


def test_ray_gets_the_settings(run, url):
    pytest.importorskip("ray.serve", reason="needs ray[serve]")
    app = deployment([run], url, most=1, target=8, cpus=0.5)
    made = app._bound_deployment._deployment_config.autoscaling_config
    assert (made.min_replicas, made.max_replicas, made.target_ongoing_requests) == (1, 1, 8)
    for least, most in ((2, 1), (0, 1)):
        with pytest.raises(ConfigError, match="counted from least to most"):
            deployment([run], url, least=least, most=most)


def test_without_ray_it_says_what_to_do_instead(run, url, tmp_path, monkeypatch):
    for module in ("ray", "ray.serve", "ray.data", "ray.train", "ray.train.torch"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackage, match=r"\[serve,scale\].* start `aet serve` on each machine"):
        serve_on_ray([run], url, most=1)
    with pytest.raises(MissingPackage, match="start it with `torchrun`"):
        train_on_ray(tmp_path / "rows.csv", tmp_path / "run", target="y")
    (tmp_path / "rows").mkdir()
    signs(4).to_parquet(tmp_path / "rows" / "a.parquet")
    with pytest.raises(MissingPackage, match="files are then answered in turn"):
        aet.predict_folder(run, tmp_path / "rows", tmp_path / "answers", ray=True)


def test_a_worker_of_ray_data_answers_as_the_loop_does(run, tmp_path):
    (tmp_path / "rows").mkdir()
    frame = aet.load(run).predict(rows_of(5)[0])
    import pandas as pd

    pd.DataFrame(rows_of(5)[0]).to_parquet(tmp_path / "rows" / "a.parquet")
    worker = OnRay(str(run), str(tmp_path / "rows"), str(tmp_path / "answers"), False)
    assert worker({"name": "a.parquet"}) == {
        "name": "a.parquet",
        "rows": 5,
        "left_out": 0,
        "skipped": False,
        "failed": "",
    }
    assert pd.read_parquet(tmp_path / "answers" / "a.parquet")["prediction"].tolist() == frame["prediction"].tolist()
    assert worker({"name": "none.parquet"})["failed"]
