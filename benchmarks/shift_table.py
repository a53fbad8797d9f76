"""What the shift suite's figures add up to: records over seeds and streams, the printed tables, quick against full."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from common import Record, summary
from rich.console import Console
from rich.table import Table

Figures = dict[str, float]
Found = Mapping[tuple[str, str, str], Figures]

GAP = 5.0
"""Points between oracle and source below which no gap is to be closed."""
ALL = "all"
"""Task of the records over all streams."""


def gap_closed(figures: Figures) -> float | None:
    """100 (x - source) / (oracle - source) within ±100, None where the oracle is not `GAP` points better.

    >>> gap_closed({"accuracy": 70.0, "source": 60.0, "oracle": 80.0})
    50.0
    """
    gap = figures["oracle"] - figures["source"]
    return None if gap < GAP else max(-100.0, min(100.0, 100 * (figures["accuracy"] - figures["source"]) / gap))


def records(runs: Sequence[Found]) -> list[Record]:
    """A record a data set, stream, method and metric; then the means over streams."""
    grouped: dict[tuple[str, str, str], list[Figures]] = defaultdict(list)
    for run in runs:
        for key, figures in run.items():
            grouped[key].append(figures)
    out: list[Record] = []
    for (data, stream), methods in streams_of(grouped).items():
        whole = [f for f in methods[next(iter(methods))] if "refused" not in f]
        for name in ("source", "oracle") if whole else ():
            out += one_method(data, stream, name, [{**f, "accuracy": f[name]} for f in whole], plain=True)
        for method, each in methods.items():
            if any("refused" in figures for figures in each):
                out.append(Record("shift", data, method, "refused", 1.0, stream, seeds=len(each)))
            else:
                out += one_method(data, stream, method, each)
    return out + over_streams(out)


def streams_of(
    grouped: Mapping[tuple[str, str, str], list[Figures]],
) -> dict[tuple[str, str], dict[str, list[Figures]]]:
    """Figures by method, by data set and stream; first the methods over all rows."""
    out: dict[tuple[str, str], dict[str, list[Figures]]] = defaultdict(dict)
    for (data, stream, method), each in grouped.items():
        out[data, stream][method] = each
    return out


def one_method(data: str, stream: str, method: str, each: Sequence[Figures], plain: bool = False) -> list[Record]:
    """The metrics of one method on one stream, over seeds."""
    made = []

    def add(metric: str, values: Sequence[float], value: float | None = None) -> None:
        mean, spread = summary(values)
        seconds = statistics.fmean([f["seconds"] for f in each]) if "seconds" in each[0] and not plain else None
        forwards = statistics.fmean([f["forwards"] for f in each]) if "forwards" in each[0] and not plain else None
        shown = mean if value is None else value
        made.append(Record("shift", data, method, metric, shown, stream, spread, len(each), seconds, forwards))

    add("accuracy", [f["accuracy"] for f in each])
    if plain:
        return made
    add("gain", [f["accuracy"] - f["source"] for f in each])
    gaps = [gap for gap in map(gap_closed, each) if gap is not None]
    if gaps:
        add("gap_closed", gaps)
    # Seeds are independent: half widths add in squares.
    half = sum(((f["high"] - f["low"]) / 2) ** 2 for f in each) ** 0.5 / len(each)
    mean = statistics.fmean([f["harm"] for f in each])
    add("harm", [f["harm"] for f in each])
    add("harm low", [f["harm"] for f in each], mean - half)
    add("harm high", [f["harm"] for f in each], mean + half)
    add("harm worst window", [f["worst window"] for f in each], max(f["worst window"] for f in each))
    if all(f.get("plain") for f in each):
        add("seconds over plain", [f["seconds"] / f["plain"] for f in each])
    for figure, metric in {"moved": "movement", "kept": "kept KB", "labels": "labels", "rows": "rows"}.items():
        if figure in each[0]:
            add(metric, [f[figure] for f in each])
    if "last less first" in each[0]:
        add("last less first", [f["last less first"] for f in each])
    return made


def over_streams(made: Sequence[Record]) -> list[Record]:
    """By method: mean gap closed and gain, worst harm of any stream, cost; `seeds` as of the streams."""
    out = []
    for method in dict.fromkeys(r.method for r in made):
        own = [r for r in made if r.method == method]
        seeds = max(r.seeds or 0 for r in own)

        def add(metric: str, how: str, values: Sequence[float]) -> None:
            if values:
                value = max(values) if how == "worst" else statistics.fmean(values)
                shown = f"{how} of {len(values)} streams"
                out.append(Record("shift", ALL, method, metric, value, shown, seeds=seeds))  # noqa: B023

        for metric, how in {
            "accuracy": "mean",
            "gain": "mean",
            "gap_closed": "mean",
            "harm": "worst",
            "harm worst window": "worst",
            "seconds over plain": "mean",
            "movement": "mean",
            "kept KB": "mean",
        }.items():
            add(metric, how, [r.value for r in own if r.metric == metric])
        add("forwards", "mean", [r.forwards for r in own if r.metric == "accuracy" and r.forwards is not None])
    return out


def show(made: Sequence[Record]) -> None:
    """The means over streams; then the gain of each method on each stream of a data set."""
    console = Console(width=170)
    columns = {
        "gap_closed": "gap closed %",
        "gain": "gain",
        "harm": "worst harm",
        "harm worst window": "worst window",
        "forwards": "forwards",
        "seconds over plain": "seconds",
        "movement": "movement",
        "kept KB": "kept KB",
    }
    total = {(r.method, r.metric): r for r in made if r.task == ALL}
    grid = Table(title="all streams: points unless said; forwards a row; seconds over plain forward")
    grid.add_column("")
    for heading in ("streams", *columns.values()):
        grid.add_column(heading, justify="right")
    order = sorted(
        dict.fromkeys(method for method, metric in total if metric == "gain"),
        key=lambda m: -total[m, "gap_closed"].value if (m, "gap_closed") in total else 0.0,
    )
    for method in order:
        cells = [f"{total[method, m].value:.1f}" if (method, m) in total else "" for m in columns]
        grid.add_row(method, (total[method, "gain"].stream or "").split()[2], *cells)
    console.print(grid)
    for data in dict.fromkeys(r.task for r in made if r.task != ALL):
        one_table(console, data, [r for r in made if r.task == data])


def one_table(console: Console, data: str, own: Sequence[Record]) -> None:
    """Gain over the source (and harm's interval) of each method on each stream of a data set."""
    streams = list(dict.fromkeys(r.stream for r in own))
    grid = Table(title=f"{data}: accuracy of source and oracle; gain in points (95 % interval)")
    grid.add_column("")
    for stream in streams:
        grid.add_column(stream or "", justify="right")
    found = {(r.method, r.stream, r.metric): r.value for r in own}
    for method in dict.fromkeys(r.method for r in own):
        cells = []
        for stream in streams:
            if method in ("source", "oracle"):
                cells.append(
                    f"{found[method, stream, 'accuracy']:.1f}" if (method, stream, "accuracy") in found else ""
                )
            elif (method, stream, "refused") in found:
                cells.append("refused")
            elif (method, stream, "gain") in found:
                low, high = (0.0 - found[method, stream, f"harm {side}"] for side in ("high", "low"))
                cells.append(f"{found[method, stream, 'gain']:+.1f} ({low:+.1f} {high:+.1f})")
            else:
                cells.append("")
        grid.add_row(method, *cells)
    console.print(grid)


def agreement(path: Path) -> str | None:
    """Rank correlation of the mean gap closed, quick against full, if both results lie there."""
    stem = path.stem.removesuffix("_quick")
    both = [path.with_name(f"{stem}{end}.json") for end in ("_quick", "")]
    if not all(p.is_file() for p in both):
        return None
    quick, full = (
        {
            r["method"]: r["value"]
            for r in json.loads(p.read_text(encoding="utf-8"))
            if r["task"] == ALL and r["metric"] == "gap_closed"
        }
        for p in both
    )
    common = [method for method in quick if method in full]
    if len(common) < 3:
        return None
    from scipy.stats import spearmanr

    rank = float(spearmanr([quick[m] for m in common], [full[m] for m in common]).statistic)
    return f"rank correlation of quick and full: {rank:.2f} over {len(common)} methods"
