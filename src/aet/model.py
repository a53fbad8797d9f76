"""The model: inputs, trunk and output as one PyTorch module that also reads tables, saves and loads itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aet.attention.state import ElasticState, applied, elastic_modules, name_elastic
from aet.batch import Batch
from aet.config import Config
from aet.errors import ConfigError, DataError
from aet.inputs import INPUTS, Input
from aet.outputs import OUTPUTS, Output
from aet.roles import SeenIds
from aet.rows import Checked, check_rows
from aet.schema import Schema
from aet.statistics import SourceStatistics
from aet.tables import iter_tables, read_table
from aet.trunk import Trunk

if TYPE_CHECKING:
    from aet.adaptation.stream import Stream

TOKENS = 32_768
"""Tokens that pass through the network at once when predicting: bounds the memory, however many columns there are."""


class Model(nn.Module):
    """Made by `aet.train` or `aet.load`.

    `model(batch)` is PyTorch's contract (logits); `predict`, `evaluate`, `save` and `stream` take tables.
    """

    statistics: SourceStatistics | None = None

    def __init__(self, schema: Schema, config: Config) -> None:
        super().__init__()
        self.schema, self.config = schema, config
        self.report: dict[str, Any] = {}
        kinds = dict.fromkeys(spec.kind for spec in schema.inputs)
        self.inputs = nn.ModuleDict()
        for kind in kinds:
            bundles = INPUTS[kind].bundle([spec for spec in schema.inputs if spec.kind == kind])
            for number, specs in enumerate(bundles):
                self.inputs[f"{kind}{number}"] = INPUTS[kind](specs, config.model.dim)
        self.output: Output = OUTPUTS[schema.output].of(schema, config.model.dim)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def parts(self) -> Iterator[tuple[str, Input]]:
        """Inputs by name."""
        for name, part in self.inputs.items():
            assert isinstance(part, Input)
            yield name, part

    def fit_columns(self, frame: pd.DataFrame) -> Model:
        """Learn scales, vocabularies and classes from checked training rows, then make the weights."""
        for kind in self.config.inputs:
            INPUTS[kind]  # a kind that does not exist is an error, one without columns here is none
        for _, part in self.parts():
            part.fit(frame, self.config.inputs.get(part.kind, {}))
        self.output.fit(frame, self.config.output)
        return self.build()

    def build(self) -> Model:
        """Make the weights, once every size is known."""
        for _, part in self.parts():
            part.build()
        self.output.build()
        settings = self.config.model
        self.trunk = Trunk(settings.dim, settings.depth, settings.heads, settings.expansion, settings.dropout)
        return name_elastic(self)

    def token_names(self) -> list[str]:
        """One name a token, in the trunk's order."""
        return [name for _, part in self.parts() for name in part.token_names()]

    def encode(self, frame: pd.DataFrame, target: bool = False) -> Batch:
        """Checked rows as a batch on the CPU."""
        weight = self.schema.weight
        return Batch(
            values={name: part.encode(frame) for name, part in self.parts()},
            target=self.output.encode(frame) if target else None,
            weight=torch.tensor(frame[weight].to_numpy(np.float32)) if weight and weight in frame else None,
        )

    def tokens(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Tokens (B, T, dim) of all inputs and mask (B, T), None where every token is real."""
        pairs = [part(batch.values[name]) for name, part in self.parts()]
        tokens = torch.cat([tokens for tokens, _ in pairs], 1)
        if all(mask is None for _, mask in pairs):
            return tokens, None
        masks = [tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if m is None else m for tokens, m in pairs]
        return tokens, torch.cat(masks, 1)

    def forward(self, batch: Batch, taps: list[Tensor] | None = None) -> Tensor:
        """Logits (B, width); `taps` collects activations as in `Trunk.forward`."""
        tokens, mask = self.tokens(batch)
        logits: Tensor = self.output(self.trunk(tokens, mask, taps))
        return logits

    @torch.no_grad()
    def logits(self, batch: Batch, rows: int | None = None) -> Tensor:
        """Logits of any number of rows, in evaluation mode, `rows` at a time (or `TOKENS` tokens); back on the CPU.

        Of an active state in its batched form each row takes its own; raises ConfigError if there is not one a row.
        """
        rows = rows or max(1, TOKENS // len(self.token_names()))
        states = self.row_states(len(batch))
        training, pieces = self.training, []
        self.eval()
        for index in torch.arange(len(batch)).split(rows):
            with nullcontext() if states is None else applied(states.rows(index)):
                pieces.append(self(batch[index].to(self.device)).cpu())
        self.train(training)
        return torch.cat(pieces) if pieces else torch.empty(0, self.output.width)

    def row_states(self, rows: int) -> ElasticState | None:
        """The active state if it is batched, one state a row; None if all rows share one or are the source's."""
        dials, batched = {}, {}
        for part in elastic_modules(self):
            shapes = part.dial_shapes()
            for dial, tensor in part.dials().items():
                name = f"{part.elastic_name}.{dial}"
                dials[name] = tensor.expand(rows, *shapes[dial]) if tensor.ndim == len(shapes[dial]) else tensor
                if tensor.ndim > len(shapes[dial]):
                    batched[name] = len(tensor)
        if not batched or set(batched.values()) == {1}:
            return None
        for name, count in batched.items():
            if count != rows:
                raise ConfigError(
                    f"A batched state holds one state a row: expected {rows}, got {count} in {name}. Choose each row's "
                    "state with `states.rows(index)`, or apply a single state to all rows."
                )
        return ElasticState(dials)

    def check(
        self, frame: pd.DataFrame, need_target: bool = False, first: int = 1, seen: SeenIds | None = None
    ) -> Checked:
        """Good rows, typed, and the problems of the others; arguments as in `aet.rows.check_rows`."""
        return check_rows(frame, self.schema, need_target=need_target, first=first, seen=seen)

    def predict(self, source: Any, proba: bool = False) -> pd.DataFrame:
        """One answer a row, in order: id, prediction, confidence, problem (and `p_{class}` columns with `proba`).

        A row that cannot be used has no prediction; its `problem` says why. Files are read in pieces, so that memory
        stays bounded; `predict_iter` gives the pieces.
        """
        return pd.concat(list(self.predict_iter(source, proba)), ignore_index=True)

    def predict_iter(self, source: Any, proba: bool = False, rows: int = 8192) -> Iterator[pd.DataFrame]:
        """`predict`, piece by piece.

        An id given twice is found in any piece, as long as `aet.roles.LIMIT` rows (a million) or fewer lie between.
        """
        start, seen = 0, SeenIds()
        for frame in self.pieces(source, rows):
            checked = self.check(frame, first=start + 1, seen=seen)
            answers = self.output.answers(self.logits(self.encode(checked.frame)), proba)
            yield answer_frame(checked, answers, self.ids(checked, start, len(frame)), len(frame))
            start += len(frame)

    def pieces(self, source: Any, rows: int) -> Iterator[pd.DataFrame]:
        """A table in pieces, read as the training data were; a table in memory without rows is one empty piece."""
        if hasattr(source, "to_pandas") and hasattr(source, "__len__") and not len(source):
            source = source.to_pandas()  # polars, Arrow, Hugging Face
        if isinstance(source, pd.DataFrame) and not len(source):
            return iter([source.set_axis(source.columns.map(str), axis="columns")])
        return iter_tables(source, rows=rows, header=self.config.data.get("header", "infer"))

    def ids(self, checked: Checked, start: int, rows: int) -> np.ndarray:
        """The declared id of each row, else a counter from `start`; None for rows kept aside."""
        ids = np.empty(rows, dtype=object)
        if self.schema.id is None:
            ids[:] = range(start, start + rows)
        elif self.schema.id in checked.frame:
            ids[checked.kept] = checked.frame[self.schema.id].to_numpy(object)
        return ids

    def evaluate(self, source: Any) -> dict[str, float]:
        """Metrics on rows with true answers.

        Rows without one, or that cannot be used, are counted as `left_out`; those of a class that the model does not
        know as `unknown`. Raises DataError if no row is left.
        """
        checked = self.check(read_table(source, header=self.config.data.get("header", "infer")), need_target=True)
        target, known = self.output.encode_known(checked.frame)
        if not known.any():
            raise DataError(
                f"No row of {len(known)} has an answer that this model can give. Is {', '.join(self.schema.targets)!r} "
                "what it was trained on?"
            )
        metrics = self.output.metrics(self.logits(self.encode(checked.frame[known])), target)
        counts = {"rows": known.sum(), "left_out": len(checked.problems), "unknown": (~known).sum()}
        return {**metrics, **{name: float(count) for name, count in counts.items()}}

    def stream(self, **settings: Any) -> Stream:
        """A deployed flow of rows with its own elastic state; arguments as in `aet.adaptation.stream.Stream`."""
        from aet.adaptation.stream import Stream

        return Stream(self, **settings)

    def save(self, folder: str | Path) -> Path:
        """Write the run folder."""
        from aet.run import save_model

        return save_model(self, Path(folder))

    def known_statistics(self) -> SourceStatistics:
        """The source statistics; raises DataError for a model that has none."""
        if self.statistics is None:
            raise DataError("This model has no source statistics. Train it with aet.train, or gather them first.")
        return self.statistics


def answer_frame(checked: Checked, answers: pd.DataFrame, ids: Sequence[Any] | np.ndarray, rows: int) -> pd.DataFrame:
    """Answers of the good rows spread over all rows, with `id` before and `problem` after them."""
    spread = answers.set_index(pd.Index(checked.kept)).reindex(range(rows))
    if "prediction" in spread and spread["prediction"].dtype == object:
        spread["prediction"] = spread["prediction"].where(spread["prediction"].notna(), None)
    # Objects, so that what is missing is None in every piece, and null in JSON.
    problem = pd.Series([checked.problems.get(row) for row in range(rows)], dtype=object, name="problem")
    return pd.concat([pd.Series(ids, dtype=object, name="id"), spread, problem], axis=1)
