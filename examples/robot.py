"""A robot's sonars choose its action; four of them wear out on the way; somebody corrects 32 moments.

    python examples/robot.py [DRIVE] [--action COLUMN] [--worn N] [--labels N]

DRIVE is a table with one row a moment, in the order of time: distances by sensor, and the action that was right.
Without one the rows are made here: a robot with 24 sonars that follows the walls of a room.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import aet
from aet.attention import applied
from aet.tables import read_table

SONARS, WIDTH, HEIGHT = 24, 8.0, 5.0


def driven(moments: int, seed: int) -> pd.DataFrame:
    """A drive along the walls: 24 distances around the robot, and what the driver did."""
    rng = np.random.default_rng(seed)
    x, y, heading = WIDTH / 2, 1.0, 0.0
    angles = 2 * np.pi * np.arange(SONARS) / SONARS
    rows = []
    for _ in range(moments):
        across, up = np.cos(heading + angles), np.sin(heading + angles)
        to_side = np.where(across > 0, WIDTH - x, x) / np.maximum(np.abs(across), 1e-6)
        to_end = np.where(up > 0, HEIGHT - y, y) / np.maximum(np.abs(up), 1e-6)
        distance = np.minimum(to_side, to_end)
        front, right = distance[[22, 23, 0, 1, 2]].min(), distance[[17, 18, 19]].min()
        action = "sharp left" if front < 0.9 else "left" if right < 0.8 else "right" if right > 1.2 else "ahead"
        rows.append([*(distance * rng.normal(1, 0.02, SONARS)).clip(0, 5), action])
        heading += {"sharp left": 0.4, "left": 0.15, "right": -0.15, "ahead": 0.0}[action] + rng.normal(0, 0.1)
        step = 0.02 if action == "sharp left" else 0.1
        x = float(np.clip(x + step * np.cos(heading), 0.2, WIDTH - 0.2))
        y = float(np.clip(y + step * np.sin(heading), 0.2, HEIGHT - 0.2))
    return pd.DataFrame(rows, columns=[*(f"sonar{i}" for i in range(SONARS)), "action"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drive", nargs="?", type=Path)
    parser.add_argument("--action", default="action", help="the column of actions")
    parser.add_argument("--worn", type=int, default=4, help="sensors that wear out")
    parser.add_argument("--labels", type=int, default=32, help="moments that somebody corrects")
    options = parser.parse_args()
    rows = read_table(options.drive) if options.drive else driven(2400, seed=0)
    action = options.action

    # The first half of the drive teaches, without a look at the second.
    half = len(rows) // 2
    settings = {"train": {"epochs": 20, "rehearsals": 0, "drift": 0.3}}
    model = aet.train(rows[:half], target=action, config=settings, progress=True)

    # On the second half some sensors say half of what they should.
    later = rows[half:].reset_index(drop=True)
    worn = later.copy()
    broken = np.random.default_rng(1).choice(list(rows.columns.drop(action)), options.worn, replace=False)
    worn[broken] *= 0.5
    stream, middle = model.stream(), len(worn) // 2
    stream.predict(worn[:middle].drop(columns=action))
    corrected = 0
    while corrected < options.labels:  # a few at a time: later ones judge what earlier ones taught
        worth = stream.ask(min(8, options.labels - corrected))
        stream.feedback(worth, [worn[action][moment] for moment in worth])
        corrected += len(worth)

    def right(frame: pd.DataFrame) -> float:
        return float((model.predict(frame.drop(columns=action))["prediction"] == frame[action].to_numpy()).mean())

    print(f"\nthe last quarter of the drive, {len(later) - middle} moments")
    print(f"  all sensors well:            {right(later[middle:]):.1%} as the driver did")
    print(f"  {options.worn} worn out, as trained:      {right(worn[middle:]):.1%}  ({', '.join(broken)})")
    with applied(stream.state):
        print(f"  {corrected} moments corrected:       {right(worn[middle:]):.1%}")
    print("  served:", "what was learned" if stream.serving else f"as trained; {stream.guard.reason()}")
    looked = model.statistics.attention
    most = sorted(zip(looked, model.token_names(), strict=True), reverse=True)[:4]
    print("  it looks most at", ", ".join(f"{name} ({share:.0%})" for share, name in most))
