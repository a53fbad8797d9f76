"""One small model for the whole room, and a served app around it."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

import aet
from aet.serving.app import create_app, protected
from aet.serving.models import Served
from aet.serving.service import Service
from aet.serving.store import Store
from tests.adaptation.models import inputs, three
from tests.made import quick


@pytest.fixture(scope="session")
def model():
    return aet.train(three(), target="y", config=quick(epochs=8, dim=16, dropout=0.0))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store.db") as made:
        yield made


@pytest.fixture
def make_service(model, store):
    made = []

    def make(**settings):
        made.append(Service({"gas": Served("gas", "1", model)}, store, save_every=3600, **settings))
        return made[-1]

    yield make
    for service in made:
        service.learner.stop()


@pytest.fixture
def service(make_service):
    return make_service()


@pytest.fixture
def client(service):
    with TestClient(protected(create_app(service), None), raise_server_exceptions=True) as made:
        yield made


def rows_of(count=3, seed=0, **drift):
    """Rows as JSON objects, and their true classes."""
    frame = three(count, seed, **drift)
    return inputs(frame).to_dict("records"), frame["y"].tolist()
