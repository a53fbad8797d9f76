"""The app of `aet serve`, mounted in Ray Serve: as many servers as the load needs, over one PostgreSQL database.

    from aet.serving.on_ray import serve_on_ray

    serve_on_ray(["runs/gas"], "postgresql://me@host/aet", most=8)      # http://127.0.0.1:8000

Each replica is a server of its own (`aet.serving.leases` lets them agree). Ray adds replicas while each has more than
`target` requests at a time, and takes them away when they have fewer. It pays on several machines: on one, a single
`aet serve` answers more requests in less memory (docs/serving.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from aet.errors import ConfigError
from aet.optional import optional

EXTRA = "pip install 'attention-elastic-training[serve,scale]'"


def deployment(
    runs: Sequence[str | Path],
    store: str,
    *,
    least: int = 1,
    most: int = 4,
    target: float = 16.0,
    cpus: float = 1.0,
    host: str = "127.0.0.1",
    settings: Mapping[str, Any] | None = None,
) -> Any:
    """An application for `ray.serve.run`.

    Args:
        runs: folders that `aet train` wrote, at the same place on every machine.
        store: PostgreSQL URL; a file only where `most` is 1.
        least: replicas at any time.
        most: replicas under load.
        target: requests at a time that a replica should have.
        cpus: processors that Ray sets aside for a replica.
        host: address at which Ray listens; another than this machine's own needs keys in the store.
        settings: of streams that are made without their own, as `model.stream` takes them.

    Raises ConfigError for a store that replicas cannot share, and for an open address without keys.
    """
    serve = ray_serve()
    if not 1 <= least <= most:
        raise ConfigError(f"Replicas are counted from least to most, 1 or more; got least={least} and most={most}.")
    check(store, most, host)
    build = builder([str(Path(run).resolve()) for run in runs], store, dict(settings or {}), host)
    scaling = {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": target}
    made = serve.deployment(
        name="aet",
        autoscaling_config=scaling,
        max_ongoing_requests=max(64, int(8 * target)),
        ray_actor_options={"num_cpus": cpus},
        graceful_shutdown_timeout_s=60.0,
    )
    return made(serve.ingress(build)()).bind()


def serve_on_ray(
    runs: Sequence[str | Path], store: str, *, host: str = "127.0.0.1", port: int = 8000, **given: Any
) -> str:
    """Deploy on the Ray cluster that this program is part of, or on this machine; the address.

    Other arguments are those of `deployment`.
    """
    serve = ray_serve()
    app = deployment(runs, store, host=host, **given)
    serve.start(http_options={"host": host, "port": port})
    serve.run(app, name="aet", route_prefix="/")
    return f"http://{host}:{port}"


def ray_serve() -> Any:
    """`ray.serve`, or MissingPackage."""
    return optional("ray.serve", "aet.serving.on_ray", EXTRA, "start `aet serve` on each machine")


def check(store: str, most: int, host: str) -> None:
    """What cannot be is said before anything is deployed."""
    from aet.serving.keys import Keys
    from aet.serving.server import is_loopback
    from aet.serving.store import Store

    with Store(store) as opened:
        if opened.lite and most > 1:
            raise ConfigError(
                "A file is of one server, and several replicas would fork its streams: expected a PostgreSQL URL, or "
                f"most=1; got most={most} and the file {opened.engine.url.database}."
            )
        if not is_loopback(host) and not any(key.revoked is None for key in Keys(opened.engine).all()):
            raise ConfigError(
                f"Whoever reaches {host} could do anything: the store holds no key. Make one with `aet keys add --role "
                "admin`, or listen at 127.0.0.1."
            )


def builder(runs: Sequence[str], store: str, settings: dict[str, Any], host: str) -> Callable[[], ASGIApp]:
    """What makes the app where a replica starts: models, threads and connections stay there."""

    def build() -> ASGIApp:
        from aet.personal import Masker
        from aet.serving.app import create_app, protected
        from aet.serving.batching import Batcher
        from aet.serving.headers import LOOPBACK
        from aet.serving.keys import Keys
        from aet.serving.models import load_models
        from aet.serving.service import Service
        from aet.serving.store import Store
        from aet.serving.watches import Watches

        opened = Store(store)
        keys = Keys(opened.engine)
        guarded = any(key.revoked is None for key in keys.all())
        service = Service(
            load_models([Path(run) for run in runs]), opened, settings, mask=Masker(), watches=Watches(opened)
        )
        hosts = () if guarded else (*LOOPBACK, host)
        return protected(create_app(service, Batcher(service)), keys if guarded else None, hosts=hosts)

    return build
