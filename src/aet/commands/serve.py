"""`aet serve`: models behind one address."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aet.commands.alarming import channels
from aet.commands.options import Json
from aet.commands.session import Session, session
from aet.errors import ConfigError, nearest
from aet.optional import optional

if TYPE_CHECKING:
    from aet.personal import Masker
    from aet.serving.models import Served

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `aet train` wrote.")]


def serve(
    runs: Runs,
    host: Annotated[str, typer.Option(help="Address; another than this machine's own needs keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="AET_STORE", help="File or postgresql://...", show_default="RUN/store.db"),
    ] = None,
    adapt: Annotated[str, typer.Option(help="Method that proposes states, for new streams.")] = "auto",
    guard: Annotated[str, typer.Option(help="earned, likely, always or never.")] = "earned",
    unlabelled: Annotated[str, typer.Option(help="never, cautious or always.")] = "cautious",
    keep: Annotated[int, typer.Option(min=0, help="Rows of a stream kept for late labels.")] = 10_000,
    values: Annotated[bool, typer.Option(help="Write rows down with their values.")] = True,
    personal: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Personal data: masked whatever it holds; repeatable.")
    ] = None,
    mask: Annotated[bool, typer.Option(help="Mask personal data found in texts before it is written down.")] = True,
    rows: Annotated[int, typer.Option(min=1, help="Most rows of a forward pass.")] = 64,
    wait: Annotated[float, typer.Option(min=0, help="Milliseconds to wait for more rows.")] = 5.0,
    queue: Annotated[int, typer.Option(min=1, help="Most rows that wait.")] = 8192,
    deadline: Annotated[float, typer.Option(min=0.01, help="Seconds within which a request is answered.")] = 30.0,
    save_every: Annotated[float, typer.Option(min=0.1, help="Seconds between saves of what streams learned.")] = 30.0,
    watch: Annotated[bool, typer.Option(help="Look for drift, and raise alarms.")] = True,
    watch_level: Annotated[float, typer.Option(help="Share of clean streams that may ever raise an alarm.")] = 0.05,
    watch_share: Annotated[float, typer.Option(help="Share of the time that looking for drift may take.")] = 0.05,
    webhook: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Where alarms are sent; signed with $AET_WEBHOOK_SECRET.")
    ] = None,
    mail_to: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Who gets alarms; repeatable.")] = None,
    mail_from: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Password in $AET_MAIL_PASSWORD.")] = None,
    mail_host: Annotated[str | None, typer.Option(metavar="HOST[:PORT]", help="Mail server.")] = None,
    as_json: Json = False,
) -> None:
    """Serve models over HTTP: rows in, answers out, true labels back. Ctrl-C finishes what was accepted."""
    with session(as_json) as here:
        for module in ("fastapi", "uvicorn", "sqlalchemy", "prometheus_client"):
            optional(module, "`aet serve`", "pip install 'attention-elastic-training[serve]'", "use `aet predict`")
        from aet.personal import Masker

        settings = {"adapt": adapt, "guard": guard, "unlabelled": unlabelled, "keep": keep}
        batching = {"rows": rows, "wait": wait / 1000, "queue": queue, "deadline": deadline}
        masker = Masker(columns=personal or [], kinds=None if mask else ()) if mask or personal else None
        kept = {"keep_values": values, "mask": masker, "save_every": save_every}
        told = channels(webhook or [], mail_to or [], mail_from, mail_host)
        watched = {"channels": told, "level": watch_level, "share": watch_share}
        url = store or str(runs[0] / "store.db")
        run_server(here, runs, host, port, url, settings, kept, batching, watched if watch else None)


def run_server(
    here: Session,
    runs: Sequence[Path],
    host: str,
    port: int,
    url: str,
    settings: dict[str, Any],
    kept: dict[str, Any],
    batching: dict[str, Any],
    watched: dict[str, Any] | None,
) -> None:
    """Load, listen, and say so."""
    from aet.serving.app import create_app, protected
    from aet.serving.batching import Batcher
    from aet.serving.headers import LOOPBACK
    from aet.serving.keys import Keys
    from aet.serving.leases import alone
    from aet.serving.models import load_models
    from aet.serving.redaction import keep_secrets
    from aet.serving.server import bound, is_loopback, run, server_of
    from aet.serving.service import Service
    from aet.serving.store import Store
    from aet.serving.watches import Watches

    started = time.perf_counter()
    models = load_models(runs)
    for served in models.values():
        served.model.stream(**settings)  # what cannot be is said before anything listens
    check_declared(models, kept["mask"])
    with Store(url) as store, alone(store):
        keys = Keys(store.engine)
        guarded = any(key.revoked is None for key in keys.all())
        if not guarded and not is_loopback(host):
            raise ConfigError(
                f"Whoever reaches {host} could do anything: the store holds no key. Make one with `aet keys add --role "
                "admin`, or serve at 127.0.0.1."
            )
        at = bound(host, port)
        watches = None if watched is None else Watches(store, **watched)
        service = Service(models, store, settings, **kept, watches=watches)
        hosts = () if guarded else (*LOOPBACK, host)  # without keys, no page whose name leads here is let in
        app = protected(create_app(service, Batcher(service, **batching)), keys if guarded else None, hosts=hosts)
        address = f"http://{f'[{host}]' if ':' in host else host}:{at.getsockname()[1]}"

        def listening() -> None:
            seconds = round(time.perf_counter() - started, 3)
            here.give({"url": address, "models": list(models), "store": store.url, "keys": guarded, "seconds": seconds})
            open_to = "" if guarded else " No keys: everyone on this machine may do everything."
            here.show(f"Serving {', '.join(models)} at {address}, store {store.url}.{open_to} Ctrl-C stops.")

        logging.basicConfig(level=logging.WARNING)
        server = server_of(app, listening)
        keep_secrets(kept["mask"].text if kept["mask"] else None)
        if not run(server, at):
            raise ConfigError("The server did not start; the lines above say why.")
        here.tell("Stopped: what was accepted is finished, and what streams learned is saved.", "green")


def check_declared(models: Mapping[str, Served], mask: Masker | None) -> None:
    """ConfigError for a personal column that no model reads: misspelt, it would be kept as it is."""
    from aet.serving.cells import known_columns

    known = {name for served in models.values() for name in known_columns(served.model.schema)}
    for name in mask.columns if mask else ():
        if name not in known:
            raise ConfigError(
                f"No model reads the column {name!r} that is declared as personal. {nearest(name, known)}"
            )
