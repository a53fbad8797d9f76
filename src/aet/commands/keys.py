"""`aet keys`: who may call a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aet.commands.options import Json
from aet.commands.session import session
from aet.errors import ConfigError
from aet.optional import optional

if TYPE_CHECKING:
    from aet.serving.keys import Keys

keys = typer.Typer(help="Make, list and revoke the API keys of a server.", no_args_is_help=True)
Store = Annotated[
    str | None,
    typer.Option(
        metavar="URL", envvar="AET_STORE", help="Store of the server: a file or postgresql://...", show_default=False
    ),
]


@keys.command(epilog="Example: aet keys add --role feedback --owner acme --store runs/gas/store.db")
def add(
    role: Annotated[str, typer.Option(help="predict, feedback (predict too) or admin (everything).")] = "predict",
    owner: Annotated[str, typer.Option(help="Whose streams it reaches; keys of one owner share them.")] = "local",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it. It is shown this once: only its hash is kept."""
    with session(as_json) as here, opened(store, make=True) as known:
        made = known.add(role, owner)
        here.give({"name": made.name, "key": made.secret, "role": made.role, "owner": made.owner})
        here.show(made.secret)
        if not as_json:
            here.tell(f"Role {made.role}, owner {made.owner}. Keep it now: it cannot be shown again.")


@keys.command("list", epilog="Example: aet keys list --store runs/gas/store.db")
def show(store: Store = None, as_json: Json = False) -> None:
    """List the keys: names, roles, owners, and when they were made and revoked. Never the keys themselves."""
    with session(as_json) as here, opened(store) as known:
        lines = [vars(key) for key in known.all()]
        here.give({"keys": lines})
        here.show(table(lines))


@keys.command(epilog="Example: aet keys revoke 0123456789ab --store runs/gas/store.db")
def revoke(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The part between aet_ and the next _.", show_default=False)
    ],
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Revoke a key: running servers let it in for some seconds at most."""
    with session(as_json) as here, opened(store) as known:
        from aet.serving.keys import LIFE

        known.revoke(name)
        here.give({"revoked": name, "within_seconds": LIFE})
        here.show(f"Key {name} is revoked; running servers know within {LIFE:g} seconds.")


@contextmanager
def opened(url: str | None, make: bool = False) -> Iterator[Keys]:
    """The keys of a store, which is made if it is not there and `make` says so: else a misspelt name would make one."""
    if not url:
        raise ConfigError(
            "Which store? Give --store, such as runs/gas/store.db, or set AET_STORE. `aet serve` shows its own."
        )
    optional(
        "sqlalchemy", "`aet keys`", "pip install 'attention-elastic-training[serve]'", "serve on this machine only"
    )
    from aet.serving.database import connect
    from aet.serving.keys import Keys
    from aet.serving.store import Store as Opened

    engine = connect(url)
    file = Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None
    if file is not None and not make and not file.is_file():
        raise ConfigError(
            f"There is no store {file}: expected the file of a server, such as runs/gas/store.db. `aet serve` shows "
            "its own; `aet keys add` makes one."
        )
    with Opened(url) as store, store.named():
        yield Keys(store.engine)


def table(lines: list[dict[str, Any]]) -> Any:
    """The keys, a line each."""
    from rich.table import Table

    made = Table("name", "role", "owner", "made", "revoked")
    for line in lines:
        times = [line[name].strftime("%Y-%m-%d %H:%M") if line[name] else "" for name in ("made", "revoked")]
        made.add_row(line["name"], line["role"], line["owner"], *times)
    return made
