"""One BIO tag a word: cross-entropy of each word, the best allowed sequence, entities.

    loss_i = 1/n Σ_w -log softmax(z_w)_{y_w} over the n words of row i,      ŷ = argmax over allowed y of Σ_w z_{w, y_w}

Sequences are allowed in which I-x follows B-x or I-x (`aet.outputs.viterbi`), so no answer breaks an entity.

Logits are one number after another, (B, W · (C + 1)): for each of W words its C logits and a mark, 1 where there is a
word. So they stay a table with a row a row: streams, guards and stores, which compare rows, need not know of words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aet.cells.words import MOST, listed, objects
from aet.config import ModelConfig, Section
from aet.errors import ConfigError, DataError, FeedbackError, nearest
from aet.outputs.base import OUTPUTS, Output, doubted_temperature, expected_calibration_error
from aet.outputs.entities import BIO, begun, entity_figures, spans
from aet.outputs.label import tempered_divergence
from aet.outputs.token_report import AVERAGES, FIGURES, token_report
from aet.outputs.viterbi import bio_moves, viterbi
from aet.schema import Schema

NONE = -1
"""In targets: no word there."""
AT_ONCE = 4096
"""Rows whose best sequences are looked for together."""


@OUTPUTS.register("tags")
class TagsOutput(Output):
    """Targets: (B, W) numbers of tags, -1 where there is no word. Logits: as above. "O" is tag 0.

    >>> part = TagsOutput(("tags",), dim=4)
    >>> part.fit(pd.DataFrame({"tags": objects([["B-PER", "I-PER"], ["O"]])}), {})
    >>> part.classes, part.width
    (['O', 'B-PER', 'I-PER'], 512)
    """

    kind = "tags"
    metric = "entity_f1"
    score_name = "word_accuracy"
    reads: ClassVar[str] = "tokens"
    temperature: Tensor
    classes: list[str]

    def __init__(self, targets: Sequence[str], dim: int, column: str = "words") -> None:
        super().__init__(targets, dim)
        self.column = column

    @classmethod
    def of(cls, schema: Schema, dim: int, trunk: ModelConfig | None = None) -> TagsOutput:
        """Beside the column of words that the schema names."""
        return cls(schema.targets, dim, next(spec.columns[0] for spec in schema.inputs if spec.kind == "words"))

    @property
    def width(self) -> int:
        """W (C + 1)."""
        return MOST * (len(self.classes) + 1)

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """O, and B-x and I-x of every type x that occurs, in order."""
        Section.checked("output", settings)
        rows = [self.bio(cell, DataError) for cell in frame[self.targets[0]]]
        types = sorted({name for tags in rows for name, _, _ in spans(tags)})
        if not types:
            raise DataError(
                f"The target {self.targets[0]!r} tags no entity in any row, all words are O: expected at least two "
                "tags. Add rows with entities, or name another target."
            )
        self.classes = ["O", *(f"{mark}-{name}" if name else mark for name in types for mark in "BI")]
        self.reserve()

    def reserve(self) -> None:
        """Buffers."""
        self.register_buffer("temperature", torch.ones(()))

    def build(self, members: int = 1) -> None:
        """One head for all words; ConfigError for several members."""
        if members > 1:
            raise ConfigError(
                f"Tags are answered word by word through one head: expected model.members=1, got {members}. For "
                "several models use aet.train_ensemble."
            )
        self.head = nn.Linear(self.dim, len(self.classes))

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """The head's bias, (C,)."""
        return {"bias": (len(self.classes),)}

    def settings(self) -> dict[str, Any]:
        """The tags."""
        return {"classes": self.classes}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take back the tags."""
        self.classes = list(settings["classes"])
        self.reserve()

    def bio(self, cell: Any, error: type[DataError] | type[FeedbackError]) -> list[str]:
        """The tags of a row, B-x where an entity began with I-x (as in IOB1)."""
        tags = listed(cell)
        wrong = next((tag for tag in tags or [] if not BIO.fullmatch(tag)), None)
        if not tags or wrong is not None:
            raise error(
                f"The target {self.targets[0]!r} holds BIO tags: expected a list of O, B-x and I-x, one a word, got "
                f"{' '.join(repr(cell if wrong is None else wrong).split()):.60}. Write an entity of type x as B-x for "
                "its first word and I-x for those that follow."
            )
        return begun(tags)

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Numbers of the tags (B, W)."""
        place = {tag: number for number, tag in enumerate(self.classes)}
        coded = torch.full((len(frame), MOST), NONE)
        for row, cell in enumerate(frame[self.targets[0]]):
            tags = self.bio(cell, FeedbackError)
            if len(tags) > MOST:
                raise FeedbackError(f"A row has {len(tags)} tags: expected {MOST} at most. Cut it into sentences.")
            for tag in tags:
                if tag not in place:
                    raise FeedbackError(
                        f"{tag!r} is no tag of the target {self.targets[0]!r}. {nearest(tag, self.classes)} A new tag "
                        "needs new training."
                    )
            coded[row, : len(tags)] = torch.tensor([place[tag] for tag in tags])
        return coded

    def matches(self, values: Mapping[str, Tensor], target: Tensor) -> None:
        """FeedbackError for a row with another number of tags than words."""
        # What a module of the user's reads says in the same channel where words start.
        words = next(t for name, t in values.items() if name.startswith(("words", "given")))[..., 1].amax(1)
        tags = (target != NONE).sum(1)
        for has, got in zip(words.tolist(), tags.tolist(), strict=True):
            if has != got:
                raise FeedbackError(f"A row of {has} words takes {has} tags, one a word; got {got}.")

    def forward(self, read: Tensor) -> Tensor:
        """Words' tokens with their marks (B, W, dim + 1) -> logits (B, W · (C + 1))."""
        return marked(self.headed(read[..., :-1]), read[..., -1])

    def by_word(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, W, C), and where there is a word (B, W)."""
        each = logits.unflatten(-1, (MOST, len(self.classes) + 1))
        return each[..., :-1], each[..., -1] > 0.5

    def row_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean over the words."""
        z, _ = self.by_word(logits)
        losses = F.cross_entropy(z.transpose(1, 2), target, reduction="none", ignore_index=NONE)  # (B, W)
        return word_mean(losses, target != NONE)

    def decoded(self, logits: Tensor) -> Tensor:
        """The best allowed sequence, (B, W); O where there is no word."""
        start, moves = bio_moves(self.classes)
        pieces = []
        for piece in logits.split(AT_ONCE):
            z, real = self.by_word(piece)
            last = int(real.any(0).nonzero().max()) + 1 if real.any() else 0
            outside = z.new_tensor([0.0, *[-math.inf] * (len(self.classes) - 1)])
            path = viterbi(torch.where(real[..., None], z, outside)[:, :last], start, moves)
            pieces.append(F.pad(path, (0, MOST - last)))
        return torch.cat(pieces) if pieces else torch.empty(0, MOST, dtype=torch.long)

    def probabilities(self, logits: Tensor) -> Tensor:
        """softmax(z / T) of each word by itself, (B, W, C)."""
        return F.softmax(self.by_word(logits)[0] / self.temperature.to(logits.device), dim=-1)

    def calibrate(self, logits: Tensor, target: Tensor) -> None:
        """T minimises the words' mean loss on the validation rows, as far as `doubt` allows."""
        known = target != NONE
        z, y = self.by_word(logits)[0][known], target[known]

        def loss(smoothing: float) -> Callable[[float], Tensor]:
            return lambda t: F.cross_entropy(z / t, y, label_smoothing=smoothing)

        self.temperature.fill_(doubted_temperature(loss, len(y)))

    def translated(self, other: Output, logits: Tensor) -> Tensor:
        """Logits over T in the order of the own tags; ConfigError if the other has others."""
        self.of_my_kind(other)
        assert isinstance(other, TagsOutput)
        if set(other.classes) != set(self.classes):
            raise ConfigError(
                f"The other model knows other tags of {self.targets[0]!r}: {other.classes}, this one {self.classes}. "
                "Train it on rows with the same types of entities."
            )
        z, real = other.by_word(logits)
        own = (z / other.temperature.to(logits.device))[..., [other.classes.index(tag) for tag in self.classes]]
        return marked(own, real)

    def pooled(self, logits: Tensor) -> Tensor:
        """The logarithm of each word's mean probability."""
        z, real = self.by_word(logits)
        return marked(F.log_softmax(z, -1).logsumexp(0) - math.log(len(logits)), real[0])

    def distance(self, logits: Tensor, taught: Tensor, temperature: float = 1.0) -> Tensor:
        """τ² KL(softmax(taught / τ) ‖ softmax(z / τ)), mean over the words."""
        z, (wanted, real) = self.by_word(logits)[0], self.by_word(taught)
        return word_mean(tempered_divergence(z, wanted, temperature), real)

    def answers(self, logits: Tensor, proba: bool = False) -> pd.DataFrame:
        """`prediction`: the list of tags; `confidence`: mean probability of these; `entities`.

        Each entity is a dict of type, start and end (words[start:end]) and confidence, the mean over its words;
        `finished` adds its text. With `proba` one column `p_{tag}` a tag, a list of the words' probabilities.
        """
        logits = logits.cpu()
        p, real, path = self.probabilities(logits), self.by_word(logits)[1], self.decoded(logits)
        sure = p.gather(-1, path[..., None]).squeeze(-1)
        lengths = real.sum(1).tolist()
        names = [[self.classes[code] for code in codes[:n]] for codes, n in zip(path.tolist(), lengths, strict=True)]
        found = [
            [
                {"type": kind, "start": start, "end": end, "confidence": round(float(row[start:end].mean()), 6)}
                for kind, start, end in spans(tags)
            ]
            for tags, row in zip(names, sure, strict=True)
        ]
        columns = {
            "prediction": objects(names),
            "confidence": word_mean(sure, real).numpy(),
            "entities": objects(found),
        }
        for number, tag in enumerate(self.classes if proba else ()):
            each = p[..., number].tolist()
            columns[f"p_{tag}"] = objects([row[:n] for row, n in zip(each, lengths, strict=True)])
        return pd.DataFrame(columns)

    def finished(self, answers: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
        """With the text of each entity, its words divided by blanks."""
        told = [
            [{"text": " ".join(words[one["start"] : one["end"]]), **one} for one in found]
            for words, found in zip(frame[self.column], answers["entities"], strict=True)
        ]
        return answers.assign(entities=objects(told))

    def scores(self, logits: Tensor, target: Tensor) -> Tensor:
        """Share of the words whose tag is right."""
        return word_mean((self.decoded(logits) == target).float(), target != NONE)

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """Share of the words that they tag otherwise."""
        return word_mean((self.decoded(one) != self.decoded(other)).float(), self.by_word(one)[1])

    def belief(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean probability of the words' tags."""
        p = self.probabilities(logits).gather(-1, target.clamp_min(0)[..., None]).squeeze(-1)
        return word_mean(p, target != NONE)

    def uncertainty(self, logits: Tensor) -> Tensor:
        """Mean over the words of the entropy over log C."""
        entropy: Tensor = torch.special.entr(self.probabilities(logits)).sum(-1)
        return word_mean(entropy, self.by_word(logits)[1]) / math.log(len(self.classes))

    def metrics(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        """Over whole entities: `entity_...`, and `untyped_entity_...` of any type. Word by word: `word_accuracy`, the
        mean over rows of the share of words that are right, and `token_{figure}_{tag or average}` (`token_report`).
        """
        known, path = (target != NONE).cpu(), self.decoded(logits).cpu()
        target = target.cpu()
        truth, guess = (self.named(codes, known) for codes in (target, path))
        whole, untyped = entity_figures(truth, guess), entity_figures(truth, guess, typed=False)
        table = token_report(target[known].numpy(), path[known].numpy(), self.classes).to_dict("index")
        p = self.probabilities(logits).cpu()[known]  # (N, C)
        right = (path == target)[known].float()
        return {
            **{f"entity_{name}": value for name, value in whole.items()},
            **{f"untyped_entity_{name}": value for name, value in untyped.items()},
            self.score_name: float(self.scores(logits, target.to(logits.device)).mean()),
            **{f"token_{f}_{name}": float(table[name][f]) for name in AVERAGES for f in FIGURES},
            **{f"token_{f}_{tag}": float(table[tag][f]) for tag in self.classes for f in (*FIGURES, "support")},
            "token_log_loss": float(F.nll_loss(p.clamp_min(1e-12).log(), target[known])),
            "token_ece": expected_calibration_error(p.gather(-1, path[known][:, None]).squeeze(-1), right),
        }

    def named(self, codes: Tensor, known: Tensor) -> list[list[str]]:
        """Tags of each row's words."""
        lengths = known.sum(1).tolist()
        return [[self.classes[code] for code in row[:n]] for row, n in zip(codes.tolist(), lengths, strict=True)]


def marked(z: Tensor, real: Tensor) -> Tensor:
    """Logits (B, W, C) and where there is a word (B, W), one number after another."""
    return torch.cat([z * real[..., None], real[..., None].to(z.dtype)], -1).flatten(-2)


def word_mean(figures: Tensor, real: Tensor) -> Tensor:
    """Mean (B,) of figures (B, W) over the words.

    >>> word_mean(torch.tensor([[1.0, 0.0, 7.0]]), torch.tensor([[True, True, False]]))
    tensor([0.5000])
    """
    return torch.where(real, figures, 0.0).sum(1) / real.sum(1).clamp_min(1)
