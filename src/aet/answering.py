"""Tables in, answers out: what a model and an ensemble of models have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from torch import Tensor

from aet.config import Config
from aet.errors import DataError
from aet.outputs import Output
from aet.roles import SeenIds
from aet.rows import Checked, check_rows
from aet.schema import Schema
from aet.series_windows import table_of
from aet.tables import iter_tables


class Answering:
    """Whatever encodes checked rows and gives their logits can predict and be evaluated."""

    noun: ClassVar[str] = "model"
    schema: Schema
    config: Config
    output: Output

    if TYPE_CHECKING:

        def encode(self, frame: pd.DataFrame, target: bool = False) -> Any:
            """Checked rows as `logits` takes them, with their answers if `target`."""

        def logits(self, batch: Any) -> Tensor:
            """Logits (B, width) on the CPU."""

    def check(
        self, frame: pd.DataFrame, need_target: bool = False, first: int = 1, seen: SeenIds | None = None
    ) -> Checked:
        """Good rows, typed, and the problems of the others; arguments as in `aet.rows.check_rows`."""
        return check_rows(frame, self.schema, need_target=need_target, first=first, seen=seen)

    def predict(self, source: Any, proba: bool = False) -> pd.DataFrame:
        """One answer a row, in order: id, prediction, confidence, problem (and `p_{class}` columns with `proba`).

        Of a tagger the prediction is the list of tags, and `entities` lists what they name; of a writer it is the text.
        Of a forecast it is the list of the values to come, with `lower` and `upper`; a model trained with `windows`
        takes a table of measurements and forecasts what follows its end.

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
            answers = self.output.finished(answers, checked.frame)
            yield answer_frame(checked, answers, self.ids(checked, start, len(frame)), len(frame))
            start += len(frame)

    def pieces(self, source: Any, rows: int) -> Iterator[pd.DataFrame]:
        """A table in pieces, read as the training data were; a table in memory without rows is one empty piece."""
        if hasattr(source, "to_pandas") and hasattr(source, "__len__") and not len(source):
            source = source.to_pandas()  # polars, Arrow, Hugging Face
        if isinstance(source, pd.DataFrame) and not len(source):
            return iter([source.set_axis(source.columns.map(str), axis="columns")])
        if self.config.data.get("windows"):  # whose rows hold together
            return iter_tables(table_of(source, self.config.data, ahead=True), rows=rows)
        return iter_tables(source, rows=rows, header=self.config.data.get("header", "infer"))

    def ids(self, checked: Checked, start: int, rows: int) -> np.ndarray:
        """The declared id of each row, None where one is missing or comes again; else a counter from `start`."""
        if checked.ids is not None:
            return checked.ids
        ids = np.empty(rows, dtype=object)
        if self.schema.id is None:
            ids[:] = range(start, start + rows)
        return ids

    def evaluate(self, source: Any) -> dict[str, float]:
        """Metrics on rows with true answers.

        Rows without one, or that cannot be used, are counted as `left_out`; those of a class that the model does not
        know as `unknown`. Raises DataError if no row is left.
        """
        checked = self.check(table_of(source, self.config.data), need_target=True)
        target, known = self.output.encode_known(checked.frame)
        if not known.any():
            raise DataError(
                f"No row of {len(known)} has an answer that this {self.noun} can give. Is "
                f"{', '.join(self.schema.targets)!r} what it was trained on?"
            )
        metrics = self.output.metrics(self.logits(self.encode(checked.frame[known], target=True)), target)
        counts = {"rows": known.sum(), "left_out": len(checked.problems), "unknown": (~known).sum()}
        return {**metrics, **{name: float(count) for name, count in counts.items()}}


def answer_frame(checked: Checked, answers: pd.DataFrame, ids: Sequence[Any] | np.ndarray, rows: int) -> pd.DataFrame:
    """Answers of the good rows spread over all rows, with `id` before and `problem` after them."""
    spread = answers.set_index(pd.Index(checked.kept)).reindex(range(rows))
    if "prediction" in spread and spread["prediction"].dtype == object:
        spread["prediction"] = spread["prediction"].where(spread["prediction"].notna(), None)
    # Objects, so that what is missing is None in every piece, and null in JSON.
    problem = pd.Series([checked.problems.get(row) for row in range(rows)], dtype=object, name="problem")
    return pd.concat([pd.Series(ids, dtype=object, name="id"), spread, problem], axis=1)
