"""What training finds in its run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aet.commands.session import Session

CHECKPOINT, RUN = "checkpoint.safetensors", "schema.json"
MADE = ("report.html", "stream.html", "stream")
"""What commands make from a run beside it unless told otherwise."""


def announce(here: Session, folder: Path, renewed: Sequence[str] = ()) -> None:
    """Say that an unfinished run goes on, and that a finished one is replaced; `renewed` is made anew with it."""
    if (folder / CHECKPOINT).is_file():
        here.tell(f"{folder} holds an unfinished run: it goes on where data and settings are the same.")
    if (folder / RUN).is_file():
        stale = [name for name in MADE if name not in renewed and (folder / name).exists()]
        stays = f" What was made from that stays and is not of the new one: {', '.join(stale)}." if stale else ""
        here.tell(f"{folder} holds a finished run: this one replaces it.{stays}")
