"""The shift suite: every adaptation method on every stream of real shifts, beside the source and the oracle.

    python benchmarks/shift.py [--quick] [--seeds N] [--json FILE] [--only DATA] [--method NAME] [--jobs N]
        [--settings FILE]

Data sets lie in `shift_data`, one file each; streams are built by `aet.build_stream`; methods are all that take the
model. Each is run alone, every row answered as it says ("proposal"); `auto` also as a stream under its default guard
("served"), without labels and with 16 late labels in every 500 rows, and beside it full fine-tuning and the last layer
on the same labels. Settings are the methods' defaults, their authors' published ones, and, where FILE
(`shift_settings.json` here) holds better ones chosen on a held-out stream, again with those ("best").

Gap closed: 100 (x - source) / (oracle - source), where the oracle, the same network trained on the disjoint half of the
target, is at least 5 points above the source; clipped to ±100. Harm: source - x in points, with its paired 95 %
interval, and over the worst window of 1,000 rows (all, if there are fewer; the worst seed). Cost: row passes in all for
a row answered (a backward counts two), seconds over those of the plain forward in the same run.

`--quick`: six streams of 1,500 rows at most, eight methods, one seed. What is done is kept beside the JSON, stream by
stream and method by method, and the trained models in `.models`, so that a run that was stopped goes on; new methods
are added to it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from common import Done, parser, partial, write
from shift_data import DATA, Recipe, Shift, spread
from shift_models import cached, digest, oracle_of
from shift_run import GROWN, LABELS, PER, ROUNDS, Case, Figures, alone, checked_parts, code_of, served, with_labels
from shift_table import agreement, records, show

from aet.adaptation import METHODS
from aet.adaptation.streams import build_stream
from aet.errors import ConfigError, DataError

SETTINGS = Path(__file__).parent / "shift_settings.json"
NEED_LABELS = ("feedback",)
"""Without labels they are the source."""
COSTLY = {"memo": 500, "cotta": 1000, "rotta": 1000, "petta": 1000}
"""Methods of many passes answer so many rows of each stream, evenly spaced, and are compared on those."""
QUICK = ("auto", "mixture", "restandardise", "align", "eata", "lame", "roid")
"""With the source and what `auto` serves they are the quick look."""
QUICK_ROWS = 1500
WITH_LABELS = {"full fine-tuning": lambda m: m.parameters(), "last layer": lambda m: m.output.parameters()}

Found = dict[tuple[str, str, str], Figures]
"""Figures by data set, stream and method."""


def variants(quick: bool, best: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Method and settings by the name that is shown."""
    names = [name for name in METHODS if name not in ("source", *NEED_LABELS)]
    if quick:
        return {name: (name, {}) for name in QUICK}
    shown = {name: (name, {}) for name in names}
    return {**shown, **{f"{name}, best": (name, settings) for name, settings in best.items() if name in names}}


def case_of(shift: Shift, recipe: Recipe, seed: int, rows: int | None = None) -> tuple[Case, str]:
    """One stream, thinned to so many rows, and the word by which its figures are known."""
    model, weights = cached(shift.rows, shift.target, seed, shift.training)
    oracle, target = oracle_of(shift.oracle, shift.target, seed, shift.training, len(shift.rows))
    parts = [(name, frame) for name, frame in shift.served if name.startswith(tuple(recipe.parts))]
    if recipe.rows is not None:
        parts = [(name, spread(frame, recipe.rows)) for name, frame in parts]
    parts = checked_parts(model, parts)
    scenario = build_stream(recipe.name, parts, target=shift.target, seed=seed, **recipe.settings)
    timed = shift.time is not None and "as_filed" in recipe.name
    delay = shift.delay if timed or isinstance(shift.delay, int) else 64
    due = scenario.due(delay, time=shift.time if timed else None)
    case = Case(model, oracle, scenario, due, seed).some(rows)
    return case, digest(case.scenario.frame, weights, target, case.scenario.resets, case.due.tolist(), seed)


def one_stream(
    case: Case, key: str, done: Done, quick: bool, best: Mapping[str, Any], methods: Sequence[str]
) -> Iterator[tuple[str, Figures]]:
    """Every method on one stream, or these; a method that does not take the model has only the figure "refused"."""
    for shown, (name, settings) in variants(quick, best).items():
        if methods and name not in methods:
            continue
        code, given = code_of(METHODS[name].__module__), json.dumps(settings, sort_keys=True)
        own = f"{key} {name} {given} {COSTLY.get(name)} {code}"
        yield shown, done.get(own, lambda n=name, s=settings: tried(case.some(COSTLY.get(n)), n, s))  # type: ignore[misc]
    code = code_of("aet.adaptation.stream") + code_of("aet.adaptation.methods.auto")
    for labels in (False, True):
        names = ["auto, 16 labels: proposal", "auto, 16 labels: served", *WITH_LABELS] if labels else ["auto: served"]
        own = f"{key} stream {(LABELS, PER, ROUNDS, GROWN) if labels else labels} {code}"
        figures = done.get(own, lambda n=names, w=labels: together(case, n, w))  # type: ignore[misc]
        for name in names:
            start = f"{name} | "
            yield name, {k.removeprefix(start): v for k, v in figures.items() if k.startswith(start)}


def tried(case: Case, name: str, settings: Mapping[str, Any]) -> Figures:
    """A method alone, or that it refuses the model."""
    try:
        return alone(case, name, settings)
    except ConfigError as error:
        print(f"  {name} is left out: {error}", file=sys.stderr)
        return {"refused": 1.0}


def together(case: Case, names: list[str], labels: bool) -> Figures:
    """`auto` as a stream, and with labels the peers that train on the same ones."""
    proposal, answers, came = served(case, labels)
    found = [proposal, answers, *(with_labels(case, came, w) for w in WITH_LABELS.values())] if labels else [answers]
    return {f"{name} | {k}": v for name, figures in zip(names, found, strict=True) for k, v in figures.items()}


def one_task(
    data: str, seed: int, quick: bool, path: Path | None, best: Mapping[str, Any], methods: Sequence[str] = ()
) -> Found | str:
    """Every stream of a data set, or why it is left out."""
    torch.set_num_threads(1)
    done, found = Done(path), {}
    try:
        shift = DATA[data](seed)
    except DataError as error:
        return str(error)
    streams = {name: recipe for name, recipe in shift.streams.items() if recipe.quick or not quick}
    for number, (stream, recipe) in enumerate(streams.items(), 1):
        started = time.perf_counter()
        case, key = case_of(shift, recipe, seed, QUICK_ROWS if quick else None)
        for method, figures in one_stream(case, key, done, quick, best, methods):
            found[data, stream, method] = figures
        spent = time.perf_counter() - started
        line = f"seed {seed}, {data}, {number} of {len(streams)}, {stream}: {len(case.scenario)} rows, {spent:.0f} s"
        print(line, file=sys.stderr, flush=True)
    return found


def main() -> None:
    options = arguments()
    seeds = range(1 if options.quick else options.seeds)
    best = json.loads(options.settings.read_text())["methods"] if options.settings.is_file() else {}
    chosen = [name for name in DATA if not options.only or name in options.only]
    how = (options.quick, partial(options.json), best, options.method or ())
    tasks = [(name, seed, *how) for seed in seeds for name in chosen]
    started = time.perf_counter()
    with ProcessPoolExecutor(max_workers=options.jobs, mp_context=get_context("spawn")) as pool:
        runs = list(pool.map(one_task, *zip(*tasks, strict=True)))
    missing = {task[0]: run for task, run in zip(tasks, runs, strict=True) if isinstance(run, str)}
    everything = records([run for run in runs if not isinstance(run, str)])
    write(everything, options.json)
    show(everything)
    for name, reason in missing.items():
        print(f"{name} is left out: {reason}")
    used = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    print(f"{time.perf_counter() - started:.0f} seconds with {options.jobs} processes, {used:.0f} of processor time")
    if options.json:
        from shift_picture import draw

        draw(everything, options.json.with_suffix(".svg"))
        if same := agreement(options.json):
            print(same)


def arguments() -> Any:
    """The options."""
    made = parser(__doc__)
    made.add_argument("--only", action="append", help="a data set by name; may be given again", choices=list(DATA))
    made.add_argument("--method", action="append", help="run this one alone, not all; may be given again")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    made.add_argument("--settings", type=Path, default=SETTINGS, help="best settings chosen on held-out streams")
    return made.parse_args()


if __name__ == "__main__":
    main()
