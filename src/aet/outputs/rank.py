"""The item that comes next: cross-entropy over the whole catalogue, ranks over the whole catalogue.

    z = h Vᵀ + b,    loss_i = mean over places j of -log softmax(z_j)_{item_{j+1}},    answer: the items of largest z

h is the last token (Kang and McAuley 2018, 1808.09781; with the full softmax in place of sampled negatives, as in
Klenitskiy and Vasilev 2023, 2309.07602); V are the vectors of the items that the input of events reads too
(`aet.inputs.catalogue`), so that an item that training never showed is ranked by its content. b is 0 and moves as a
dial alone, or unseen items would lack it. An item of which nothing is known, no event and no content, comes last.

While training each place answers what came after it: logits are (B, W, I), and (B, I) otherwise. Targets are (B, W),
the items that came after each place, the last one's being the row's own answer, -1 where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from aet.attention.beside import beside
from aet.cells.base import object_cells
from aet.cells.events import ITEM, plain_item
from aet.config import ModelConfig, Section
from aet.errors import ConfigError, DataError, FeedbackError
from aet.outputs.base import OUTPUTS, Output, doubted_temperature, expected_calibration_error
from aet.outputs.label import tempered_divergence
from aet.outputs.ranking import ranking_figures, ranks, reciprocals_apart
from aet.schema import Schema

if TYPE_CHECKING:
    from aet.inputs.base import Input
    from aet.inputs.catalogue import Catalogue
    from aet.inputs.events import EventsInput

NONE = -1
"""In targets: nothing came next."""
NEVER = -1e4
"""Logit of an item that may not be answered."""
AT_ONCE = 64
"""Rows of which all items are ranked together."""


class RankSettings(Section):
    """`output` for the item that comes next."""

    top: PositiveInt = Field(10, description="Items that an answer lists.")
    repeats: bool = Field(True, description="Whether an item that the history shows may be the answer.")


class TiedHead(nn.Module):
    """z = h Vᵀ + b with the vectors V of a catalogue, which belongs to an input.

    h (..., dim) -> (..., I)
    """

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__()
        self.shared = [catalogue]  # in a list, so that its weights are the input's alone
        self.bias = nn.Parameter(torch.zeros(len(catalogue.items)), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """V (I, dim)."""
        return self.shared[0].vectors()

    def forward(self, h: Tensor) -> Tensor:
        """The logits."""
        return F.linear(h, self.weight, self.bias)


@OUTPUTS.register("rank")
class RankOutput(Output):
    """One of the items of the catalogue. `mrr` is the mean score, the reciprocal rank.

    >>> part = RankOutput(("next",), dim=4)
    >>> part.fit(pd.DataFrame({"next": ["a", 7, "a"]}), {})
    >>> part.items, part.encode(pd.DataFrame({"next": ["7"]})).tolist()
    ([7, 'a'], [[0]])
    """

    kind = "rank"
    metric = "ndcg_at_10"
    score_name = "mrr"
    reads: ClassVar[str] = "last"
    temperature: Tensor

    def __init__(self, targets: Sequence[str], dim: int, column: str | None = None) -> None:
        super().__init__(targets, dim)
        self.column = column
        self.items: list[Any] = []
        self.length, self.top, self.repeats = 1, 10, True
        self.events: list[EventsInput] = []

    @classmethod
    def of(cls, schema: Schema, dim: int, trunk: ModelConfig | None = None) -> RankOutput:
        """Beside the column of events that the schema names."""
        return cls(schema.targets, dim, next(spec.columns[0] for spec in schema.inputs if spec.kind == "events"))

    @property
    def width(self) -> int:
        """I."""
        return len(self.items)

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """The items that are answers; those of histories and of the table of items come with the input (`meet`)."""
        chosen = RankSettings.checked("output", settings)
        self.top, self.repeats = chosen.top, chosen.repeats
        found = {plain_item(cell) for cell in frame[self.targets[0]]} - {None}
        self.items = sorted(found, key=lambda item: (str(type(item)), item))
        if len({str(item) for item in found}) < 2:
            raise DataError(
                f"The target {self.targets[0]!r} has one item, {self.items}: expected at least two. Add rows that end "
                "with another, or name another target."
            )
        self.reserve()

    def meet(self, parts: Mapping[str, Input]) -> None:
        """Share the catalogue of the input of events, which takes in the items that are answers alone."""
        from aet.inputs.events import EventsInput

        part = next(part for part in parts.values() if isinstance(part, EventsInput))
        part.catalogue.add(self.items, seen=True)
        self.events, self.items, self.length = [part], part.catalogue.items, part.length

    def reserve(self) -> None:
        """Buffers."""
        self.register_buffer("temperature", torch.ones(()))

    def build(self, members: int = 1) -> None:
        """The tied head, or one of its own without an input; ConfigError for several members."""
        if members > 1:
            raise ConfigError(
                f"What comes next is answered through one catalogue: expected model.members=1, got {members}. For "
                "several models use aet.train_ensemble."
            )
        made: Any = TiedHead(self.events[0].catalogue) if self.events else nn.Linear(self.dim, self.width)
        self.head = made

    def grow(self, frame: pd.DataFrame) -> list[Any]:
        """Items that come next in these rows, or stand in their histories, and are new."""
        events = [event[ITEM] for cell in frame[self.column] for event in cell] if self.column in frame else []
        found = dict.fromkeys([*map(plain_item, frame[self.targets[0]]), *events])
        known = {str(item) for item in self.items}
        new = [item for item in found if item is not None and str(item) not in known]
        learned = self.learn([{ITEM: item} for item in new]) if new else []
        self.events[0].catalogue.shown(found)
        return learned

    @torch.no_grad()
    def learn(self, table: Any) -> list[Any]:
        """Take in new items from a table with the column `item` and their content; gives the new ones.

        From here on they are ranked, by their content until an update has shown events with them.
        """
        assert isinstance(self.head, TiedHead)
        new = self.events[0].catalogue.extend(table)
        self.items, bias = self.events[0].catalogue.items, self.head.bias
        self.head.bias = nn.Parameter(torch.cat([bias, bias.new_zeros(len(new))]), requires_grad=False)
        self.grown += len(new)
        return new

    def settings(self) -> dict[str, Any]:
        """The items and what is answered of them."""
        return {"items": list(self.items), "top": self.top, "repeats": self.repeats}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take them back."""
        self.items, self.top, self.repeats = list(settings["items"]), settings["top"], settings["repeats"]
        self.reserve()

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Items that came after each place (B, W); of frames without histories the last one alone."""
        place = {str(item): number for number, item in enumerate(self.items)}
        coded = torch.full((len(frame), self.length), NONE)
        for row, cell in enumerate(frame[self.targets[0]]):
            number = place.get(str(plain_item(cell)))
            if number is None:
                raise FeedbackError(
                    f"{cell!r} is no item of the catalogue of {len(self.items)}. Take new items in with "
                    "`model.output.learn(table)`, or train again."
                )
            coded[row, -1] = number
        if self.column is not None and self.column in frame and self.length > 1:
            for row, history in enumerate(frame[self.column]):
                came = [place.get(str(event[ITEM]), NONE) for event in history[1 - self.length :]]
                coded[row, self.length - 1 - len(came) : -1] = torch.tensor(came, dtype=torch.long)
        return coded

    def encode_known(self, frame: pd.DataFrame) -> tuple[Tensor, npt.NDArray[np.bool_]]:
        """Targets of the rows whose item is in the catalogue, and which of all rows (N,) those are."""
        items = {str(item) for item in self.items}
        known = np.array([str(plain_item(cell)) in items for cell in frame[self.targets[0]]], dtype=bool)
        return self.encode(frame[known]), known

    def forward(self, read: Tensor) -> Tensor:
        """The last token (B, dim) -> logits (B, I); while training all places' (B, W, dim) -> (B, W, I)."""
        logits = self.headed(read)
        if logits.ndim > 2 or not self.events:
            return logits
        if not all((catalogue := self.events[0].catalogue).known):
            logits = torch.where(catalogue.blind(), logits.amin(-1, keepdim=True), logits)
        if self.repeats:
            return logits
        shown = beside("items", len(logits))
        never = torch.zeros_like(logits).scatter_(1, shown.clamp_min(0), (shown >= 0).to(logits.dtype))
        return logits.where(never == 0, NEVER)

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean over the places of each row (B,); items that were never seen take no part while training."""
        if logits.ndim == 2:
            return self.row_losses(logits, target)
        if self.events and not bool((seen := self.events[0].catalogue.seen).all()):
            logits = logits.masked_fill(~seen, NEVER)
        known = target != NONE
        losses = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none", ignore_index=NONE)
        return (losses.view(target.shape) * known).sum(1) / known.sum(1).clamp_min(1)

    def row_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """-log softmax(z)_y."""
        return F.cross_entropy(logits, wanted(target), reduction="none")

    def probabilities(self, logits: Tensor) -> Tensor:
        """softmax(z / T), (B, I)."""
        return F.softmax(logits / self.temperature.to(logits.device), dim=-1)

    def calibrate(self, logits: Tensor, target: Tensor) -> None:
        """T minimises the validation loss, as far as `doubt` allows."""
        y = wanted(target)

        def loss(smoothing: float) -> Callable[[float], Tensor]:
            return lambda t: F.cross_entropy(logits / t, y, label_smoothing=smoothing)

        self.temperature.fill_(doubted_temperature(loss, len(y)))

    def translated(self, other: Output, logits: Tensor) -> Tensor:
        """Logits over T in the order of the own items; ConfigError if the other has others."""
        self.of_my_kind(other)
        assert isinstance(other, RankOutput)
        place = {str(item): number for number, item in enumerate(other.items)}
        if {str(item) for item in self.items} != set(place):
            raise ConfigError(
                f"The other model ranks other items: {len(other.items)}, and this one {len(self.items)}. Train it on "
                "histories of the same items, or with the same table of items."
            )
        return (logits / other.temperature.to(logits.device))[:, [place[str(item)] for item in self.items]]

    def pooled(self, logits: Tensor) -> Tensor:
        """The logarithm of the mean probability."""
        return F.log_softmax(logits, -1).logsumexp(0) - math.log(len(logits))

    def distance(self, logits: Tensor, taught: Tensor, temperature: float = 1.0) -> Tensor:
        """τ² KL(softmax(taught / τ) ‖ softmax(z / τ)), of all places their mean."""
        if taught.ndim < logits.ndim:  # a teacher that answers for the row alone
            logits = logits[:, -1]
        apart = tempered_divergence(logits, taught, temperature)
        return apart if apart.ndim == 1 else apart.mean(1)

    def answers(self, logits: Tensor, proba: bool = False) -> pd.DataFrame:
        """`prediction`: the best item; `confidence`: its probability; `items`: the best `top`, each `item`, `score`."""
        p = self.probabilities(logits).cpu()
        best, place = p.topk(min(self.top, self.width), -1)
        named = object_cells(self.items)[place.numpy()]
        listed = [
            [{"item": item, "score": round(score, 6)} for item, score in zip(items, scores, strict=True)]
            for items, scores in zip(named, best.tolist(), strict=True)
        ]
        prediction = pd.Series(named[:, 0], dtype=object)
        items = pd.Series(object_cells(listed), dtype=object)
        return pd.DataFrame({"prediction": prediction, "confidence": best[:, 0].numpy(), "items": items})

    def finished(self, answers: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
        """With `known_events`: how many of the events that are read have an item that is known; 0 says that the answer
        is what comes first in general.
        """
        known = {str(item) for item in self.items}
        read = [cell[-self.length :] for cell in frame[self.column]]
        counts = [sum(str(event[ITEM]) in known for event in events) for events in read]
        return answers.assign(known_events=np.array(counts, dtype=np.int64))

    def scores(self, logits: Tensor, target: Tensor) -> Tensor:
        """Reciprocal rank of the right item among all."""
        return (1 / ranks(logits, wanted(target))).float()

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """The largest difference that any item's reciprocal rank can have."""
        pairs = zip(one.split(AT_ONCE), other.split(AT_ONCE), strict=True)
        found = [reciprocals_apart(a, b) for a, b in pairs]
        return torch.cat(found) if found else one.new_zeros(0)

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """1 where the best item is the right one."""
        return (logits.argmax(-1) == wanted(target)).float()

    def belief(self, logits: Tensor, target: Tensor) -> Tensor:
        """Probability of the item."""
        return self.probabilities(logits).gather(-1, wanted(target)[:, None]).squeeze(-1)

    def uncertainty(self, logits: Tensor) -> Tensor:
        """Entropy over log I."""
        entropy: Tensor = torch.special.entr(self.probabilities(logits)).sum(-1)
        return entropy / math.log(self.width)

    def metrics(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        """`hit_at_k`, `ndcg_at_k` for k in 1, 5, 10, 20 and `mrr` over the whole catalogue; log loss, calibration."""
        y = wanted(target)
        p = self.probabilities(logits)
        likely = p.gather(-1, y[:, None]).clamp_min(1e-12)
        return {
            **ranking_figures(ranks(logits, y)),
            "log_loss": float(-likely.log().mean()),
            "ece": expected_calibration_error(p.max(-1).values.cpu(), self.hits(logits, target).cpu()),
        }


def wanted(target: Tensor) -> Tensor:
    """The rows' own answers (B,), from those of all places (B, W) or as they are."""
    return target if target.ndim == 1 else target[:, -1]
