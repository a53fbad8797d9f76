"""Columns and what they mean: inputs of several kinds, the target, and roles (id, time, until, group, weight, part)."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aet.cells import CELLS, TARGETS
from aet.cells.number import parse_numbers
from aet.errors import SchemaError, nearest
from aet.targets import PARTS, output_kind, target_kinds, told_kind

KINDS = tuple(CELLS)
OUTPUTS = tuple(TARGETS)


class SchemaWarning(UserWarning):
    """A column is left out, or holds nothing."""


@dataclass(frozen=True)
class InputSpec:
    """One input of the model: a column, or several numeric columns read as one token.

    >>> InputSpec("s00", "number", ("c2", "c3")).columns
    ('c2', 'c3')
    """

    name: str
    kind: str
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SchemaError(f"Input {self.name!r}: no kind {self.kind!r}. {nearest(self.kind, KINDS)}")
        if not self.columns or (len(self.columns) > 1 and not CELLS[self.kind].grouped):
            raise SchemaError(
                f"Input {self.name!r} of kind {self.kind!r} has {len(self.columns)} columns: expected one "
                "or several numeric ones. Make an input of each."
            )


@dataclass(frozen=True)
class Schema:
    """What the columns of a table are to a model; made by `infer`, kept as JSON by `to_dict`.

    `output` is "label" (one class a row), "multilabel" (several 0/1 columns), "number", or "several": targets each with
    its own of the `target_kinds` "label" and "number", "tags" (one BIO tag for each word of an input of words), or
    "sequence" (a text).

    >>> schema = Schema((InputSpec("age", "number", ("age",)),), ("risk",), "label", id="uid")
    >>> Schema.from_dict(schema.to_dict()) == schema
    True
    >>> print(schema.describe())
    role    name  kind    columns
    input   age   number  age
    target  risk  label   risk
    id      uid           uid
    >>> schema.check(pd.DataFrame({"Age": [41], "uid": [7]}), need_target=False)
    Traceback (most recent call last):
    aet.errors.SchemaError: Missing columns: 'age' ('Age' is new: renamed?). New columns: 'Age'. ...
    """

    inputs: tuple[InputSpec, ...]
    targets: tuple[str, ...]
    output: str
    id: str | None = None
    time: str | None = None
    group: str | None = None
    weight: str | None = None
    ignored: tuple[str, ...] = ()
    target_kinds: tuple[str, ...] = ()
    until: str | None = None
    part: str | None = None

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise SchemaError(f"The output {self.output!r} is unknown. {nearest(self.output, OUTPUTS)}")
        if not self.targets or (len(self.targets) > 1) != TARGETS[self.output].several:
            joint = " and ".join(repr(kind) for kind in OUTPUTS if TARGETS[kind].several)
            raise SchemaError(
                f"The output {self.output!r} has {len(self.targets)} targets: expected two or more for "
                f"{joint}, one otherwise. Name others."
            )
        wrong = [kind for kind in self.target_kinds if kind not in PARTS]
        if wrong or len(self.target_kinds) != len(self.targets) * (self.output == "several"):
            raise SchemaError(
                f"The {len(self.targets)} targets of the output {self.output!r} have kinds {list(self.target_kinds)}: "
                f"expected one of {', '.join(PARTS)} for each target of 'several', none otherwise. Mend the schema."
            )
        reads = TARGETS[self.output].reads
        read = [spec.name for spec in self.inputs if spec.kind == reads]
        if reads and len(read) != 1:
            raise SchemaError(
                f"The output {self.output!r} speaks of one input: expected one of kind {reads!r}, got "
                f"{', '.join(read) or 'none'}. Give such a column, or say which it is, as in "
                f"kinds={{'column': {reads!r}}}; ignore=... leaves further ones out."
            )
        _once([*self.input_columns, *self.targets, *self.roles.values(), *self.ignored], "column")
        _once([spec.name for spec in self.inputs], "input name")

    @property
    def target(self) -> str:
        """The first (for most outputs the only) target column."""
        return self.targets[0]

    def kind_of(self, target: str) -> str:
        """The kind of output that a target has."""
        kinds = self.target_kinds or TARGETS[self.output].parts
        return kinds[self.targets.index(target)] if kinds else self.output

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The columns of all inputs, in the order of the inputs."""
        return tuple(column for spec in self.inputs for column in spec.columns)

    @property
    def roles(self) -> dict[str, str]:
        """The declared roles among id, time, until, group, weight and part, each with its column."""
        names = ("id", "time", "until", "group", "weight", "part")
        roles: dict[str, str | None] = {name: getattr(self, name) for name in names}
        return {role: column for role, column in roles.items() if column is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts and texts, ready for JSON."""
        plain = asdict(self)
        inputs = [{**spec, "columns": list(spec["columns"])} for spec in plain["inputs"]]
        del plain["target_kinds"], plain["part"]
        kinds: dict[str, Any] = {"target_kinds": list(self.target_kinds)} if self.target_kinds else {}
        kinds |= {"part": self.part} if self.part else {}
        return {**plain, "inputs": inputs, "targets": list(self.targets), "ignored": list(self.ignored), **kinds}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Schema:
        """The schema that `to_dict` wrote; `SchemaError` if the dict is none."""
        try:
            fields = {**d}
            inputs = [InputSpec(s["name"], s["kind"], tuple(s["columns"])) for s in fields.pop("inputs")]
            targets, ignored = tuple(fields.pop("targets")), tuple(fields.pop("ignored", ()))
            kinds = tuple(fields.pop("target_kinds", ()))
            return cls(tuple(inputs), targets, ignored=ignored, target_kinds=kinds, **fields)
        except (KeyError, TypeError) as error:
            raise SchemaError(
                f"No schema ({error}): expected what Schema.to_dict() gives, with inputs, targets, output."
            ) from error

    def describe(self) -> str:
        """A table for people: role, name, kind and columns, one line each."""
        lines = [("role", "name", "kind", "columns")]
        for spec in self.inputs:
            many = f"{len(spec.columns)}: {spec.columns[0]} ... {spec.columns[-1]}"
            lines.append(("input", spec.name, spec.kind, many if len(spec.columns) > 1 else spec.columns[0]))
        lines += [("target", target, self.kind_of(target), target) for target in self.targets]
        lines += [(role, column, "", column) for role, column in self.roles.items()]
        lines += [("ignored", column, "", column) for column in self.ignored]
        widths = [max(len(line[i]) for line in lines) for i in range(3)]
        padded = [[cell.ljust(w) for cell, w in zip(line, [*widths, 0], strict=True)] for line in lines]
        return "\n".join("  ".join(line).rstrip() for line in padded)

    def check(self, frame: pd.DataFrame, *, need_target: bool) -> None:
        """`SchemaError` unless the frame has all inputs and the id, and if needed the targets and the weight.

        Further columns are no error; the message lists them, since a new name may be an old column renamed.
        """
        needed = [*self.input_columns, *([self.id] if self.id else [])]
        if need_target:
            needed += [*self.targets, *([self.weight] if self.weight else [])]
        missing = [column for column in needed if column not in frame.columns]
        if not missing:
            return
        known = {*needed, *self.targets, *self.roles.values(), *self.ignored}
        new = [str(column) for column in frame.columns if column not in known]
        raise SchemaError(
            f"Missing columns: {_listed(_renamed(column, new) for column in missing)}. New columns: "
            f"{_listed(map(repr, new)) or 'none'}. Expected: {_listed(map(repr, needed))}. Rename or add."
        )


def _once(names: Iterable[str], sort: str) -> None:
    if twice := [repr(name) for name, count in Counter(names).items() if count > 1]:
        raise SchemaError(f"The {sort} {_listed(twice)} is used twice. Expected one use of each: drop the other.")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more


def _renamed(column: str, new: Sequence[str]) -> str:
    plain = {re.sub(r"[\W_]", "", name).lower(): name for name in new}
    close = get_close_matches(re.sub(r"[\W_]", "", column).lower(), plain, n=1)
    return f"{column!r} ({plain[close[0]]!r} is new: renamed?)" if close else repr(column)


def infer(
    frame: pd.DataFrame,
    target: str | Sequence[str],
    *,
    groups: Mapping[str, str | Sequence[str]] | None = None,
    kinds: Mapping[str, str] | None = None,
    id: str | None = None,
    time: str | None = None,
    group: str | None = None,
    weight: str | None = None,
    until: str | None = None,
    part: str | None = None,
    ignore: Sequence[str] = (),
    output: str | Mapping[str, str] | None = None,
) -> Schema:
    """The schema of a frame: kinds by the rules below unless `kinds` says otherwise.

    Kinds, first rule that fits: no value in any row -> left out; booleans, pandas categories -> category;
    numbers, dates and durations -> number (small whole numbers too; dates become seconds, see `aet.rows`);
    lists of texts -> words; lists of numbers, as JSON texts too -> series; lists of dicts with an
    item -> events; 2-D or 3-D arrays and PIL images ->
    image; pairs of a rate and an array, and dicts of them -> audio; at least 90 % of the cells parse as numbers ->
    number; other objects -> left out; texts that end like image or sound files -> image or audio if such a file
    exists, else left out; more than half of the rows (or 200) distinct and 3 words or more on average -> text; all
    distinct in more than 20 rows -> left out, it looks like an id; else category. Every column left out without
    being told raises a `SchemaWarning` and is listed in `ignored`.

    `until` names the column of the times at which answers are known (see `aet.training.split`).

    `groups` reads several numeric columns as one token: ``{"s00": ["c2", "c3"]}`` or the span ``{"s00":
    "c2:c9"}``, both ends included, by position. `kinds` maps a column to a kind of column (`aet.cells`), or to
    "ignore".

    Output: "sequence", "policy" and "rank" only where told; "several", or a mapping of targets to label or number ->
    several, those not mapped by the rules for one target; a list of 0/1 target columns -> multilabel; lists of texts ->
    tags; lists of numbers -> forecast; texts, booleans, categories with at most 100 classes or as many as half of the
    rows -> label; whole numbers with 2 values, or at most 20 values that repeat (at most half as many as rows) ->
    label; other numbers -> number. Rows without a target are left to `aet.rows`.

    Raises `SchemaError` for names and kinds that do not exist or are used twice, `DataError` for a target
    with one class or none.

    >>> frame = pd.DataFrame({"a": [1.5, 2.0, 0.5], "b": ["x", "y", "x"], "y": ["no", "yes", "no"]})
    >>> print(infer(frame, "y").describe())
    role    name  kind      columns
    input   a     number    a
    input   b     category  b
    target  y     label     y
    """
    names = [str(name) for name in frame.columns]
    frame = frame.set_axis(names, axis="columns")
    _once(names, "column name")
    if not target:
        raise SchemaError(f"No target was named: say target='...'. {nearest('target', names)}")
    targets = (target,) if isinstance(target, str) else tuple(target)
    roles = {"id": id, "time": time, "until": until, "group": group, "weight": weight, "part": part}
    told = {"target": targets, **{role: (column,) for role, column in roles.items() if column is not None}}
    told["ignore"] = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    spans = {name: _span(name, columns, names) for name, columns in (groups or {}).items()}
    kinds = dict(kinds or {})
    for what, columns in {**told, "kinds": tuple(kinds)}.items():
        for column in columns:
            if column not in names:
                raise SchemaError(f"{what}: there is no column {column!r}. {nearest(column, names)}")
    choices = (*KINDS, "ignore")
    for column, kind in kinds.items():
        if kind not in choices:
            raise SchemaError(f"kinds: column {column!r}: no kind {kind!r}. {nearest(kind, choices)}")
    _once([column for each in (*told.values(), *spans.values(), kinds) for column in each], "column")
    grouped = {column: name for name, columns in spans.items() for column in columns}
    if clash := [name for name in spans if name in names and name not in spans[name]]:
        raise SchemaError(f"groups: {clash[0]!r} is a column too. Expected a new name: rename the group.")

    answers = output if isinstance(output, str) else None if output else told_kind(frame, targets)
    read = TARGETS[answers].reads if answers is not None and answers in TARGETS else None
    taken = {column for columns in told.values() for column in columns}
    ignored = list(told["ignore"])
    inputs: dict[str, InputSpec] = {}
    for column in [name for name in names if name not in taken]:
        if column in grouped:
            _numeric_or_raise(frame[column], grouped[column])
            inputs[grouped[column]] = InputSpec(grouped[column], "number", spans[grouped[column]])
            continue
        found, reason = (kinds[column], "") if column in kinds else _kind(frame[column])
        if found is not None and found in CELLS and not (CELLS[found].by_itself or column in kinds or found == read):
            found, reason = None, f"it holds {found}, which are read where the target speaks of each of them"
        if found in KINDS:
            inputs[column] = InputSpec(column, found, (column,))
            continue
        ignored.append(column)
        if reason:
            way = f"kinds={{{column!r}: ...}} gives it a kind, or 'ignore' to silence this."
            warnings.warn(f"Column {column!r} is left out: {reason}; {way}", SchemaWarning, stacklevel=2)
    if not inputs:
        raise SchemaError(
            f"No input is left, left out are {_listed(map(repr, ignored)) or 'none'}. Expected a column to "
            "learn from. Give one a kind, for example kinds={'name': 'category'}."
        )
    kinds_of: tuple[str, ...] = ()
    if output == "several" or isinstance(output, Mapping):
        output, kinds_of = "several", target_kinds(frame, targets, output if isinstance(output, Mapping) else {})
    output = output or output_kind(frame, targets)
    left_out = tuple(column for column in names if column in ignored)
    schema = Schema(tuple(inputs.values()), targets, output, id, time, group, weight, left_out, kinds_of, until, part)
    TARGETS[output].learnable(frame, targets)
    return schema


def _span(name: str, columns: str | Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The columns of a group: a list of names or spans, a span "first:last", or one name."""
    found: list[str] = []
    for part in [columns] if isinstance(columns, str) else columns:
        cuts = [(part[:i], part[i + 1 :]) for i, mark in enumerate(part) if mark == ":"]
        ends = [(a, b) for a, b in cuts if a in names and b in names]
        if part in names:
            found.append(part)
        elif ends:
            start, stop = (names.index(end) for end in ends[0])
            if start > stop:
                raise SchemaError(f"groups: {name!r}: the span {part!r} runs backwards. Swap its two ends.")
            found += names[start : stop + 1]
        else:
            wrong = next((end for end in part.split(":") if end not in names), part)
            raise SchemaError(f"groups: {name!r}: there is no column {wrong!r}. {nearest(wrong, names)}")
    if not found:
        raise SchemaError(f"groups: {name!r} has no column. Expected a list of names, or a span as 'c2:c9'.")
    return tuple(found)


def _numeric_or_raise(column: pd.Series[Any], group: str) -> None:
    filled = column[column.notna()]
    wrong = parse_numbers(filled)[1]
    where = f"groups: {group!r}: column {column.name!r}"
    if filled.empty:
        warnings.warn(f"{where} has no value in any row.", SchemaWarning, stacklevel=3)
    elif wrong.mean() > 0.1:
        example = f"{filled.iloc[int(wrong.argmax())]!r:.60}"
        raise SchemaError(f"{where}: expected numbers, got {example}. Take the column out of the group.")


def _kind(column: pd.Series[Any]) -> tuple[str | None, str]:
    """The kind of a column, or None and why it has none."""
    filled = column[column.notna()]
    if filled.empty:
        return None, "it has no value in any row"
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(column.dtype):
        return "category", ""
    if column.dtype.kind in "iufmM":
        return "number", ""
    if told := [kind for kind in CELLS if CELLS[kind].recognises(filled)]:
        return told[0], ""
    head = list(filled.iloc[:100])
    values, wrong = parse_numbers(filled)
    if np.isnan(values[~wrong]).all() and not wrong.any():
        return None, "it has no value in any row"
    flags = np.array([str(cell).lower() in ("true", "false") for cell in filled[~wrong]], dtype=bool)
    if wrong.sum() + flags.sum() <= 0.1 * len(filled):
        return "number", ""
    if odd := [cell for cell in head if not isinstance(cell, str | int | float | np.generic | Path)]:
        return None, f"it holds objects of type {type(odd[0]).__name__}, not one value a cell"
    return _text_kind(filled.map(str))


def _text_kind(texts: pd.Series[Any]) -> tuple[str | None, str]:
    example = f"{texts.iloc[0]!r:.60}"
    for kind in (kind for kind in CELLS if CELLS[kind].endings):
        if np.mean([text.lower().endswith(CELLS[kind].endings) for text in texts]) >= 0.9:
            if any(Path(text).is_file() for text in texts.iloc[:20]):
                return kind, ""
            return None, f"its cells look like {kind} files, but {texts.iloc[0]!r} and others are not there"
    distinct = texts.nunique()
    words = np.mean([len(text.split()) for text in texts.iloc[:1000]])
    if distinct > min(len(texts) / 2, 200) and words >= 3:
        return "text", ""
    if distinct == len(texts) > 20:
        return (
            None,
            f"each row has another value, such as {example}, so it looks like an id (or unread dates)",
        )
    return "category", ""
