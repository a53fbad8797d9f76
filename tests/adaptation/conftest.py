"""One model of each sort for the whole room: trained once, and at the end still the same to the bit."""

from __future__ import annotations

import pytest
import torch

from tests.adaptation.models import make_forecast, make_image, make_label, make_regression, make_special


def guarded(model):
    before = {name: t.clone() for name, t in model.state_dict().items()}
    yield model
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(t, after[name]) or t.isnan().any() for name, t in before.items())
    assert all(p.grad is None for p in model.parameters())
    assert not model.training


@pytest.fixture(scope="session")
def model():
    yield from guarded(make_label())


@pytest.fixture(scope="session")
def with_ids():
    yield from guarded(make_label(id="key"))


@pytest.fixture(scope="session")
def regression():
    yield from guarded(make_regression())


@pytest.fixture(scope="session")
def images():
    yield from guarded(make_image())


@pytest.fixture(scope="session")
def forecast():
    yield from guarded(make_forecast())


def special(method, fixture):
    """A session fixture: the model of that sort which a method is defined for."""

    @pytest.fixture(scope="session", name=f"{method}_{fixture}")
    def made():
        yield from guarded(make_special(method, fixture))

    return made


for _method in ("dynamic", "bn_adapt"):
    for _fixture in ("model", "regression", "images"):
        globals()[f"{_method}_{_fixture}"] = special(_method, _fixture)
