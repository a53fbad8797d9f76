"""What requests and answers look like: typed, with nothing extra, and with examples."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from aet.serving.store import Label

ROWS = 10_000
"""Rows, or labels, of one request."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
"""Of a stream or a model."""
Id = Annotated[int, Field(ge=-(2**63), lt=2**63)] | Annotated[str, StringConstraints(max_length=150)] | float
"""Of a row, as its answer had it."""
Column = Annotated[str, StringConstraints(max_length=1000)]
Cell = str | bool | int | float | None | list[JsonValue]


class Form(BaseModel):
    """Base of all bodies: what is not named here is refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


def example(**given: Any) -> ConfigDict:
    """A form's settings with an example for the page of the API."""
    return ConfigDict(extra="forbid", allow_inf_nan=False, strict=True, json_schema_extra={"example": given})


class Predict(Form):
    """Rows to answer."""

    model_config = example(stream="site-7", rows=[{"s00": 1.2, "s01": 0.4}])

    rows: Annotated[list[dict[Column, Cell]], Field(min_length=1, max_length=ROWS)]
    stream: Name = "default"
    model: Name | None = None
    proba: bool = False
    owner: str | None = None


class Predicted(BaseModel):
    """One answer a row, in order; `problem` says why a row has none."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "gas",
                "version": "1",
                "stream": "site-7",
                "answers": [
                    {"id": 1, "prediction": "ethanol", "confidence": 0.93, "served_by": "source", "problem": None}
                ],
            }
        }
    )

    model: str
    version: str
    stream: str
    answers: list[dict[str, Any]]


class Truth(Form):
    """A true answer that came late."""

    id: Id
    label: str | bool | int | float | list[JsonValue] | dict[str, JsonValue]

    def line(self, at_random: bool) -> Label:
        """As the store takes it."""
        return Label(self.id, self.label, at_random)


class Feedback(Form):
    """Labels for rows that a stream answered."""

    model_config = example(stream="site-7", labels=[{"id": 1, "label": "acetone"}])

    labels: Annotated[list[Truth], Field(min_length=1, max_length=ROWS)]
    stream: Name = "default"
    at_random: bool = False
    wait: bool = False
    """Answer only once the stream has learned them; they are kept either way."""
    owner: str | None = None


class Taken(BaseModel):
    """How many labels were written down, and whether they are learned already."""

    stream: str
    kept: int
    learned: bool


class AskFor(Form):
    """How many rows to ask labels for, among the newest."""

    model_config = example(stream="site-7", count=16)

    stream: Name = "default"
    count: Annotated[int, Field(ge=0, le=512)] = 16
    newest: Annotated[int, Field(ge=1, le=1_000_000)] = 2048
    owner: str | None = None


class Asked(BaseModel):
    """Ids of rows that are worth a label."""

    stream: str
    ids: list[int | str | float]


class Create(Form):
    """A new stream; settings are those of `model.stream`."""

    model_config = example(stream="site-7", settings={"guard": "earned", "adapt": "auto"})

    stream: Name
    model: Name | None = None
    settings: dict[Annotated[str, StringConstraints(max_length=40)], str | bool | int | float] = {}
    owner: str | None = None


class Undo(Form):
    """How many changes to take back."""

    model_config = example(steps=1)

    steps: Annotated[int, Field(ge=1, le=64)] = 1


class Fault(BaseModel):
    """What went wrong: a kind to tell apart, and a sentence with the way out."""

    kind: str
    message: str


class Wrong(BaseModel):
    """The body of every refusal."""

    error: Fault
