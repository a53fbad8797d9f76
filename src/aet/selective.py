"""A model that answers only where it is sure, with a promise about the answers that it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.answering import Answering
from aet.errors import ConfigError
from aet.monitoring.selective import Bar
from aet.outputs.label import LabelOutput
from aet.series_windows import table_of


class Selective:
    """Says for which rows a model is sure enough to answer: at most a share `wrong` of those answers is wrong.

    With probability `certainty` over the labelled rows that the bar is set by, while rows are drawn as they were and
    the model stays as it is: the promise is about the source's answers, not about what a stream adapts, and about all
    answers given, not about each class of them (`aet.monitoring.selective`).

    Args:
        model: answers with one class a row.
        known: labelled rows that it was not trained on.
        wrong: share of the given answers that may be wrong.
        certainty: of the promise.

    Raises ConfigError where the promise cannot be kept with these rows, or for another kind of answer.

    >>> import numpy as np, pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(1600, 2))
    >>> noisy = x.sum(1) + np.random.default_rng(1).normal(size=1600)
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(noisy > 0, "plus", "minus")})
    >>> settings = {"model": {"dim": 16, "depth": 1}, "train": {"epochs": 10, "rehearsals": 0}}
    >>> model = aet.train(frame[:400], target="sign", config=settings)
    >>> sure = aet.Selective(model, frame[400:1200], wrong=0.15)
    >>> given = sure(frame[1200:])
    >>> wrong = model.predict(frame[1200:])["prediction"].to_numpy() != frame["sign"].to_numpy()[1200:]
    >>> bool(wrong[given].mean() < 0.15 < wrong.mean()), bool(given.mean() > 0.4)
    (True, True)
    """

    def __init__(self, model: Answering, known: Any, wrong: float = 0.1, certainty: float = 0.95) -> None:
        if not isinstance(model.output, LabelOutput):
            raise ConfigError(f"Selective is about classes; this model answers with {model.output.kind!r}.")
        self.model, self.wrong, self.certainty = model, wrong, certainty
        checked = model.check(table_of(known, model.config.data), need_target=True)
        target, own = model.output.encode_known(checked.frame)
        logits = model.logits(model.encode(checked.frame))
        right = np.zeros(len(logits), dtype=bool)  # of a class that the model does not know: wrong
        right[own] = (model.output.scores(logits[own], target) == 1).numpy()
        self.bar = Bar.of(model.output.answers(logits)["confidence"].to_numpy(), right, wrong, certainty)

    def __call__(self, source: Any) -> npt.NDArray[np.bool_]:
        """Whether each row is answered (N,); False for one that cannot be used."""
        return self.bar(self.model.predict(source)["confidence"].to_numpy())

    def predict(self, source: Any) -> pd.DataFrame:
        """As `model.predict`, without a prediction where the model is not sure enough; `problem` then says so."""
        answers = self.model.predict(source)
        unsure = ~self.bar(answers["confidence"].to_numpy()) & answers["problem"].isna()
        answers.loc[unsure, "prediction"] = None
        answers.loc[unsure, "problem"] = "not sure enough to answer"
        return answers
