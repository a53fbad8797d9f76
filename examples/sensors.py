"""Sensors that age: train on the first months, serve the later ones, hand in a few labels late.

    python examples/sensors.py

The rows are made here so that the script runs anywhere: three machines states seen by eight sensors, whose gain and
offset move after training. Put your own table in their place.
"""

import numpy as np
import pandas as pd

import aet


def readings(rows: int, gain: float, offset: float, seed: int) -> pd.DataFrame:
    """Eight sensors' view of a machine that idles, runs or overheats."""
    rng = np.random.default_rng(seed)
    state = rng.integers(0, 3, rows)
    pattern = np.random.default_rng(7).normal(size=(3, 8))
    values = gain * (pattern[state] + 0.4 * rng.normal(size=(rows, 8))) + offset
    frame = pd.DataFrame(values, columns=[f"sensor_{i}" for i in range(8)])
    return frame.assign(machine=np.array(["idle", "running", "hot"])[state])


if __name__ == "__main__":
    model = aet.train(readings(600, 1.0, 0.0, seed=0), target="machine", config={"train": {"epochs": 20}})
    stream = model.stream()  # the source answers until a change has earned it

    for month in range(6):
        rows = readings(300, 1.0 - 0.12 * month, 0.25 * month, seed=1 + month)
        answers = stream.predict(rows.drop(columns="machine"))
        right = (answers["prediction"] == rows["machine"]).mean()
        print(f"month {month}: {right:.1%} right, answered by the {answers['served_by'].iloc[0]}")

        worth = stream.ask(32, newest=len(rows))  # some rows worth a look ...
        truth = rows["machine"].set_axis(answers["id"])
        stream.feedback(worth, truth[worth])  # ... and what somebody found

    print(stream.report("runs/sensors.html"))
