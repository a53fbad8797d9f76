"""`aet histories`: a table of events, one a row, as histories to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aet.commands.options import Data, Json
from aet.commands.session import session


def histories(
    data: Data,
    user: Annotated[str, typer.Option(help="Column of whose events they are.")],
    item: Annotated[str, typer.Option(help="Column of the items.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Rows with histories: .jsonl or .csv.")],
    time: Annotated[str | None, typer.Option(help="Column of times.", show_default="the rows' order")] = None,
    content: Annotated[list[str] | None, typer.Option(help="Column to keep with each event; repeat.")] = None,
    length: Annotated[int, typer.Option(help="Events of a history at most.")] = 50,
    split: Annotated[str | None, typer.Option(help="leave_last_out: each user's last two events are held out.")] = None,
    after: Annotated[str | None, typer.Option(metavar="TIME", help="Events from then on are the test.")] = None,
    as_json: Json = False,
) -> None:
    """Turn a table of events into rows (user, time, history, next, part), to train with --target next --output rank."""
    with session(as_json) as here:
        import aet
        from aet.commands.answers import WRITERS, replaced
        from aet.errors import ConfigError

        if out.suffix.lower() not in WRITERS:
            raise ConfigError(f"--out {out}: histories are written as one of {', '.join(WRITERS)}. Name such a file.")
        rows = aet.histories(
            data,
            user,
            item,
            time,
            content=content or [],
            length=length,
            split=split,  # type: ignore[arg-type]  # checked there
            after=None if after is None else float(after) if after.replace(".", "", 1).isdigit() else after,
        )
        with replaced(out) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
            WRITERS[out.suffix.lower()]([rows], stream)
        parts = rows["part"].value_counts().to_dict()
        here.give({"rows": len(rows), "parts": parts, "out": str(out)})
        here.show(f"{len(rows):,} rows ({', '.join(f'{n:,} {part}' for part, n in parts.items())}): {out}")
