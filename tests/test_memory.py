"""Predicting from a file needs little memory, however long the file is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import aet

ROWS, COLUMNS = 100_000, 128
LIMIT = 1000  # MB above the loaded model
STATUS = Path("/proc/self/status")

# VmHWM, not getrusage: ru_maxrss of a child starts at its parent's size, so that a large parent would hide the peak.
PREDICT = """
import json, sys
from pathlib import Path
import torch, aet

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024  # MB

torch.set_num_threads(1)
way, run, source = sys.argv[1:]
model = aet.load(run)
loaded, rows, peaks = peak(), 0, []
for piece in model.predict_iter(source) if way == "predict_iter" else [model.predict(source)]:
    rows += int(piece["prediction"].notna().sum())
    peaks.append(peak() - loaded)
print(json.dumps({"rows": rows, "peaks": peaks, "last": piece.iloc[-1][["id", "prediction"]].tolist()}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run and two files with the same 100,000 rows of 128 columns."""
    root = tmp_path_factory.mktemp("memory")
    rng = np.random.default_rng(0)
    names = [f"c{place}" for place in range(COLUMNS)]
    frame = pd.DataFrame(rng.normal(size=(200, COLUMNS)), columns=names)
    frame["sign"] = np.where(frame["c0"] > 0, "plus", "minus")
    config = {"model": {"dim": 16, "depth": 1, "heads": 1}, "train": {"epochs": 1}}
    aet.train(frame, target="sign", config=config, out=root / "run")
    cells = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32).round(3)
    table = pa.table({name: cells[:, place] for place, name in enumerate(names)})
    pa.csv.write_csv(table, root / "rows.csv")
    pa.parquet.write_table(table, root / "rows.parquet")
    return root


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="reads the peak from /proc")
@pytest.mark.parametrize(("way", "name"), [("predict_iter", "rows.csv"), ("predict", "rows.parquet")])
def test_predicting_a_long_file_takes_less_than_a_gigabyte(folder, way, name):
    command = [sys.executable, "-c", PREDICT, way, str(folder / "run"), str(folder / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found = json.loads(done.stdout)
    print(f"{way} of {name}: {found['peaks'][-1]:.0f} MB above the loaded model")
    assert found["rows"] == ROWS
    assert found["last"][0] == ROWS - 1
    assert 10 < found["peaks"][-1] < LIMIT
    # The pieces after the first few add nothing: what is read is let go.
    assert found["peaks"][-1] - found["peaks"][len(found["peaks"]) // 3] < 100
