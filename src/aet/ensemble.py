"""Deep ensembles (Lakshminarayanan et al. 2017, 1612.01474): models of one table that differ by their seed alone.

    p = 1/M Σ_m p_m for classes,    μ = 1/M Σ_m μ_m,  σ² = 1/M Σ_m (σ_m² + μ_m²) - μ² for numbers

with each p_m calibrated, and the mixture calibrated once more on the held-out rows, which all members share: a mean
of calibrated answers is too unsure (Wu and Gales 2021, 2101.05397). The switch `distill` brings an ensemble into one
model.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from aet.attention.state import load_tensors
from aet.batch import Batch
from aet.errors import ConfigError, DataError, RunError
from aet.model import Model, answer_frame
from aet.outputs import Output
from aet.roles import SeenIds
from aet.rows import Checked
from aet.run import FORMAT, MEND, load, make_folder, own_sum, sha256, verify
from aet.tables import read_table

DESCRIPTION, CALIBRATION = "ensemble.json", "ensemble.safetensors"


class Ensemble:
    """Made by `aet.train_ensemble`; answers like one model. `members` are the models, `report` says what they score.

    Raises ConfigError for no members, and for members of other tables.
    """

    def __init__(self, members: Sequence[Model]) -> None:
        if not members:
            raise ConfigError("An ensemble has no members: expected one or more models. Train some.")
        self.members = list(members)
        self.schema = members[0].schema
        for number, member in enumerate(members):
            if member.schema != self.schema:
                raise ConfigError(
                    f"Member {number} of the ensemble was trained on other columns: expected those of member 0. "
                    "Train all members on one table with the same kinds, groups and target."
                )
        self.output: Output = copy.deepcopy(members[0].output)
        self.report: dict[str, Any] = {}

    def encode(self, frame: pd.DataFrame) -> list[Batch]:
        """Checked rows, as each member reads them."""
        return [member.encode(frame) for member in self.members]

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
        self.report = {
            "valid": self.output.metrics(self.logits(batches), target),
            "members": [
                {"seed": member.config.seed, **member.output.metrics(member.logits(batch), target)}
                for member, batch in zip(self.members, batches, strict=True)
            ],
        }

    def check(
        self, frame: pd.DataFrame, need_target: bool = False, first: int = 1, seen: SeenIds | None = None
    ) -> Checked:
        """As `Model.check`."""
        return self.members[0].check(frame, need_target, first, seen)

    def predict(self, source: Any, proba: bool = False) -> pd.DataFrame:
        """As `Model.predict`."""
        return pd.concat(list(self.predict_iter(source, proba)), ignore_index=True)

    def predict_iter(self, source: Any, proba: bool = False, rows: int = 8192) -> Iterator[pd.DataFrame]:
        """As `Model.predict_iter`."""
        first, start, seen = self.members[0], 0, SeenIds()
        for frame in first.pieces(source, rows):
            checked = self.check(frame, first=start + 1, seen=seen)
            answers = self.output.answers(self.logits(self.encode(checked.frame)), proba)
            yield answer_frame(checked, answers, first.ids(checked, start, len(frame)), len(frame))
            start += len(frame)

    def evaluate(self, source: Any) -> dict[str, float]:
        """As `Model.evaluate`."""
        header = self.members[0].config.data.get("header", "infer")
        checked = self.check(read_table(source, header=header), need_target=True)
        target, known = self.output.encode_known(checked.frame)
        if not known.any():
            raise DataError(
                f"No row of {len(known)} has an answer that this ensemble can give. Is "
                f"{', '.join(self.schema.targets)!r} what it was trained on?"
            )
        metrics = self.output.metrics(self.logits(self.encode(checked.frame[known])), target)
        counts = {"rows": known.sum(), "left_out": len(checked.problems), "unknown": (~known).sum()}
        return {**metrics, **{name: float(count) for name, count in counts.items()}}

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
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            version, names, sums = described["format"], list(described["members"]), dict(described["sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is damaged or foreign ({type(error).__name__} {error}). {MEND}") from error
        if not isinstance(version, int) or version > FORMAT:
            raise RunError(f"{path} has format {version!r}; this aet reads up to {FORMAT}. Install a newer aet.")
        if sums.get(DESCRIPTION) != own_sum(described):
            raise RunError(f"{path} was changed or damaged after it was written: its sum does not fit. {MEND}")
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
