"""Bodies that nobody should send, to a server that must answer them all: part of `serving.py`.

Truncated and deeply nested JSON, numbers beyond every float, other types, NUL bytes, half surrogate pairs, names given
twice, other content types, bytes that are no text: each a mutation, drawn by the seed, of a well-formed request.
"""

from __future__ import annotations

import http.client
import json
import random
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from serving_load import drift, resident

WARM, EVERY = 0.3, 100
"""Share of the bodies before memory counts, and bodies between two looks at it."""
KEEP = 50
"""Rows that the stream keeps: its windows are full before memory counts."""
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 10**400, 1e308, -0.0, "", "NaN", "1e999", "\0", "\ud800", "é" * 5000,
    [], {}, [[[]]], {"": 1},
)  # fmt: skip
RAW = (b"1e999", b"-1e999", b"NaN", b"Infinity", b"1" * 5000, b'"\\ud800"', b'"\\u0000"', b'"\xed\xa0\x80"', b"\x00")
TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "")

Draw = random.Random


def well_formed(row: dict[str, float]) -> list[tuple[str, dict[str, Any]]]:
    """Requests as they should be."""
    tensors = [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in row.items()]
    return [
        ("/predict", {"stream": "f", "rows": [row]}),
        ("/feedback", {"stream": "f", "labels": [{"id": 0, "label": "a"}]}),
        ("/ask", {"stream": "f", "count": 2}),
        ("/v2/models/m/infer", {"inputs": tensors, "parameters": {"stream": "f"}}),
    ]


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each part of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(found for name, part in inner for found in places(part, (*way, name)))]


def put(value: Any, way: tuple[Any, ...], part: Any) -> Any:
    """A copy with another part at a place."""
    if not way:
        return part
    copy = value.copy()
    copy[way[0]] = put(value[way[0]], way[1:], part)
    return copy


def other_part(draw: Draw, said: Any) -> bytes:
    """Another type or number somewhere."""
    return json.dumps(put(said, draw.choice(places(said)), draw.choice(ODD))).encode()


def raw_part(draw: Draw, said: Any) -> bytes:
    """Bytes that Python's own JSON would never write, somewhere."""
    return json.dumps(put(said, draw.choice(places(said)), "@@")).encode().replace(b'"@@"', draw.choice(RAW))


def truncated(draw: Draw, said: Any) -> bytes:
    """It ends in the middle."""
    whole = json.dumps(said).encode()
    return whole[: draw.randrange(len(whole))]


def nested(draw: Draw, said: Any) -> bytes:
    """Brackets within brackets."""
    deep = draw.choice((10, 31, 33, 1000, 50_000))
    inner = draw.choice((b"[" * deep + b"]" * deep, b'{"a":' * deep + b"1" + b"}" * deep, b"[" * deep))
    return json.dumps(put(said, draw.choice(places(said)), "@@")).encode().replace(b'"@@"', inner)


def doubled(draw: Draw, said: Any) -> bytes:
    """A name given twice."""
    name = draw.choice(list(said))
    return json.dumps(said).encode()[:-1] + f', "{name}": {json.dumps(draw.choice(ODD))}}}'.encode()


def renamed(draw: Draw, said: Any) -> bytes:
    """A name too many, or one too few."""
    name = draw.choice(list(said))
    kept = {key: value for key, value in said.items() if key != name}
    return json.dumps(kept if draw.random() < 0.5 else {**said, draw.choice(("", "x" * 3000, "\ud800")): 1}).encode()


def noise(draw: Draw, said: Any) -> bytes:
    """Some bytes changed, or no text at all."""
    body = bytearray(json.dumps(said).encode() if draw.random() < 0.7 else draw.randbytes(200))
    for _ in range(draw.randrange(1, 6)):
        body[draw.randrange(len(body))] = draw.randrange(256)
    return bytes(body)


def whole(draw: Draw, said: Any) -> bytes:
    """As it should be: with another content type, or to see that the server still answers."""
    return json.dumps(said).encode()


MUTATIONS: tuple[Callable[[Draw, Any], bytes], ...] = (
    other_part, other_part, raw_part, truncated, nested, doubled, renamed, noise, whole,
)  # fmt: skip


def fuzzed(
    process: subprocess.Popen[str], port: int, bodies: int, row: dict[str, float], seed: int
) -> dict[str, float]:
    """Send so many of them: answers by the hundred, those that are faults of the server, and what memory does."""
    draw, requests, statuses = Draw(seed), well_formed(row), Counter[int]()
    to, seen, broken = http.client.HTTPConnection("127.0.0.1", port, timeout=60), [], 0
    stream = {"stream": "f", "settings": {"adapt": "auto", "keep": KEEP}}
    to.request("POST", "/streams", json.dumps(stream), {"content-type": TYPES[0]})
    to.getresponse().read()
    for number in range(bodies):
        path, said = draw.choice(requests)
        body, kind = draw.choice(MUTATIONS)(draw, said), TYPES[0] if draw.random() < 0.8 else draw.choice(TYPES)
        try:
            to.request("POST", path, body, {"content-type": kind} if kind else {})
            answer = to.getresponse()
            answer.read()
            statuses[answer.status] += 1
        except (OSError, http.client.HTTPException):  # counted; a server that died answers none of those that follow
            broken += 1
            to.close()
        if number >= WARM * bodies and number % EVERY == 0:
            seen.append((number / 1000, resident(process.pid)))
    to.close()
    slope, error = drift(np.array(seen))
    by_class = {f"answers {kind}xx": sum(n for s, n in statuses.items() if s // 100 == kind) for kind in (2, 4, 5)}
    return {
        **by_class,
        "no answer": broken,
        "crashed": float(process.poll() is not None),
        "MB a 1,000 bodies": slope,
        "standard error of that": error,
    }
