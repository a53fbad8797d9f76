"""The peers' settings for the shift suite's second round: chosen on a shift that the suite does not have.

    AET_DATA=... python benchmarks/shift_best.py [--quick] [--json FILE]

Held out: 3,000 USPS digits to train on, scikit-learn's digits served, as shuffled thirds and in Dirichlet order. Each
method with a step of its own (`STEPS`) tries a tenth, a third, three and ten times its default, LAME and T3A their
number of neighbours and supports. What gains most over both orders, on average, is written to FILE
(`shift_settings.json` here), which `shift.py` reads; a method whose default is best is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from common import arguments
from shift import COSTLY, SETTINGS, case_of
from shift_data import Recipe, Shift, halves
from shift_data.digits import TRAINED, TRAINING, rescaled
from shift_data.usps import usps
from shift_run import alone
from sklearn.datasets import load_digits

from aet.adaptation import METHODS
from aet.demo.digits import table

STEPS = ("lr", "rate", "step")
FACTORS = (0.1, 0.3, 3.0, 10.0)
COUNTS = {"lame": ("neighbours", (1, 3, 10)), "t3a": ("supports", (5, 50, 100))}
OURS = ("auto", "mixture", "local_mix", "source", "feedback")
RECIPES = (Recipe("continual"), Recipe("mixed + correlated", settings={"concentration": 0.1}))
ROWS, FEW = 600, 200


def held_out(seed: int) -> Shift:
    """USPS, then scikit-learn's digits."""
    digits = load_digits()
    images = rescaled((digits.images / 16 * 255).astype("uint8"))
    parts = [
        (f"third {i}", table(images[i * 599 : (i + 1) * 599], digits.target[i * 599 : (i + 1) * 599])) for i in range(3)
    ]
    served, oracle = halves(parts, seed)
    return Shift(table(*usps(seed, TRAINED)), "digit", TRAINING, served, oracle, {})


def tries(name: str) -> Iterator[dict[str, Any]]:
    """The settings that a method is tried with, its defaults first."""
    yield {}
    defaults = METHODS[name].defaults
    for step in (step for step in STEPS if step in defaults):
        yield from ({step: float(f"{factor * defaults[step]:.6g}")} for factor in FACTORS)
        return
    if name in COUNTS:
        key, counts = COUNTS[name]
        yield from ({key: count} for count in counts)


def main() -> None:
    args = arguments(__doc__)
    torch.set_num_threads(1)
    rows = FEW if args.quick else ROWS
    cases = [case_of(held_out(0), recipe, 0)[0] for recipe in RECIPES]
    chosen: dict[str, dict[str, Any]] = {}
    for name in METHODS:
        if name in OURS or len(list(tries(name))) < 2:
            continue
        some = [case.some(FEW if name in COSTLY else rows) for case in cases]
        gains = []
        for settings in tries(name):
            found = [alone(case, name, settings) for case in some]
            gains.append((sum(f["accuracy"] - f["source"] for f in found) / len(found), settings))
        best = max(gains, key=lambda pair: pair[0])
        print(f"{name}: default {gains[0][0]:+.2f}, best {best[0]:+.2f} with {best[1] or 'the default'}", flush=True)
        if best[1] and best[0] > gains[0][0]:
            chosen[name] = best[1]
    path = Path(args.json or SETTINGS)
    text = {"chosen_on": f"USPS to scikit-learn's digits, two orders of {rows} rows, seed 0", "methods": chosen}
    path.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
