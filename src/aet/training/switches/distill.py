"""Distillation (Hinton, Vinyals and Dean 2015, 1503.02531): a model, or an ensemble, teaches this one.

    l ← (1 - w) · l + w · d(z, z_t)
    d = τ² KL(softmax(z_t / τ) ‖ softmax(z / τ)) for classes,  (μ_t - μ)² for numbers

z_t are the teacher's calibrated logits. The teacher sees each training row as it is, the student sees it drifted: what
is taught is also what drift should leave alone. A row that the teacher cannot use keeps its own loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.ensemble import Ensemble, load_any
from aet.errors import ConfigError, RunError, SchemaError
from aet.members import for_each_member
from aet.model import Model
from aet.training.switch import SWITCHES, Pass, Run, Switch


@SWITCHES.register("distill")
class Distill(Switch):
    """Settings: `teacher`, the folder of a run or of an ensemble; `temperature`; `weight`, the teacher's share.

    >>> Distill()
    Traceback (most recent call last):
    aet.errors.ConfigError: The switch 'distill' needs the setting teacher: the folder of a run or of an ensemble. ...
    """

    name = "distill"
    defaults: ClassVar[dict[str, Any]] = {"teacher": "", "temperature": 2.0, "weight": 0.5}
    excludes = ("mixup", "cutmix")
    fractions = ("weight",)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.settings["teacher"]:
            raise ConfigError(
                "The switch 'distill' needs the setting teacher: the folder of a run or of an ensemble. Got none."
            )
        for setting in ("temperature", "weight"):
            if self.settings[setting] == 0:
                raise ConfigError(
                    f"The setting {setting} of the switch 'distill' is above 0; got 0. The default is "
                    f"{self.defaults[setting]}."
                )
        self.taught = torch.empty(0)
        """The teacher's logits for the training rows (N, width), NaN where it cannot use the row."""
        self.models = 1

    def begin(self, run: Run) -> None:
        """Ask the teacher for all training rows; ConfigError if it cannot answer them."""
        folder = self.settings["teacher"]
        try:
            teacher = load_any(folder)
        except RunError as error:
            raise ConfigError(f"The teacher of the switch 'distill' cannot be used: {error}") from error
        self.models = len(teacher.members) if isinstance(teacher, Ensemble) else 1
        try:
            self.taught = taught(run, teacher)
        except (ConfigError, SchemaError) as error:
            raise ConfigError(f"The teacher {folder} of the switch 'distill' does not fit: {error}") from error

    def losses(self, run: Run, seen: Pass) -> Tensor:
        """The formula above."""
        assert seen.batch.positions is not None
        wanted = self.taught[seen.batch.positions.cpu()].to(seen.logits)
        known = ~wanted.isnan().any(-1)
        distance = partial(run.model.output.distance, temperature=float(self.settings["temperature"]))
        apart = for_each_member(distance, seen.logits, wanted.nan_to_num(0.0))
        self.calls += 1
        return torch.where(known, torch.lerp(seen.losses, apart.to(seen.losses), self.settings["weight"]), seen.losses)

    def acted(self) -> str:
        """Rows taught, and by how many models."""
        rows = int((~self.taught.isnan().any(-1)).sum())
        by = f"{self.models} models" if self.models > 1 else "one model"
        return f"{rows:,} of {len(self.taught):,} rows taught by {by}, in {self.calls:,} batches" if self.calls else ""

    def memory(self) -> dict[str, Tensor]:
        """The answers: the teacher may have changed when the run is taken up."""
        return {"taught": self.taught}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.taught = memory["taught"]


def taught(run: Run, teacher: Model | Ensemble) -> Tensor:
    """The teacher's logits (N, width) for the training rows, in the student's terms.

    The teacher reads the table itself. Where there are only encoded rows it must encode as the student does.
    """
    output = run.model.output
    if run.frame is not None:
        checked = teacher.check(run.frame)
        if not len(checked.frame):
            raise ConfigError(
                f"It can use none of the {len(run.frame)} training rows; {next(iter(checked.problems.values()))}."
            )
        encoded: Any = teacher.encode(checked.frame)
        kept = torch.from_numpy(checked.kept)
    else:
        members = teacher.members if isinstance(teacher, Ensemble) else [teacher]
        if not all(same_encoding(run.model, member) for member in members):
            raise ConfigError(
                "It reads rows otherwise than this model, and only rows already read are at hand. Train with "
                "aet.train, or make the teacher from the same rows."
            )
        encoded = [run.train] * len(members) if isinstance(teacher, Ensemble) else run.train
        kept = torch.arange(len(run.train))
    answers = output.translated(teacher.output, teacher.logits(encoded))
    spread = torch.full((len(run.train), answers.shape[1]), torch.nan)
    spread[kept] = answers
    return spread


def same_encoding(one: Model, two: Model) -> bool:
    """Whether two models turn rows into the same values."""
    if one.schema.inputs != two.schema.inputs:
        return False
    parts, others = dict(one.parts()), dict(two.parts())
    return all(
        part.settings() == others[name].settings()
        and all(torch.equal(t.cpu(), others[name].get_buffer(key).cpu()) for key, t in part.named_buffers())
        for name, part in parts.items()
    )
