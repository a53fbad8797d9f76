"""Deep ensembles (Lakshminarayanan et al. 2017, 1612.01474): models of one table that differ by their seed alone.

    p = 1/M Σ_m p_m for classes,    μ = 1/M Σ_m μ_m,  σ² = 1/M Σ_m (σ_m² + μ_m²) - μ² for numbers

with each p_m calibrated, and the mixture calibrated once more on the held-out rows, which all members share: a mean
of calibrated answers is too unsure (Wu and Gales 2021, 2101.05397). The switch `distill` brings an ensemble into one
model.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aet.answering import Answering
from aet.attention.state import load_tensors
from aet.batch import Batch
from aet.errors import ConfigError, RunError
from aet.model import Model
from aet.monitoring.line import agreements
from aet.outputs import Output
from aet.run import FORMAT, checked_description, load, make_folder, own_sum, sha256, verify

DESCRIPTION, CALIBRATION = "ensemble.json", "ensemble.safetensors"


class Ensemble(Answering):
    """Made by `aet.train_ensemble`; answers like one model. `members` are the models, `report` says what they score.

    Raises ConfigError for no members, and for members of other tables.
    """

    noun = "ensemble"

    def __init__(self, members: Sequence[Model]) -> None:
        if not members:
            raise ConfigError("An ensemble has no members: expected one or more models. Train some.")
        self.members = list(members)
        self.schema, self.config = members[0].schema, members[0].config
        for number, member in enumerate(members):
            if member.schema != self.schema:
                raise ConfigError(
                    f"Member {number} of the ensemble was trained on other columns: expected those of member 0. "
                    "Train all members on one table with the same kinds, groups and target."
                )
        self.output: Output = copy.deepcopy(members[0].output)
        self.report: dict[str, Any] = {}

    def encode(self, frame: pd.DataFrame, target: bool = False) -> list[Batch]:
        """Checked rows, as each member reads them."""
        return [member.encode(frame, target) for member in self.members]

    def logits(self, batches: Sequence[Batch]) -> Tensor:
        """Logits (B, width) of the even mixture of all members."""
        pairs = zip(self.members, batches, strict=True)
        return self.output.pooled(
            torch.stack([self.output.translated(m.output, m.logits(batch)) for m, batch in pairs])
        )

    def calibrate(self, frame: pd.DataFrame) -> None:
        """Fit the mixture's calibration on checked rows that no member was trained on, and note what all score."""
        target, batches = self.output.encode(frame), self.encode(frame)
        self.output.calibrate(self.logits(batches), target)
        shown = [
            m.output.answers(m.logits(batch))["prediction"] for m, batch in zip(self.members, batches, strict=True)
        ]
        self.report = {
            "valid": self.output.metrics(self.logits(batches), target),
            "members": [
                {"seed": member.config.seed, **member.output.metrics(member.logits(batch), target)}
                for member, batch in zip(self.members, batches, strict=True)
            ],
        }
        if self.output.probable and self.output.reads == "summary" and len(shown) > 1:
            self.report["agreement"] = agreements(np.stack([column.to_numpy() for column in shown])).tolist()

    def save(self, folder: str | Path) -> Path:
        """Write a folder with the run folder of each member, ensemble.json and ensemble.safetensors."""
        folder = Path(folder)
        make_folder(folder)
        for number, member in enumerate(self.members):
            member.save(folder / member_name(number))
        return self.describe(folder)

    def describe(self, folder: Path) -> Path:
        """Write what makes the run folders of members in `folder` an ensemble."""
        from safetensors.torch import save_file

        names = [member_name(number) for number in range(len(self.members))]
        save_file(
            {name: t.cpu().contiguous() for name, t in self.output.state_dict().items()}, str(folder / CALIBRATION)
        )
        sums = {name: sha256(folder / name / "schema.json") for name in names}
        described: dict[str, Any] = {"format": FORMAT, "members": names, "report": self.report}
        described["sha256"] = {**sums, CALIBRATION: sha256(folder / CALIBRATION)}
        described["sha256"][DESCRIPTION] = own_sum(described)
        (folder / DESCRIPTION).write_text(json.dumps(described, indent=1), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Ensemble:
        """The ensemble of a folder; raises RunError if a part is missing, damaged or foreign."""
        path = Path(folder) / DESCRIPTION
        if not path.is_file():
            raise RunError(f"{folder} holds no ensemble: {path.name} is missing. Name the folder it was saved to.")
        described = checked_description(path)
        names, sums = list(described["members"]), described["sha256"]
        for name in names:
            verify(path.parent / name / "schema.json", sums.get(name))
        verify(path.parent / CALIBRATION, sums.get(CALIBRATION))
        made = cls([load(path.parent / name) for name in names])
        made.output.load_state_dict(load_tensors(path.parent / CALIBRATION))
        made.report = described["report"]
        return made


def member_name(number: int) -> str:
    """The folder of a member."""
    return f"member-{number}"


def load_any(folder: str | Path) -> Model | Ensemble:
    """The ensemble or the model of a folder; RunError if there is neither."""
    return Ensemble.load(folder) if (Path(folder) / DESCRIPTION).is_file() else load(folder)
