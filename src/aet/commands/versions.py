"""`aet versions`: which versions of a model there are, and which one serves."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aet.commands.options import Json, Run
from aet.commands.session import session
from aet.commands.show import percent
from aet.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from aet.serving.versions import Versions


def versions(
    run: Run,
    promote: Annotated[int | None, typer.Option(metavar="N", min=1, help="Let version N serve.")] = None,
    back: Annotated[bool, typer.Option("--back", help="Let the version serve that served before.")] = False,
    shadow: Annotated[int | None, typer.Option(metavar="N", min=0, help="Answers unseen; 0 ends it.")] = None,
    canary: Annotated[int | None, typer.Option(metavar="N", min=0, help="Answers some streams; 0 ends it.")] = None,
    share: Annotated[float, typer.Option(help="Of the streams, for the canary.")] = 0.1,
    reason: Annotated[str, typer.Option(help="A line for the log of changes.")] = "",
    to_mlflow: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Register it in MLflow: at $MLFLOW_TRACKING_URI, or in a file."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List a model's versions, or change who answers. Running servers follow within --save-every (30 s)."""
    with session(as_json) as here:
        from aet.serving.versions import Versions

        known = Versions(run)
        asked = (promote is not None, back, shadow is not None, canary is not None, to_mlflow is not None)
        if sum(asked) > 1:
            raise ConfigError(
                "One change at a time: expected one of --promote, --back, --shadow, --canary and --to-mlflow."
            )
        if promote is not None:
            known.promote(promote, reason)
        elif back:
            known.roll_back(reason)
        elif shadow is not None:
            known.shadow(shadow or None, reason)
        elif canary is not None:
            known.canary(canary or None, share, reason)
        exported = None if to_mlflow is None else registered(known, to_mlflow)
        answer = listing(known)
        here.give({"run": run, **answer, "mlflow": exported})
        here.show(table(answer))
        if exported:
            was = "" if exported["new"] else " already"
            here.show(f"In MLflow{was}: {exported['model']}, version {exported['version']}, at {exported['uri']}")


def registered(known: Versions, number: int) -> dict[str, Any]:
    """Where a version is in MLflow now."""
    from aet.serving.to_mlflow import export

    return asdict(export(known, number))


def listing(known: Versions) -> dict[str, Any]:
    """The versions, and who answers."""
    from aet.serving.versions import listed

    lines, roles = listed(known), known.roles
    if roles.serving is None:
        known.serving  # noqa: B018  says what a folder without models lacks
    return {
        "serving": roles.serving,
        "shadow": roles.shadow,
        "canary": roles.canary,
        "share": roles.share,
        "versions": lines,
    }


def table(answer: dict[str, Any]) -> Table:
    """A line each."""
    from rich.table import Table

    shown = Table("version", "now", "when trained", "made", "note")
    for line in answer["versions"]:
        role = line["role"] + (f" of {answer['share']:.0%} of the streams" if "canary" in line["role"] else "")
        shown.add_row(str(line["number"]), role, percent(line["accuracy"]), line["made"][:16], line["note"])
    return shown
