"""`aet retrain`: the labels of a server's store, as a new version of its model."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aet.commands.options import Json, Run
from aet.commands.session import REFUSED, session
from aet.errors import ConfigError, UpdateRefused
from aet.optional import optional

if TYPE_CHECKING:
    from aet.serving.retrain import Retrained


def retrain(
    run: Run,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="AET_STORE", help="Store of the server.", show_default="RUN/store.db"),
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Let it serve if it is surely better.")] = False,
    gate: Annotated[float | None, typer.Option(help="Most points it may forget of old rows.")] = None,
    held: Annotated[float, typer.Option(help="Share of the labels, the newest, to compare on.")] = 0.2,
    least: Annotated[int, typer.Option(min=2, help="Fewest labelled rows to begin with.")] = 50,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Labels from then on: 2026-05-01.")] = None,
    as_json: Json = False,
) -> None:
    """Learn the labels that came, compare with the serving version, add as a version. Exit code 3: --gate refused."""
    with session(as_json) as here:
        optional("sqlalchemy", "`aet retrain`", "pip install 'attention-elastic-training[serve]'", "use `aet update`")
        from aet.serving.retrain import retrain
        from aet.serving.store import Store
        from aet.serving.versions import Versions

        begin, url = moment(since), store or existing(run / "store.db")
        try:
            with Store(url) as opened:
                made = retrain(
                    opened,
                    Versions(run),
                    run.resolve().name,
                    since=begin,
                    held=held,
                    least=least,
                    promote=promote,
                    gate=gate,
                )
        except UpdateRefused as refused:
            here.give({"run": run, **refused.report, "version": None, "refused": str(refused)})
            here.tell(str(refused), "red")
            raise typer.Exit(REFUSED) from None
        here.give({"run": run, **answer(made), "refused": None})
        here.show(made.text)


def answer(made: Retrained) -> dict[str, Any]:
    """What was learned, the comparison, and what follows."""
    compared = made.comparison
    return {
        "version": made.version.number,
        "learned": made.rows,
        "masked": made.masked,
        "comparison": {**asdict(compared), "better": compared.better, "text": compared.text},
        "forgot": made.forgot,
        "promoted": made.promoted,
    }


def existing(path: Path) -> str:
    """A store's file; ConfigError where there is none, since an empty one would be made."""
    if not path.is_file():
        raise ConfigError(f"There is no store at {path}. Name the server's with --store; `aet serve` shows it.")
    return str(path)


def moment(text: str | None) -> datetime | None:
    """A time, in UTC where it says no zone.

    >>> moment("2026-05-01").isoformat()
    '2026-05-01T00:00:00+00:00'
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"--since takes a time such as 2026-05-01 or 2026-05-01T12:30+02:00; got {text!r}."
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
