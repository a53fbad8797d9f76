"""What training finds in its run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aet.commands.session import Session

CHECKPOINT, RUN, VERSIONS = "checkpoint.safetensors", "schema.json", "versions.jsonl"
MADE = ("report.html", "stream.html", "stream")
"""What commands make from a run beside it unless told otherwise."""


def announce(here: Session, folder: Path, renewed: Sequence[str] = ()) -> None:
    """Say that an unfinished run goes on, and that a finished one is replaced; `renewed` is made anew with it."""
    if (folder / CHECKPOINT).is_file():
        here.tell(f"{folder} holds an unfinished run: it goes on where data and settings are the same.")
    if (folder / RUN).is_file() and not (folder / VERSIONS).is_file():  # there nothing is replaced
        stale = [name for name in MADE if name not in renewed and (folder / name).exists()]
        stays = f" What was made from that stays and is not of the new one: {', '.join(stale)}." if stale else ""
        here.tell(f"{folder} holds a finished run, which this one replaces at its end.{stays}")


def say_version(here: Session, run: Path) -> None:
    """Say that another version serves than the run itself, which is version 1."""
    if not (run / VERSIONS).is_file():
        return
    from aet.serving.versions import Versions

    number = Versions(run).roles.serving
    if number not in (None, 1):
        where = Versions(run).version(number).path
        here.tell(f"This is version 1 of {run}; version {number} serves. For that one name {where}.")
