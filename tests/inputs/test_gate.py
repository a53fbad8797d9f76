"""Attention over the columns: the identity at the start, zeros where nothing is needed."""

import numpy as np
import pandas as pd
import pytest
import torch

import aet
from aet.errors import ConfigError
from aet.inputs.gate import ColumnGate


def test_it_starts_as_the_identity_to_the_bit():
    tokens = torch.randn(4, 5, 3)
    gate = ColumnGate([0, 1, 1, 2, 3], 3, 0.1)
    assert torch.equal(gate(tokens), tokens)


def test_weights_by_hand():
    gate = ColumnGate([0, 1, 2], 2, cost=0.1, rate=10)
    gate.change.data = torch.tensor([0.05, -0.04, -0.3])
    torch.testing.assert_close(gate.weights(), torch.tensor([1.0, 0.6, 0.0]))
    assert gate.penalty().item() == pytest.approx(0.16)


def test_a_closed_column_shows_its_constant_whatever_its_cell_holds():
    gate = ColumnGate([0, 1], 3, cost=0.1, rate=10)
    gate.change.data = torch.tensor([-0.05, -2.0])
    tokens = torch.randn(6, 2, 3)
    torch.testing.assert_close(gate(tokens)[:, 1], gate.constant[1].expand(6, 3))
    torch.testing.assert_close(gate(tokens)[:, 0], (tokens[:, 0] + gate.constant[0]) / 2)


def test_tokens_of_one_input_share_a_weight():
    gate = ColumnGate([0, 0, 1], 2, cost=0.1, rate=10)
    gate.constant.data.zero_()
    gate.change.data = torch.tensor([-0.02, -0.07])
    torch.testing.assert_close(gate(torch.ones(1, 3, 2))[0, :, 0], torch.tensor([0.8, 0.8, 0.3]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 10))
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(10)])
    frame["y"] = np.where(x[:, 0] + x[:, 1] > 0, "up", "down")
    config = {
        "columns": {"gate": 0.03},
        "model": {"dim": 16, "depth": 1, "heads": 2},
        "train": {"epochs": 25, "lr": 5e-3, "drift": 0},
    }
    folder = tmp_path_factory.mktemp("gate") / "run"
    return aet.train(frame, "y", out=folder, config=config), frame, folder


def test_columns_that_tell_nothing_are_closed_and_the_report_says_so(trained):
    model, _, _ = trained
    weights = model.report["columns"]["weights"]
    assert weights == model.column_weights()
    assert min(weights["x0"], weights["x1"]) > 0.2
    assert sum(weight == 0 for weight in weights.values()) >= 6


def test_it_is_saved_with_the_model(trained):
    model, frame, folder = trained
    again = aet.load(folder)
    assert again.column_weights() == model.column_weights()
    assert again.predict(frame)["prediction"].tolist() == model.predict(frame)["prediction"].tolist()


def test_a_model_without_one_says_how_to_get_it():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60)}).assign(y=lambda f: np.where(f["x"] > 0, "up", "down"))
    model = aet.train(frame, "y", config={"train": {"epochs": 1}, "model": {"dim": 8, "depth": 1}})
    assert "weights" not in model.report["columns"]
    with pytest.raises(ConfigError, match=r"has no column gate.*columns.gate above 0"):
        model.column_weights()
