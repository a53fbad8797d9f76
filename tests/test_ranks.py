"""Two processes train the model that one trains alone; one of them writes and speaks."""

import json
import os
import subprocess
import sys

import pytest
import torch

import aet
from aet.attention.state import load_tensors
from aet.batch import Batch
from aet.ranks import Ranks, leads

from .made import signs

distributed = pytest.importorskip("torch.distributed")
pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="needs torch.distributed")
SETTINGS = {
    "model": {"dim": 8, "depth": 1, "heads": 2, "dropout": 0.0},
    "train": {"epochs": 3, "batch_size": 33, "accumulate": 2, "drift": 0.0, "rehearsals": 0, "switches": {"sam": {}}},
}


def test_every_row_is_taken_once():
    batch = Batch({"x": torch.arange(7)})
    parts = [Ranks(rank, 3).share(batch).values["x"].tolist() for rank in range(3)]
    assert sorted(row for part in parts for row in part) == list(range(7))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_alone_nothing_changes():
    batch, total = Batch({"x": torch.arange(7)}), torch.ones(())
    assert Ranks().share(batch) is batch
    assert Ranks().summed([], total) is total
    assert leads()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A model trained by two processes over the command line, and what they said."""
    folder = tmp_path_factory.mktemp("together")
    signs().to_csv(folder / "rows.csv", index=False)
    (folder / "settings.yaml").write_text(json.dumps(SETTINGS))
    arguments = ["train", "rows.csv", "--target", "y", "--config", "settings.yaml", "--out", "run", "--json"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "aet"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, done.stdout


def test_the_model_is_the_one_of_a_single_process(together):
    folder, _ = together
    alone = aet.train(folder / "rows.csv", target="y", config=SETTINGS)
    both = load_tensors(folder / "run" / "model.safetensors")
    for name, tensor in alone.named_parameters():
        torch.testing.assert_close(both[name], tensor, atol=2e-4, rtol=1e-3)
    assert aet.load(folder / "run").predict(folder / "rows.csv")["prediction"].notna().all()


def test_one_of_them_speaks(together):
    lines = [line for line in together[1].splitlines() if line.startswith("{")]
    assert len(lines) == 1
    assert json.loads(lines[0])["run"] == "run"
