"""What `aet update` answers and shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aet.commands.show import UNKNOWN, percent
from aet.errors import ConfigError
from aet.report.update import RUNS

if TYPE_CHECKING:
    from rich.table import Table


def check_apart(run: Path, folder: Path) -> None:
    """ConfigError if the new model would take the place of the old one."""
    if run.resolve() == folder.resolve():
        raise ConfigError(
            f"--out {folder} is the run that is updated: expected another folder, for the old model stays as it is. "
            f"Write to {folder}-updated, for example."
        )


def answer(report: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """The record of the update, and where it lies if it was written."""
    return {"run": folder, **report}


def table(report: Mapping[str, Any]) -> Table:
    """The update beside the other runs."""
    from rich.table import Table

    old, new = report["old"], report["new"]
    title = f"{report['score']} in %, on {old['held']:,} old and {new['held']:,} new held-out rows; the rest in points"
    shown = Table(title=title, title_justify="left")
    shown.add_column("")
    for name in ("old", "new", "forgetting", "95 % interval", "backward transfer", "seconds"):
        shown.add_column(name, justify="right")
    for key, name in RUNS.items():
        if key in report["runs"]:
            shown.add_row(name, *cells(report["runs"][key]), style="bold" if key == "update" else None)
    return shown


def cells(figures: Mapping[str, Any]) -> list[str]:
    """A row of the table."""
    interval = figures.get("interval")
    return [
        percent(figures["old"]),
        percent(figures["new"]),
        points(figures.get("forgetting")),
        UNKNOWN if interval is None else f"{interval[0]:+.1f} to {interval[1]:+.1f}",
        points(figures.get("backward_transfer")),
        UNKNOWN if figures.get("seconds") is None else f"{figures['seconds']:.1f}",
    ]


def points(value: float | None) -> str:
    """Points with their sign.

    >>> points(1.25), points(None)
    ('+1.2', '–')
    """
    return UNKNOWN if value is None else f"{value:+.1f}"
