"""A client of `aet serve`: rows in, a frame of answers out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy as np
import pandas as pd

from aet import errors
from aet.errors import AetError
from aet.optional import optional
from aet.rows import memory_frames


class ServerError(AetError):
    """The server refused a request for a reason that has no error of its own here, or could not be reached.

    `kind` is the server's name for it, `status` its HTTP status (0 if it was not reached), `wait` the seconds after
    which it is worth another try, None if waiting does not help.
    """

    def __init__(self, message: str, kind: str = "", status: int = 0, wait: float | None = None) -> None:
        super().__init__(message)
        self.kind, self.status, self.wait = kind, status, wait


class Client:
    """Talks to one server.

    Args:
        url: as `aet serve` said, such as http://127.0.0.1:8000.
        key: from `aet keys add`; none where the server has none.
        seconds: to wait for an answer.
        http: an `httpx.Client` to use in place of a new one.

    Its errors are those of `aet.errors` where the server says so (SchemaError, FeedbackError, ...), else ServerError.

    >>> client = Client("http://127.0.0.1:8000", key="aet_...")
    >>> answers = client.predict([{"s00": 1.2, "s01": 0.4}], stream="site-7")  # doctest: +SKIP
    >>> client.feedback([answers.loc[0, "id"]], ["acetone"], stream="site-7")  # doctest: +SKIP
    """

    def __init__(self, url: str, key: str | None = None, seconds: float = 60.0, http: Any = None) -> None:
        self._httpx = optional(
            "httpx", "aet.client", "pip install 'attention-elastic-training[serve]'", "send the requests yourself"
        )
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = http or self._httpx.Client(base_url=url, timeout=seconds)
        self._http.headers.update(headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def predict(
        self, rows: Any, stream: str = "default", model: str | None = None, proba: bool = False, at_once: int = 1000
    ) -> pd.DataFrame:
        """One answer a row, in order, for a frame, a list of dicts or any other table in memory; sent in pieces."""
        answers: list[dict[str, Any]] = []
        for frame in memory_frames(rows, at_once):
            body = {"rows": cells(frame), "stream": stream, "model": model, "proba": proba}
            answers += self._send("POST", "/predict", body)["answers"]
        return pd.DataFrame(answers)

    def feedback(
        self,
        ids: Sequence[Hashable],
        labels: Sequence[Any],
        stream: str = "default",
        at_random: bool = False,
        wait: bool = False,
    ) -> int:
        """Late labels: how many were taken. They are kept once this returns; with `wait` learned too."""
        if len(ids) != len(labels):
            raise errors.FeedbackError(f"Each id takes one label: got {len(ids)} ids and {len(labels)} labels.")
        given = [{"id": plain(i), "label": plain(label)} for i, label in zip(ids, labels, strict=True)]
        body = {"labels": given, "stream": stream, "at_random": at_random, "wait": wait}
        return int(self._send("POST", "/feedback", body)["kept"])

    def ask(self, count: int = 16, stream: str = "default", newest: int = 2048) -> list[Hashable]:
        """Ids of rows that are worth a label."""
        return list(self._send("POST", "/ask", {"count": count, "stream": stream, "newest": newest})["ids"])

    def streams(self) -> list[dict[str, Any]]:
        """The streams of the key's owner."""
        return list(self._send("GET", "/streams"))

    def create(self, stream: str, model: str | None = None, **settings: Any) -> dict[str, Any]:
        """Make a stream with settings of its own, as `model.stream` takes them."""
        return dict(self._send("POST", "/streams", {"stream": stream, "model": model, "settings": settings}))

    def stream(self, name: str) -> dict[str, Any]:
        """What a stream is now: rows, labels, who serves and why."""
        return dict(self._send("GET", f"/streams/{quote(name, safe='')}"))

    def history(self, name: str, newest: int = 100) -> pd.DataFrame:
        """What adaptation and guard did and why, the newest first."""
        return pd.DataFrame(self._send("GET", f"/streams/{quote(name, safe='')}/history?newest={newest}"))

    def state(self, name: str) -> dict[str, Any]:
        """How far each dial is from the source."""
        return dict(self._send("GET", f"/streams/{quote(name, safe='')}/state"))

    def undo(self, name: str, steps: int = 1) -> dict[str, Any]:
        """Take the last changes back."""
        return dict(self._send("POST", f"/streams/{quote(name, safe='')}/undo", {"steps": steps}))

    def reset(self, name: str) -> dict[str, Any]:
        """Back to the source."""
        return dict(self._send("POST", f"/streams/{quote(name, safe='')}/reset"))

    def forget(self, name: str) -> dict[str, Any]:
        """Forget a stream and all that is of it."""
        return dict(self._send("DELETE", f"/streams/{quote(name, safe='')}"))

    def drift(self, stream: str = "default") -> dict[str, Any]:
        """How far a stream's rows are from those of training, what its watch saw, and what to do."""
        return dict(self._send("GET", f"/drift?stream={quote(stream, safe='')}"))

    def alarms(self) -> list[dict[str, Any]]:
        """Open alarms, the newest first."""
        return list(self._send("GET", "/alarms"))

    def close_alarm(self, number: int) -> dict[str, Any]:
        """An alarm was looked after; needs the role admin."""
        return dict(self._send("POST", f"/alarms/{number}/close"))

    def versions(self, model: str) -> dict[str, Any]:
        """The versions of a model, who answers, and how the shadow does."""
        return dict(self._send("GET", f"/versions/{quote(model, safe='')}"))

    def promote(self, model: str, number: int, reason: str = "") -> dict[str, Any]:
        """Let a version serve; needs the role admin, as all changes of versions. Gives what `versions` gives."""
        return self._version(model, "promote", {"number": number, "reason": reason})

    def rollback(self, model: str, reason: str = "") -> dict[str, Any]:
        """Let the version serve that served before."""
        return self._version(model, "back", {"reason": reason})

    def shadow(self, model: str, number: int | None, reason: str = "") -> dict[str, Any]:
        """Let a version answer unseen; None ends it."""
        return self._version(model, "shadow", {"number": number, "reason": reason})

    def canary(self, model: str, number: int | None, share: float = 0.1, reason: str = "") -> dict[str, Any]:
        """Let a version answer a share of the streams; None ends it."""
        given = {"number": number, "share": share if number is not None else 0.0, "reason": reason}
        return self._version(model, "canary", given)

    def ready(self) -> bool:
        """Whether the server takes rows."""
        try:
            return bool(self._http.get("/v2/health/ready").status_code == 200)
        except self._httpx.TransportError:
            return False

    def _version(self, model: str, act: str, given: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self._send("POST", f"/versions/{quote(model, safe='')}/{act}", given))

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = self._http.request(method, path, json=body)
        except self._httpx.TransportError as error:
            raise ServerError(
                f"The server was not reached ({error or type(error).__name__}). Is it running?"
            ) from error
        if answer.is_success:
            return answer.json()
        raise raised(answer)


def raised(answer: Any) -> AetError:
    """The error that an answer tells of."""
    try:
        told = answer.json()
    except ValueError:
        told = {}
    error = told.get("error", {}) if isinstance(told, dict) else {}
    kind, message = error.get("kind", ""), error.get("message") or told.get("detail") or f"HTTP {answer.status_code}"
    known = getattr(errors, kind, None) if kind else None
    if isinstance(known, type) and issubclass(known, AetError):
        return known(message)
    wait = answer.headers.get("retry-after", "")
    return ServerError(message, kind, answer.status_code, float(wait) if wait.isdigit() else None)


def cells(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON objects; missing cells are null.

    >>> cells(pd.DataFrame({"a": [1.5, float("nan")], "b": ["x", None]}))
    [{'a': 1.5, 'b': 'x'}, {'a': None, 'b': None}]
    """
    columns = {str(name): [plain(value) for value in frame[name]] for name in frame.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def plain(value: Any) -> Any:
    """A cell as JSON knows it; infinite numbers as texts, so that the server names them."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, float) and np.isinf(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool) else str(value)
