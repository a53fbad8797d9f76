"""Tables for people, and the same figures for programs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from aet.adaptation.replay import Replay
    from aet.ensemble import Ensemble
    from aet.model import Model
    from aet.training.tune import Tuned

UNKNOWN = "–"
MAIN = ("source", "proposal", "served")
MEANING = {"closeness": " (100 where right, less by the error in standard deviations of the target)"}


def trained(model: Model, folder: Path) -> dict[str, Any]:
    """What `aet train` answers."""
    from aet.attention.state import ElasticState

    report = model.report
    return {
        "run": folder,
        "target": list(model.schema.targets),
        "output": model.output.kind,
        "metric": model.output.metric,
        "valid": report["valid"],
        "rows": report["rows"],
        "quarantined": report["quarantined"],
        "epochs": len(report["history"]),
        "parameters": sum(p.numel() for p in model.parameters()),
        "state_bytes": ElasticState.zeros(model).nbytes,
        "seconds": report["seconds"],
        "switches": report["switches"],
        "worth": report.get("worth"),
        "tracked": report.get("tracked", []),
    }


def tracked_lines(model: Model) -> list[str]:
    """Where each tracker's run is, or why it is not whole."""
    lines = []
    for record in model.report.get("tracked", []):
        failed = f"; failed under way: {record['failed']}" if record["failed"] else ""
        lines.append(f"Tracked by {record['name']}: {record['where'] or 'nowhere'}{failed}")
    return lines


def ensemble_table(ensemble: Ensemble) -> Table:
    """What each member scores on the rows held out, and all together."""
    from rich.table import Table

    names = list(ensemble.report["valid"])
    table = Table("", *(name.replace("_", " ") for name in names), title="On the rows held out", title_justify="left")
    for number, figures in enumerate(ensemble.report["members"]):
        last = number + 1 == len(ensemble.members)
        shown = (f"{figures[name]:.4g}" for name in names)
        table.add_row(f"member {number} (seed {figures['seed']})", *shown, end_section=last)
    table.add_row("ensemble", *(f"{ensemble.report['valid'][name]:.4g}" for name in names), style="bold")
    return table


def worth_tables(model: Model) -> list[Table]:
    """What each part that was on was worth, in one table; none if nothing was compared."""
    from rich.table import Table

    records = model.report.get("worth")
    if not records:
        return []
    title = f"Gain in {records[0]['score']} by each part, with its paired 95 % interval over the held-out rows"
    table = Table(title=title, title_justify="left")
    table.add_column("part")
    for name in ("with", "without", "gain", "interval", "gain under drift"):
        table.add_column(name, justify="right")
    for record in records:
        with_, without, gain, low, high = (
            100 * record[key] for key in ("with", "without", "difference", "low", "high")
        )
        drifted = f"{100 * record['drifted']['difference']:+.2f}" if "drifted" in record else UNKNOWN
        interval = f"{low:+.2f} to {high:+.2f}"
        table.add_row(record["part"], f"{with_:.2f}", f"{without:.2f}", f"{gain:+.2f}", interval, drifted)
    return [table]


def tuned(found: Tuned) -> dict[str, Any]:
    """What `aet tune` answers."""
    return {
        "settings": found.config.model_dump(mode="json"),
        "score": found.score,
        "worth": found.worth,
        "trials": found.trials.astype(object).where(found.trials.notna(), None).to_dict("records"),
    }


def tuned_tables(found: Tuned, most: int = 5) -> list[Any]:
    """The best trials, and what the search was worth on the rows that it never saw."""
    from rich.table import Table

    table = Table("trial", "validation loss", "seconds", "on", title="The best trials", title_justify="left")
    for entry in found.trials.head(most).to_dict("records"):
        loss, seconds = f"{entry['valid_loss']:.4f}", f"{entry['seconds']:.1f}"
        table.add_row(str(entry["trial"]), loss, seconds, entry["on"] or "nothing")
    stopped = int((found.trials["state"] != "complete").sum())
    worth = {name: 100 * value for name, value in found.worth.items()}
    return [
        table,
        f"{len(found.trials)} trials, {stopped} of them stopped early. On rows that the search never saw: "
        f"{found.score} {worth['with']:.1f} with the settings found, {worth['without']:.1f} with those given; "
        f"difference {worth['difference']:+.2f} points (95 % interval {worth['low']:+.2f} to {worth['high']:+.2f}).",
    ]


def switch_table() -> tuple[Table, list[dict[str, Any]]]:
    """Every switch and mechanism: what it does, and its settings with their defaults."""
    from rich.table import Table

    from aet.attention.chosen import usable
    from aet.attention.dynamic import StateNetwork
    from aet.attention.mechanisms import MECHANISMS
    from aet.training import switches as _known  # noqa: F401 (they register themselves)
    from aet.training.switch import SWITCHES
    from aet.trunk import DYNAMIC

    table = Table("switch", "settings", "what it does", title="Turn one on with --switch NAME[:setting=value,...]")
    records = []
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {n: (SWITCHES[n], SWITCHES[n].defaults) for n in sorted(SWITCHES)}
    kinds |= {name: (MECHANISMS[name], {}) for name in sorted(usable())}
    kinds[DYNAMIC] = (StateNetwork, StateNetwork.defaults)
    for name, (kind, defaults) in kinds.items():
        does = (inspect.getmodule(kind).__doc__ if name in SWITCHES or name == DYNAMIC else kind.__doc__) or ""
        does = does.splitlines()[0]
        records.append({"name": name, "settings": defaults, "does": does})
        table.add_row(name, ", ".join(f"{key}={value}" for key, value in defaults.items()), does)
    return table, records


def figures(values: Mapping[str, float], title: str) -> Table:
    """Names and numbers."""
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in values.items():
        whole = float(value).is_integer() and abs(value) > 1
        table.add_row(name.replace("_", " "), f"{value:,.0f}" if whole else f"{value:.4g}")
    return table


def harm(row: Mapping[str, Any]) -> float | None:
    """Source - served in points; None where the true answers are not known."""
    source, served = row["source"], row["served"]
    return None if source is None or served is None else 100 * (source - served)


def streamed(replay: Replay, report: Path, saved: Path | None) -> dict[str, Any]:
    """What `aet stream` answers."""
    record, guard = replay.record, replay.stream.guard
    return {
        "report": report,
        "saved": saved,
        "metric": record["model"]["score"],
        "parts": [{**part, "harm": harm(part)} for part in record["parts"]],
        "summary": record["summary"],
        "stream": record["stream"],
        "guard": {**guard.to_dict(), "serving": guard.serving, "reason": guard.reason()},
        "serving": replay.stream.serving,
        "estimates": record["estimates"],
        "cost": record["cost"],
    }


def stream_table(record: Mapping[str, Any]) -> Table:
    """One row a part and one for the whole stream; scores in percent, harm in points, below zero is a gain."""
    from rich.table import Table

    score = record["model"]["score"]
    what = f"{score} in %{MEANING.get(score, '')}"
    table = Table(title=f"{what}; harm = source - served in points, below zero is a gain", title_justify="left")
    methods = list(record["summary"]["methods"])
    table.add_column("part")
    for name in ("rows", "labels", *MAIN, "harm", "by proposal", *methods):
        table.add_column(name, justify="right")
    for part in record["parts"]:
        table.add_row(part["name"], *cells(part, methods), end_section=part is record["parts"][-1])
    stream = record["stream"]
    whole = {**record["summary"], "rows": sum(part["rows"] for part in record["parts"]), "labels": stream["labels"]}
    whole["served_by_proposal"] = stream["served"]["proposal"] / max(1, sum(stream["served"].values()))
    table.add_row("whole stream", *cells(whole, methods), style="bold")
    return table


def cells(row: Mapping[str, Any], methods: Sequence[str]) -> list[str]:
    """A row of the table."""
    points = harm(row)
    return [
        f"{row['rows']:,}",
        f"{row['labels']:,}",
        *(percent(row[name]) for name in MAIN),
        UNKNOWN if points is None else f"{points:+.1f}",
        percent(row["served_by_proposal"]),
        *(percent(row["methods"][name]) for name in methods),
    ]


def percent(share: float | None) -> str:
    """A share, times 100.

    >>> percent(0.5), percent(None)
    ('50.0', '–')
    """
    return UNKNOWN if share is None else f"{100 * share:.1f}"


def verdict(replay: Replay) -> str:
    """What the whole stream cost or gained, and what the guard says at its end."""
    from aet.report.estimates import sentence

    found, guard = replay.record["summary"]["harm"], replay.stream.guard
    whole = (
        "No row had a true answer, so nothing could be scored."
        if found is None
        else f"Harm over the whole stream {found['mean']:+.2f} points (95 % interval {found['low']:+.2f} to "
        f"{found['high']:+.2f}), in its worst {found['window']:,} rows {found['worst_window']:+.2f}."
    )
    aside, unknown = replay.record["stream"]["quarantined"], replay.scores.unknown
    counts = "and count as wrong" if replay.record["model"]["output"] == "label" else "and are not scored"
    served = replay.record["stream"]["served"]
    who = f"An adapted state answered {served['proposal']:,} of {sum(served.values()):,} rows."
    said = [whole, who, f"Guard {guard.name}: {guard.reason()}."]
    said += [estimated] if (estimated := sentence(replay.record)) else []
    said += [f"{aside:,} rows were kept aside; the report says why."] if aside else []
    said += [f"{unknown:,} rows have true answers that the model does not know {counts}."] if unknown else []
    return "\n".join(said)
