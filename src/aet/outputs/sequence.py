"""A text for each row, written piece by piece by a decoder that reads the trunk's tokens: translation, summary, answer.

    loss_i = 1/n Σ_t -log p(y_t | y_1 ... y_{t-1}, x_i)        p: vocabulary and copying (`aet.decoding.copying`)

Answers and truths are pieces of one tokenizer, trained on the target and on the text inputs, which read the same pieces
unless a pretrained network reads them.

Logits are one number after another, (B, 3L + 1): of the answer the L pieces and the log-odds of each; of the truth,
where it was told (`aet.outputs.told`), the log-odds of each of its pieces, and the share of them that were the
likeliest, -1 where none was told. So rows stay rows to streams, guards and stores. Answers are never made knowing the
truth: where both are there, they come from two passes of the decoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from aet.cells.sequence import written
from aet.config import ModelConfig, Section
from aet.decoding.copying import Pointer
from aet.decoding.decoder import Decoder
from aet.decoding.writing import Memory, Written, begun, forced, searched
from aet.errors import ConfigError, DataError, FeedbackError
from aet.inputs.pieces import END, PAD, cleaned, joined, split, train_exact
from aet.outputs.base import OUTPUTS, Output
from aet.outputs.chrf import each_chrf
from aet.outputs.told import told
from aet.outputs.written import Line, agreed, as_written, text_figures
from aet.schema import Schema

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class SequenceSettings(Section):
    """`output`, of sequences."""

    vocabulary: PositiveInt = Field(
        2000, description="Pieces of the tokenizer at most, over target and text inputs; 260 or more."
    )
    max_pieces: PositiveInt = Field(128, description="Pieces of an answer at most; longer ones are an error.")
    depth: PositiveInt = Field(2, description="Blocks of the decoder.")
    copying: bool = Field(True, description="Whether pieces of the text inputs may be copied.")
    smoothing: float = Field(0.1, ge=0, lt=1, description="Share of the loss that is spread over all pieces.")
    beam: PositiveInt = Field(1, description="Beginnings kept side by side while an answer is searched; 1: greedy.")
    length_penalty: float = Field(0.6, ge=0, description="α: how far long answers are made up for, in beam search.")


@OUTPUTS.register("sequence")
class SequenceOutput(Output):
    """Targets: (B, L) pieces, `END` behind the last, 0 behind that. Logits: as above.

    >>> part = SequenceOutput(("de",), dim=8)
    >>> part.fit(pd.DataFrame({"de": ["Bitte anmelden", "Speichern"]}), {"vocabulary": 300})
    >>> part.build()
    >>> part.eval()(torch.zeros(1, 5, 9)).shape[1] == part.width == 3 * part.length + 1
    True
    >>> part.texts(part.encode(pd.DataFrame({"de": ["Bitte speichern"]})))
    ['Bitte speichern']
    """

    kind = "sequence"
    metric = "chrf"
    score_name = "chrf"
    reads: ClassVar[str] = "steps"
    line: Tensor
    decoder: Decoder

    def __init__(self, targets: Sequence[str], dim: int, sources: Sequence[str] = ()) -> None:
        super().__init__(targets, dim)
        self.sources, self.trunk = tuple(sources), ModelConfig()
        self.pieces: Tokenizer | None = None
        self.chosen = SequenceSettings()
        self.length = self.most = 1
        """Pieces of a target at most, and of an answer."""
        self.pointer: Pointer | None = None

    @classmethod
    def of(cls, schema: Schema, dim: int, trunk: ModelConfig | None = None) -> SequenceOutput:
        """Beside the text columns of the schema."""
        made = cls(schema.targets, dim, [spec.columns[0] for spec in schema.inputs if spec.kind == "text"])
        made.trunk = trunk or ModelConfig()
        return made

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The one that answers are written in."""
        return self.pieces

    @property
    def width(self) -> int:
        """3L + 1."""
        return 3 * self.length + 1

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """Train the tokenizer, and choose the lengths: twice the longest answer and one and a half times."""
        self.chosen = SequenceSettings.checked("output", settings)
        if self.chosen.beam == 1 and "length_penalty" in settings:
            raise ConfigError(
                "output.length_penalty does nothing without beam search. Set output.beam, or leave it out."
            )
        if self.chosen.vocabulary < 260:
            raise ConfigError(
                f"output.vocabulary counts the 256 bytes and 4 marks: expected 260 or more, got "
                f"{self.chosen.vocabulary}. Raise it."
            )
        answers = [self.text(cell, DataError) for cell in frame[self.targets[0]]]
        if len(set(answers)) < 2:
            raise DataError(
                f"The target {self.targets[0]!r} has one text in all rows: expected at least two, or there is nothing "
                "to learn. Add rows with other answers."
            )
        read = [cell for name in self.sources for cell in frame[name] if isinstance(cell, str)]
        self.pieces = train_exact(
            iter([*answers, *(cleaned(cell, len(cell)) for cell in read)]), self.chosen.vocabulary
        )
        lengths = [len(row) + 1 for row in split(self.pieces, answers)]
        longest, bound = max(lengths), self.chosen.max_pieces
        if longest > bound:
            raise DataError(
                f"The target {self.targets[0]!r} has {sum(n > bound for n in lengths)} answers of more than {bound} "
                f"pieces, the longest of {longest}: expected no more than output.max_pieces. Set output.max_pieces to "
                f"{longest} or more, or leave these rows out."
            )
        self.length, self.most = min(bound, 2 * longest + 8), min(bound, longest * 3 // 2 + 8)
        self.reserve()

    def reserve(self) -> None:
        """Buffers."""
        self.register_buffer("line", torch.tensor([1.0, 0.0]))

    def build(self, members: int = 1) -> None:
        """Decoder, head and pointer; ConfigError for several members."""
        if members > 1:
            raise ConfigError(
                f"A text is written through one head: expected model.members=1, got {members}. For several models use "
                "aet.train_ensemble."
            )
        assert self.pieces is not None
        own, heads = self.trunk, gcd(self.trunk.heads, self.dim)
        self.head = nn.Linear(self.dim, self.pieces.get_vocab_size())
        self.decoder = Decoder(self.dim, self.chosen.depth, heads, self.length, own.expansion, own.dropout)
        self.pointer = Pointer(self.dim) if self.chosen.copying else None

    @property
    def embeddings(self) -> Tensor:
        """Those of the head's own weights (Press and Wolf 2017, 1608.05859), as the decoder reads them."""
        table: Tensor = self.head.weight * self.dim**0.5
        return table

    def embedded(self, pieces: Tensor) -> Tensor:
        """Pieces (B, T) -> (B, T, dim)."""
        out: Tensor = F.embedding(pieces, self.head.weight) * self.dim**0.5
        return out

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """The head's bias, (V,)."""
        return {"bias": (len(self.head.bias),)} if "head" in self._modules else {}

    def settings(self) -> dict[str, Any]:
        """The tokenizer as its own JSON text, the lengths and what was chosen."""
        assert self.pieces is not None
        kept = {"length": self.length, "most": self.most, "chosen": self.chosen.model_dump()}
        return {"tokenizer": self.pieces.to_str(), **kept}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take them back."""
        from tokenizers import Tokenizer

        self.pieces = Tokenizer.from_str(settings["tokenizer"])
        self.length, self.most = int(settings["length"]), int(settings["most"])
        self.chosen = SequenceSettings.checked("output", settings["chosen"])
        self.reserve()

    def text(self, cell: Any, error: type[DataError] | type[FeedbackError]) -> str:
        """The text of an answer."""
        text = written(cell)
        text = None if text is None else cleaned(text, len(text)).strip()
        if not text:
            raise error(
                f"The target {self.targets[0]!r} is a text: expected one that is not empty, got "
                f"{' '.join(repr(cell).split()):.60}. Leave such rows out."
            )
        return text

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Pieces (B, L)."""
        assert self.pieces is not None
        rows = split(self.pieces, [self.text(cell, FeedbackError) for cell in frame[self.targets[0]]])
        coded = torch.full((len(rows), self.length), PAD)
        for number, row in enumerate(rows):
            if len(row) >= self.length:
                raise FeedbackError(
                    f"An answer for {self.targets[0]!r} has {len(row)} pieces: this model learned texts of "
                    f"{self.length - 1} at most. Shorten it, or train with longer answers among the rows."
                )
            coded[number, : len(row) + 1] = torch.tensor([*row, END])
        return coded

    def texts(self, pieces: Tensor) -> list[str]:
        """What rows of pieces (B, n) say, up to `END`."""
        assert self.pieces is not None
        rows = pieces.tolist()
        return joined(self.pieces, [row[: row.index(END)] if END in row else row for row in rows])

    def forward(self, read: Tensor) -> Tensor:
        """Tokens with their marks (B, T, dim + 1) -> logits (B, 3L + 1).

        Knowing the truth while training, or where a gradient is asked for: of the truth alone.
        """
        known = told()
        pieces = None if known is None else known.pieces
        if known is not None and len(known.pieces) != len(read):
            raise ConfigError(
                f"{len(known.pieces)} rows were told of and {len(read)} are answered: expected the same. Pass the rows "
                "through the model as they are."
            )
        memory = begun(read, pieces)
        line = Line(self.length, len(read), read)
        if known is not None and known.target is not None:
            line.tell(*forced(self, memory, known.target, self.chosen.smoothing if self.training else 0.0))
            if self.training or torch.is_grad_enabled():
                return line.logits()
        line.write(*self.answered(memory))
        return line.logits()

    def answered(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """Pieces (B, n) of the best answers found and log p of each (B, n)."""
        return searched(self, memory, self.most, self.chosen.beam, self.chosen.length_penalty)

    def as_written(self, logits: Tensor) -> Written:
        """What logits hold."""
        assert self.pieces is not None
        return as_written(logits, self.length, self.pieces.get_vocab_size())

    def row_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean over the pieces of the truth; ConfigError where it was not told."""
        held = self.as_written(logits)
        if bool((held.share == -1).any()):
            raise ConfigError(
                "The loss of a text is that of its true pieces, and these logits were made without them: expected "
                "logits of a batch with targets. Encode the rows with target=True."
            )
        return piece_mean(F.softplus(-held.true), target != PAD)

    def sure(self, logits: Tensor) -> Tensor:
        """Log-odds (B,) that confidence stands for: of the mean probability (geometric) of the answer's pieces."""
        held = self.as_written(logits)
        mean = (F.logsigmoid(held.odds) * held.real).sum(1) / held.real.sum(1)
        return torch.logit(mean.exp(), eps=5e-5)

    def confidence(self, logits: Tensor) -> Tensor:
        """The chrF to be expected, (B,)."""
        line = self.line.to(logits.device)
        return (line[0] * self.sure(logits) + line[1]).sigmoid()

    def calibrate(self, logits: Tensor, target: Tensor) -> None:
        """Slope and shift whose cross-entropy with the scores of the validation rows is least, drawn to 1 and 0."""
        from scipy.optimize import minimize

        x, y = self.sure(logits).double().cpu(), self.scores(logits, target).double().cpu()

        def loss(line: Any) -> float:
            z = line[0] * x + line[1]
            fit = F.binary_cross_entropy_with_logits(z, y, reduction="sum")
            return float(fit + 0.5 * ((line[0] - 1) ** 2 + line[1] ** 2))

        found = minimize(loss, [1.0, 0.0], method="L-BFGS-B", bounds=[(0.01, 10.0), (-10.0, 10.0)])
        self.line.copy_(torch.tensor(found.x))

    def translated(self, other: Output, logits: Tensor) -> Tensor:
        """The other's texts in the own pieces, cut to the own length, their calibrated confidence in each piece."""
        self.of_my_kind(other)
        assert isinstance(other, SequenceOutput)
        assert self.pieces is not None
        held, sure = other.as_written(logits), other.confidence(logits).logit(5e-5)
        line = Line(self.length, len(logits), logits)
        if other.settings()["tokenizer"] == self.settings()["tokenizer"] and other.length == self.length:
            line.write_at(held.pieces, sure[:, None].expand_as(held.odds), held.real)
            line.truth, line.share = held.true, held.share
            return line.logits()
        rows = [[*row, END][: self.length] for row in split(self.pieces, other.texts(held.pieces))]
        pieces = torch.zeros(len(rows), self.length, dtype=torch.long)
        for number, row in enumerate(rows):
            pieces[number, : len(row)] = torch.tensor(row)
        line.write_at(pieces.to(logits.device), sure[:, None].expand(-1, self.length), pieces.to(logits.device) != PAD)
        return line.logits()

    def pooled(self, logits: Tensor) -> Tensor:
        """Of each row the answer that is most like those of the others, which are weighed by their confidence.

        The least expected risk of Kumar and Byrne 2004 (N04-1022), over the members' answers; confidence is the
        likeness that was expected of it.
        """
        each = [self.as_written(one) for one in logits]
        sure = torch.stack([self.sure(one).sigmoid() for one in logits])  # (M, B)
        which, expected = agreed([self.texts(held.pieces) for held in each], sure)
        index = torch.arange(logits.shape[1], device=logits.device)
        pieces, real = (torch.stack([getattr(h, n) for h in each])[which, index] for n in ("pieces", "real"))
        line = Line(self.length, logits.shape[1], logits)
        line.write_at(pieces, expected.logit(5e-5)[:, None].expand(-1, self.length), real)
        shares = torch.stack([held.share for held in each])
        line.truth = torch.stack([held.true for held in each]).sigmoid().mean(0).logit(1e-7)
        line.share = torch.where((shares == -1).any(0), -1.0, shares.mean(0))
        return line.logits()

    def distance(self, logits: Tensor, taught: Tensor, temperature: float = 1.0) -> Tensor:
        """τ² KL of whether each piece of the truth is said, σ(taught / τ) from σ(z / τ), mean over the pieces.

        All that is kept of a piece's distribution is the true one's share: the divergence of the whole is no less.
        """
        z, wanted = self.as_written(logits).true, self.as_written(taught).true
        real, (z, wanted) = (z != 0) | (wanted != 0), (z / temperature, wanted / temperature)
        p = wanted.sigmoid()
        apart = p * (F.logsigmoid(wanted) - F.logsigmoid(z)) + (1 - p) * (F.logsigmoid(-wanted) - F.logsigmoid(-z))
        return temperature**2 * piece_mean(apart, real)

    def answers(self, logits: Tensor, proba: bool = False) -> pd.DataFrame:
        """`prediction`: the text; `confidence`: the chrF to be expected of it."""
        logits = logits.cpu()
        said = pd.Series(self.texts(self.as_written(logits).pieces), dtype=object)
        return pd.DataFrame({"prediction": said, "confidence": self.confidence(logits).double().numpy()})

    def scores(self, logits: Tensor, target: Tensor) -> Tensor:
        """The answers' chrF."""
        said = self.texts(self.as_written(logits).pieces)
        return each_chrf(said, self.texts(target)).to(logits.device)

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """1 where they are other texts."""
        said, beside = (self.texts(self.as_written(logits).pieces) for logits in (one, other))
        return torch.tensor([float(a != b) for a, b in zip(said, beside, strict=True)])

    def belief(self, logits: Tensor, target: Tensor) -> Tensor | None:
        """Mean probability (geometric) of the truth's pieces, where it was told."""
        if bool((self.as_written(logits).share == -1).any()):
            return None
        return (-self.row_losses(logits, target)).exp()

    def uncertainty(self, logits: Tensor) -> Tensor:
        """One minus the confidence."""
        return 1 - self.confidence(logits)

    def metrics(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        """`chrf`, mean over rows, and `exact`, the share of answers that are the truth; where it was told, `loss` and
        `token_accuracy` of its pieces; `bleu` and `corpus_chrf` (0..100) with the package sacrebleu, `rouge_l` (0..1)
        with rouge-score, `word_error` and `letter_error` (from 0) with jiwer.
        """
        said, truth = self.texts(self.as_written(logits).pieces), self.texts(target)
        figures = {"chrf": float(each_chrf(said, truth).mean()), **text_figures(said, truth)}
        share = self.as_written(logits).share
        if bool((share != -1).all()):
            figures["loss"] = float(self.row_losses(logits, target).mean())
            figures["token_accuracy"] = float(share.clamp(0, 1).mean())
        return figures


def piece_mean(figures: Tensor, real: Tensor) -> Tensor:
    """Mean (B,) of figures (B, L) over the pieces."""
    return torch.where(real, figures, 0.0).sum(1) / real.sum(1).clamp_min(1)
