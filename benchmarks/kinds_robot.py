"""A robot that follows walls by 24 sonars: in the order of time, and with four sonars worn out in service.

    AET_DATA=... python benchmarks/kinds_robot.py [--quick] [--seeds N] [--json FILE]

order   the first half of the drive teaches, the second is judged; gradient boosting on the same rows beside it
worn    on the second half four sonars, drawn by the seed, say half of what they should: 32 labels are asked for among
        its first rows; judged on its last: as trained, as served and as proposed, full fine-tuning on the same labels

`recovered` is the share of the accuracy lost to wear that came back, in percent. Data: `wall_following_robot` in
AET_DATA. Lab page: docs/lab/robot.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import Done, Record, arguments, folder, in_rounds, over_seeds, partial, write
from gas import tuned
from sklearn.ensemble import HistGradientBoostingClassifier

import aet
from aet.attention import applied

SETTINGS: dict[str, Any] = {
    "inputs": {"number": {"bins": 64}},
    "train": {"epochs": 120, "rehearsals": 0, "drift": 0.2, "lr": 0.002},
}
LABELS, ROUNDS, WORN, TARGET = 32, 4, 4, "OUTPUT"


def drive() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first half of the drive, and the second."""
    rows = pd.read_csv(folder("wall_following_robot") / "sensor_readings_24.data.gz")
    half = len(rows) // 2
    return rows[:half].reset_index(drop=True), rows[half:].reset_index(drop=True)


def accuracy(model: aet.Model, rows: pd.DataFrame) -> float:
    """In percent."""
    return 100 * float((model.predict(rows.drop(columns=TARGET))["prediction"] == rows[TARGET].to_numpy()).mean())


def measured(seed: int, quick: bool) -> dict[str, float]:
    """All figures of one seed."""
    first, later = drive()
    settings = {**SETTINGS, "train": {**SETTINGS["train"], **({"epochs": 10} if quick else {})}}
    trees = HistGradientBoostingClassifier(random_state=seed).fit(first.drop(columns=TARGET), first[TARGET])
    model = aet.train(first, TARGET, seed=seed, config=settings)
    found = {
        "aet": accuracy(model, later),
        "gradient boosting": 100 * float(trees.score(later.drop(columns=TARGET), later[TARGET])),
    }

    rng = np.random.default_rng(seed)
    worn, middle = later.copy(), len(later) // 2
    worn[rng.choice(list(later.columns.drop(TARGET)), WORN, replace=False)] *= 0.5
    rest = worn[middle:].reset_index(drop=True)
    stream = model.stream()
    stream.predict(worn[:middle].drop(columns=TARGET))
    worth = in_rounds(stream, worn[TARGET].tolist(), LABELS, ROUNDS)
    found["well"] = accuracy(model, later[middle:].reset_index(drop=True))
    found["worn"] = accuracy(model, rest)
    with applied(stream.state):
        found["worn, proposal"] = accuracy(model, rest)
    found["worn, served"] = found["worn, proposal"] if stream.serving else found["worn"]
    lost = max(found["well"] - found["worn"], 1e-9)
    found["worn, trees as trained"] = 100 * float(trees.score(rest.drop(columns=TARGET), rest[TARGET]))
    labelled = model.encode(model.check(worn.iloc[worth], need_target=True).frame, target=True)
    whole = tuned(model, labelled, lambda m: m.parameters())
    found["worn, fine-tuned on the same labels"] = accuracy(whole, rest)
    for name in ("proposal", "served", "fine-tuned on the same labels"):
        found[f"recovered, {name}"] = 100 * (found[f"worn, {name}"] - found["worn"]) / lost
    return found


def run(quick: bool, seeds: int, path: Path | None = None) -> list[Record]:
    """Records of all figures; finished seeds are kept beside `path`."""
    done = Done(partial(path))
    runs = [done.get(f"robot {seed} {quick} {SETTINGS}", lambda s=seed: measured(s, quick)) for seed in range(seeds)]  # type: ignore[misc]
    records = []
    for name, value, spread in over_seeds(runs):
        metric = "recovered" if name.startswith("recovered") else "accuracy"
        records.append(Record("kinds", "robot", name, metric, value, None, spread, len(runs)))
    return records


def main() -> None:
    """Print every figure."""
    chosen = arguments(__doc__)
    records = run(chosen.quick, 1 if chosen.quick else chosen.seeds, chosen.json)
    for record in records:
        print(f"{record.method:44} {record.value:6.1f} ± {record.spread or 0:.1f}")
    write(records, chosen.json)


if __name__ == "__main__":
    main()
