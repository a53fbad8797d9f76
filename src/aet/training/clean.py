"""A few rows that are known to be right, and how far each training row pulls the head the way they do.

The clean set is a `share` of the validation rows, or the rows of a `file` (those that its `column` marks with 1, if it
is named). No clean row may be a training row, which is told by equal inputs: of the validation rows such rows are left
out, in a file they are an error. Validation rows that also choose weights make the validation loss look better than it
is; a file does not.

The gradient of row i's loss with respect to the head's matrix and bias is g_i = δ_i ⊗ [s_i, 1], with its summary s_i
and δ_i = ∂l_i/∂logits_i. With the mean ḡ over clean rows, the agreement is

    c_i = ⟨g_i, ḡ⟩ = δ_iᵀ ḡ [s_i, 1]

the fall of the clean loss, to first order and for the head alone, per weight given to row i. It costs a forward pass of
the clean rows and no second backward pass.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from aet.batch import Batch
from aet.cells.number import parse_numbers
from aet.errors import ConfigError, DataError, nearest
from aet.model import Model
from aet.tables import read_table
from aet.training.row_weights import RowWeights
from aet.training.switch import Pass, Run

CLEAN: dict[str, Any] = {"share": 0.5, "file": "", "column": "", "rows": 128}
"""Settings that all switches with a clean set have; `rows` is how many clean rows a batch is compared with."""


class CleanSwitch(RowWeights):
    """A switch that knows the agreement of each row with a clean set."""

    reads: ClassVar[tuple[str, ...]] = ("summary",)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        share = self.settings["share"]
        if not 0 < share <= 1:
            raise ConfigError(f"The setting share of the switch {self.name!r} is above 0 and at most 1; got {share}.")
        if self.settings["column"] and not self.settings["file"]:
            raise ConfigError(
                f"The setting column of the switch {self.name!r} marks rows of a file: expected file too, got none. "
                "Give the clean rows in a file of their own."
            )
        self.handle: RemovableHandle | None = None
        self.summary = torch.empty(0)

    def begin(self, run: Run) -> None:
        """Gather the clean rows; ConfigError for an ensemble, whose members have no head in common."""
        if run.model.config.model.members > 1:
            raise ConfigError(
                f"The switch {self.name!r} reads the gradient of one head: expected model.members=1, got "
                f"{run.model.config.model.members}. Turn one of the two off."
            )
        self.clean = self.from_file(run) if self.settings["file"] else self.from_validation(run)

    def from_file(self, run: Run) -> Batch:
        """The file's rows; DataError if one of them is a training row, or none is left."""
        frame = read_table(self.settings["file"], header=run.model.config.data.get("header", "infer"))
        if column := self.settings["column"]:
            if column not in frame:
                raise ConfigError(
                    f"The file of the switch {self.name!r} has no column {column!r}. {nearest(column, frame.columns)}"
                )
            marks, wrong = parse_numbers(frame[column])
            if wrong.any():
                raise DataError(
                    f"The column {column!r} of {self.settings['file']} marks clean rows: expected 0 and 1, got "
                    f"{frame[column].iloc[int(wrong.argmax())]!r:.60}."
                )
            frame = frame[np.nan_to_num(marks) > 0]
        if not len(frame):
            raise DataError(
                f"The file {self.settings['file']} of the switch {self.name!r} holds no clean row. Add some."
            )
        clean = run.model.encode(run.model.check(frame, need_target=True).frame, target=True)
        same = trained_on(clean, run.train)
        if same.any():
            raise DataError(
                f"The clean set of the switch {self.name!r} overlaps the training rows: {int(same.sum())} of "
                f"{len(clean)} rows of {self.settings['file']} have the inputs of a training row, the first of them "
                f"its row {int(same.int().argmax()) + 1}. Expected rows that are not trained on. Take them out of one "
                "of the two tables."
            )
        return clean

    def from_validation(self, run: Run) -> Batch:
        """A random share of the validation rows; DataError if all of them are training rows."""
        free = (~trained_on(run.valid, run.train)).nonzero().flatten()
        if not len(free):
            raise DataError(
                f"The clean set of the switch {self.name!r} overlaps the training rows: all {len(run.valid)} "
                "validation rows have the inputs of a training row. Give clean rows in a file."
            )
        wanted = max(1, round(self.settings["share"] * len(run.valid)))
        order = torch.randperm(len(free), generator=torch.Generator().manual_seed(run.model.config.seed))
        return run.valid[free[order[:wanted]]]

    def tokens(self, run: Run, tokens: Tensor, batch: Batch) -> Tensor:
        """Listen to what the head reads from here on; the last pass before the losses counts."""
        self.hush()
        self.handle = run.model.output.head.register_forward_pre_hook(self.hear)
        return tokens

    def hear(self, _: Any, given: tuple[Tensor, ...]) -> None:
        """The summary (B, dim)."""
        self.summary = given[0].detach()

    def hush(self) -> None:
        """Leave the head as it was."""
        if self.handle is not None:
            self.handle.remove()
        self.handle = None

    def agreement(self, run: Run, seen: Pass) -> Tensor:
        """c_i (B,); the pass is over."""
        self.hush()
        summary = with_one(self.summary)
        slopes = torch.autograd.grad(seen.losses.sum(), seen.logits, retain_graph=True)[0].to(summary)
        index = torch.randperm(len(self.clean))[: self.settings["rows"]]
        mean = head_gradient(run.model, self.clean[index].to(run.model.device)).to(summary)
        return ((slopes @ mean) * summary).sum(1)


def head_gradient(model: Model, batch: Batch) -> Tensor:
    """ḡ (width, dim + 1): the mean loss's gradient with respect to the head's matrix and bias; without dropout."""
    assert batch.target is not None
    training = model.training
    model.eval()
    with torch.no_grad():
        summary = model.trunk(*model.tokens(batch), concepts=model.concepts(batch))
        logits = model.answered(summary, batch)
    model.train(training)
    with torch.enable_grad():
        logits.requires_grad_()
        slopes = torch.autograd.grad(model.output.losses(logits, batch.target).sum(), logits)[0]
    rows = with_one(summary)
    counts = torch.ones_like(rows[:, 0]) if batch.weight is None else batch.weight.to(rows)
    mean: Tensor = (slopes.to(rows) * counts[:, None]).mT @ rows / counts.sum().clamp_min(1e-12)
    return mean


def with_one(summary: Tensor) -> Tensor:
    """[s, 1], in float32 at least."""
    summary = summary if summary.dtype == torch.float64 else summary.float()
    return torch.cat([summary, torch.ones_like(summary[:, :1])], 1)


def trained_on(rows: Batch, train: Batch) -> Tensor:
    """Which rows (B,) have the inputs of a training row.

    >>> trained_on(Batch({"x": torch.tensor([1.0, 5.0])}), Batch({"x": torch.tensor([5.0, 2.0, 3.0])}))
    tensor([False,  True])
    """
    known = set(fingerprints(train))
    return torch.tensor([mark in known for mark in fingerprints(rows)])


def fingerprints(batch: Batch) -> list[bytes]:
    """One hash of the inputs a row; missing values are alike."""
    values = [
        t.cpu().nan_to_num(torch.finfo(t.dtype).max) if t.is_floating_point() else t.cpu()
        for t in batch.values.values()
    ]
    marks = []
    for row in range(len(batch)):
        digest = hashlib.blake2b(digest_size=16)
        for tensor in values:
            digest.update(tensor[row].contiguous().numpy().tobytes())
        marks.append(digest.digest())
    return marks
