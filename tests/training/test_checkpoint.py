"""Checkpoints: whole or not at all, and only for the run they came from."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from aet.batch import Batch
from aet.errors import RunError
from aet.training import checkpoint
from aet.training.checkpoint import Progress, fingerprint, restore, save


def stepped():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimiser.step()
    return model, optimiser


def test_everything_comes_back_to_the_bit(tmp_path):
    model, optimiser = stepped()
    progress = Progress(3, 0.1 + 0.2, 1, [{"epoch": 1, "loss": 1 / 3}], {"weight": torch.randn(2, 3)})
    save(tmp_path / "c.safetensors", model, optimiser, progress, "mark")
    torch.manual_seed(1)
    other = nn.Linear(3, 2)
    again = torch.optim.AdamW(other.parameters(), lr=0.1)
    found = restore(tmp_path / "c.safetensors", other, again, "mark")
    assert (found.epoch, found.best, found.waited, found.history) == (3, 0.1 + 0.2, 1, progress.history)
    assert torch.equal(found.weights["weight"], progress.weights["weight"])
    for _ in range(2):  # the optimiser's memory decides where the next steps go
        for net, adam in ((model, optimiser), (other, again)):
            adam.zero_grad()
            net(torch.ones(1, 3)).sum().backward()
            adam.step()
    assert torch.equal(model.weight, other.weight)


def test_nothing_and_another_run_are_not_taken_up(tmp_path):
    model, optimiser = stepped()
    assert restore(tmp_path / "c.safetensors", model, optimiser, "mark") is None
    save(tmp_path / "c.safetensors", model, optimiser, Progress(), "mark")
    before = model.weight.clone()
    assert restore(tmp_path / "c.safetensors", model, optimiser, "another") is None
    save_file({"x": torch.zeros(1)}, tmp_path / "c.safetensors")
    assert restore(tmp_path / "c.safetensors", model, optimiser, "mark") is None
    assert torch.equal(model.weight, before)


def test_a_save_that_fails_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    model, optimiser = stepped()
    path = tmp_path / "c.safetensors"
    save(path, model, optimiser, Progress(1), "mark")
    whole = path.read_bytes()

    def half(tensors, name, metadata):
        Path(name).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", half)
    with pytest.raises(OSError, match="disk full"):
        save(path, model, optimiser, Progress(2), "mark")
    assert path.read_bytes() == whole
    checkpoint.remove(path)
    assert list(tmp_path.iterdir()) == []
    checkpoint.remove(path)  # nothing to remove is no error


@pytest.mark.parametrize("length", [0, 10, 400])
def test_a_damaged_file_is_a_run_error(tmp_path, length):
    model, optimiser = stepped()
    path = tmp_path / "c.safetensors"
    save(path, model, optimiser, Progress(), "mark")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(RunError, match="Remove it to start the run anew"):
        restore(path, model, optimiser, "mark")


def test_the_fingerprint_tells_rows_settings_and_shapes_apart():
    rows = Batch({"x": torch.arange(6.0).view(2, 3)}, torch.tensor([0, 1]))
    marks = {
        fingerprint(nn.Linear(3, 2), {"lr": 1}, rows),
        fingerprint(nn.Linear(3, 4), {"lr": 1}, rows),
        fingerprint(nn.Linear(3, 2), {"lr": 2}, rows),
        fingerprint(nn.Linear(3, 2), {"lr": 1}, rows, rows),
        fingerprint(nn.Linear(3, 2), {"lr": 1}, Batch({"x": rows.values["x"]})),
        fingerprint(nn.Linear(3, 2), {"lr": 1}, Batch({"x": rows.values["x"].view(3, 2)}, rows.target)),
        fingerprint(nn.Linear(3, 2), {"lr": 1}, Batch({"x": rows.values["x"]}, rows.target, torch.ones(2))),
    }
    assert len(marks) == 7
    torch.manual_seed(1)
    assert fingerprint(nn.Linear(3, 2), {"lr": 1}, rows) in marks
