"""The Open Inference Protocol, version 2: health, metadata and inference, for clients that speak it.

One tensor a column, each (rows,) or (rows, 1); answers come back the same way. `parameters.stream` names the stream.
https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field, JsonValue

from aet.cells import CELLS
from aet.errors import DataError
from aet.schema import Schema
from aet.serving.asks import Answers, Ask
from aet.serving.batching import Batcher
from aet.serving.forms import ROWS, Column, Form, Name
from aet.serving.guarding import need
from aet.serving.keys import Caller, owner_of
from aet.serving.limits import Limits
from aet.serving.metrics import Metrics
from aet.serving.service import Service

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]
Reads = Annotated[Caller, Depends(need("predict"))]
Json = dict[str, Any]


class Tensor(Form):
    """A column of the rows."""

    name: Column
    shape: Annotated[list[Annotated[int, Field(ge=0, le=1_000_000)]], Field(min_length=1, max_length=4)]
    datatype: Datatype
    data: list[JsonValue]
    parameters: dict[str, JsonValue] | None = None


class Wanted(Form):
    """An output to give."""

    name: Column
    parameters: dict[str, JsonValue] | None = None


class Parameters(Form):
    """What aet understands; rows without a stream go to "default", of several models to one by the model's name."""

    stream: Name | None = None
    owner: str | None = None


class Infer(Form):
    """A request for inference."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        strict=True,
        json_schema_extra={
            "example": {
                "id": "42",
                "parameters": {"stream": "site-7"},
                "inputs": [{"name": "s00", "shape": [2], "datatype": "FP64", "data": [1.2, 0.4]}],
            }
        },
    )

    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=10_000)]
    id: Annotated[str, Field(max_length=200)] | None = None
    outputs: list[Wanted] | None = None
    parameters: Parameters = Parameters()


def rows_of(form: Infer) -> list[dict[str, Any]]:
    """Tensors as rows; raises DataError for shapes that do not fit."""
    columns = {}
    for tensor in form.inputs:
        rows, *rest = tensor.shape
        size = 1
        for axis in rest:
            size *= axis
        if tensor.name in columns:
            raise DataError(f"The input {tensor.name[:80]!r} comes twice. Send each column once.")
        nested = len(tensor.data) == rows and size != 1 and all(isinstance(value, list) for value in tensor.data)
        if not nested and (size != 1 or len(tensor.data) != rows):
            raise DataError(
                f"The input {tensor.name[:80]!r} has shape {tensor.shape} and {len(tensor.data)} values: expected one "
                "value a row, or for images nested lists, one a row."
            )
        columns[tensor.name] = [flat(value) for value in tensor.data] if not nested else tensor.data
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or not 1 <= max(lengths) <= ROWS:
        raise DataError(f"The inputs have {sorted(lengths)} rows: expected the same number, 1 to {ROWS:,}, in each.")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def flat(value: Any) -> Any:
    """The only value of a row written as (rows, 1)."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def tensors(answers: Answers, wanted: list[Wanted] | None) -> list[dict[str, Any]]:
    """Answers as tensors, those wanted; raises DataError for one that there is not."""
    names = list(answers.rows[0])
    chosen = names if wanted is None else [one.name for one in wanted]
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise DataError(f"There is no output {unknown[0][:80]!r}. Known: {', '.join(names)}.")
    made = []
    for name in chosen:
        values = [row[name] for row in answers.rows]
        kind = "BYTES"
        if all(type(value) is int for value in values):
            kind = "INT64"
        elif all(type(value) in (int, float) for value in values):
            kind = "FP64"
        made.append({"name": name, "shape": [len(values)], "datatype": kind, "data": values})
    return made


def metadata(schema: Schema) -> list[dict[str, Any]]:
    """The inputs of a model, and the column that names its rows."""
    columns = {column: CELLS[spec.kind].datatype for spec in schema.inputs for column in spec.columns}
    columns |= {schema.id: "BYTES"} if schema.id else {}
    return [{"name": column, "datatype": datatype, "shape": [-1]} for column, datatype in columns.items()]


def inference(service: Service, batcher: Batcher, limits: Limits, metrics: Metrics) -> APIRouter:
    """The routes under /v2; health needs no key."""
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])

    @router.get("/health/live")
    async def live() -> Json:
        """Whether the process answers."""
        return {"live": True}

    @router.get("/health/ready")
    async def ready(request: Request) -> Response:
        """Whether rows are taken."""
        is_ready = bool(request.app.state.ready) and not batcher.stopping
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    @router.get("")
    async def server(caller: Reads) -> Json:
        """What this server is."""
        import aet

        return {"name": "aet", "version": aet.__version__, "extensions": []}

    def described(name: str, version: str | None = None) -> Json:
        served = service.model(name, version)
        outputs = [{"name": "prediction", "datatype": "BYTES", "shape": [-1]}]
        outputs.append({"name": "confidence", "datatype": "FP64", "shape": [-1]})
        return {
            "name": served.name,
            "versions": [one.version for one in served.all],
            "platform": "aet",
            "inputs": metadata(served.model.schema),
            "outputs": outputs,
        }

    async def infer(name: str, version: str | None, form: Infer, caller: Caller) -> Json:
        served, rows = service.model(name, version), rows_of(form)
        owner = owner_of(caller, form.parameters.owner)
        stream = form.parameters.stream or ("default" if len(service.models) == 1 else served.name)
        limits.request(caller, len(rows))
        limits.share(caller, stream, len(rows))
        found = await batcher.predict(Ask(owner, stream, rows, served.name))
        metrics.answered(found.rows)
        said: Json = {"model_name": served.name, "model_version": found.version}
        if form.id is not None:
            said["id"] = form.id
        return {**said, "outputs": tensors(found, form.outputs)}

    @router.get("/models/{name}")
    async def model(name: Name, caller: Reads) -> Json:
        """What a model takes and gives."""
        return described(name)

    @router.get("/models/{name}/versions/{version}")
    async def model_version(name: Name, version: Name, caller: Reads) -> Json:
        """What a version takes and gives."""
        return described(name, version)

    @router.get("/models/{name}/ready")
    async def model_ready(name: Name, caller: Reads) -> Json:
        """Whether the model answers."""
        return {"name": service.model(name).name, "ready": True}

    @router.get("/models/{name}/versions/{version}/ready")
    async def version_ready(name: Name, version: Name, caller: Reads) -> Json:
        """Whether the version answers."""
        return {"name": service.model(name, version).name, "ready": True}

    @router.post("/models/{name}/infer")
    async def infer_model(name: Name, form: Infer, caller: Reads) -> Json:
        """Answer rows."""
        return await infer(name, None, form, caller)

    @router.post("/models/{name}/versions/{version}/infer")
    async def infer_version(name: Name, version: Name, form: Infer, caller: Reads) -> Json:
        """Answer rows by a version."""
        return await infer(name, version, form, caller)

    return router
