"""Rules for classes on several yes-or-no answers: each is a row of two classes."""

import pytest
import torch

import aet
from aet.adaptation import METHODS
from aet.errors import ConfigError
from tests.adaptation.models import three
from tests.made import quick


@pytest.fixture(scope="module")
def answers():
    frame = three(300)
    frame = frame.assign(u=(frame["a"] > frame["b"]).astype(int), v=(frame["c"] > 0.5).astype(int)).drop(columns="y")
    return aet.train(frame, target=["u", "v"], config=quick(epochs=8, dim=16, dropout=0.0))


@pytest.mark.parametrize("name", ["sar", "deyo", "rdumb", "memo", "poem"])
def test_learns(answers, name):
    method = METHODS[name](answers)
    for seed in range(4):
        batch = answers.encode(three(40, seed, shift=1.0).drop(columns="y"))
        logits = method(batch)
        assert logits.shape == (40, 2)
    assert method.state.size() > 0 or method.corrects
    assert logits.isfinite().all()
    assert not torch.equal(method.answer(batch), answers.logits(batch))


@pytest.mark.parametrize("name", ["roid", "shot", "come", "come_eta", "come_sar"])
def test_is_refused(answers, name):
    with pytest.raises(ConfigError, match=rf"'{name}' is defined for outputs 'label'"):
        METHODS[name](answers)
