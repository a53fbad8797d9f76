"""Words of a sentence: the pieces of the text input, told which word they start and how that word is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aet.cells.words import MOST
from aet.errors import ConfigError
from aet.inputs.base import INPUTS
from aet.inputs.casing import CASINGS, casing
from aet.inputs.pieces import CHARACTERS, cleaned, split
from aet.inputs.pretrained import Pretrained
from aet.inputs.text import TextInput, TextSettings
from aet.inputs.tuning import FROZEN

if TYPE_CHECKING:
    from tokenizers import Tokenizer

REST = 128
"""Pieces at most that continue a word, the start among them."""
LETTERS = CHARACTERS * REST
"""Characters of a word that are read."""


@INPUTS.register("words")
class WordsInput(TextInput):
    """One column of lists of words. Encoded: (B, L, 3), piece by piece as they are read.

    The channels are the piece, the number of the word that it starts (0 for none) and the casing class of its word
    (`aet.inputs.casing`; 0 for none). Tokens come in another order, the words' first pieces in front: token w is that
    of word w + 1 for w < W = 128, then come the start and the pieces that continue a word. So an output that answers
    for each word finds it without being told (`aet.places`). A word's token is that of its first piece and, through a
    learned map that is 0 at the start, the mean of those that continue it. A row has room for twice the continuing
    pieces of 98 % of the training rows; further ones are left out, and every word keeps its first.

    A pretrained network that trains is told the casing too, by an addition to its pieces' embeddings that is 0 at the
    start: most of them lower-case their text.

    >>> from aet.schema import InputSpec
    >>> part = WordsInput([InputSpec("words", "words", ("words",))], dim=8)
    >>> frame = pd.DataFrame({"words": [["EU", "rejects"], ["dog"]]})
    >>> part.fit(frame, {})
    >>> part.encode(frame)[0, :4, 1:].tolist()  # the start, two words, nothing
    [[0, 0], [1, 3], [2, 1], [0, 0]]
    """

    kind = "words"

    def share(self, tokenizer: Tokenizer) -> None:
        """Words are cut into pieces of their own: what is written one piece after another is not read by words."""

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """Take or train the tokenizer, and choose the length: W and the start and pieces that continue words."""
        self.chosen(settings)
        for name in ("windows", "max_pieces"):
            if name in settings:
                raise ConfigError(
                    f"inputs.{self.kind}.{name} does nothing: a row has {MOST} words at most, each with its first "
                    "piece, in one window. Leave it out."
                )
        super().fit(frame, settings, target)
        cells = list(frame[self.column])
        pieces = self.pieces_by_word(cells)
        rest = [sum(len(pieces[word]) - 1 for word in words) for words in cells]
        self.length = MOST + min(REST, 8 + 2 * int(np.percentile(rest, 98)))

    def take(self, given: Pretrained, chosen: TextSettings) -> TextSettings:
        """As for texts; a network that trains is told the casing where it begins."""
        made = super().take(given, chosen)
        assert self.network is not None
        self.network["cased"] = self.network["tuning"]["name"] != FROZEN
        return made

    def build(self) -> None:
        """Embeddings of pieces, positions and casing; those that a network begins with are 0 at the start."""
        super().build()
        self.casings = nn.Embedding(len(CASINGS) + 1, self.dim)
        with torch.no_grad():
            self.casings.weight.mul_(0.1)
        self.entries: nn.Embedding | None = None
        if self.backbone is not None and self.network and self.network.get("cased"):
            self.entries = nn.Embedding(len(CASINGS) + 1, self.backbone.entry)
            nn.init.zeros_(self.entries.weight)
        self.rest = nn.Linear(self.dim, self.dim, bias=False)
        nn.init.zeros_(self.rest.weight)

    def texts(self, frame: pd.DataFrame) -> list[str]:
        """The words divided by blanks."""
        return [" ".join(cleaned(word, LETTERS) for word in words) for words in frame[self.column]]

    def pieces_by_word(self, cells: list[list[str]]) -> dict[str, list[int]]:
        """Pieces of each word that occurs, at least one."""
        assert self.tokenizer is not None
        words = list(dict.fromkeys(word for cell in cells for word in cell))
        unknown = self.marks.blank if self.marks.unknown is None else self.marks.unknown
        found = split(self.tokenizer, [cleaned(word, LETTERS) for word in words])
        return {word: ids or [unknown] for word, ids in zip(words, found, strict=True)}

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Pieces in the order of the text, with their words and casings."""
        cells = list(frame[self.column])
        pieces = self.pieces_by_word(cells)
        styles = {word: casing(word) for word in pieces}
        coded = torch.zeros(len(cells), self.length, 3, dtype=torch.long)
        coded[..., 0] = self.pad
        before, after = ([(mark, 0, 0) for mark in marks] for marks in (self.marks.before, self.marks.after))
        for row, words in enumerate(cells):
            read, room = [*before], self.length - MOST - len(before) - len(after)
            for number, word in enumerate(words, 1):
                first, *more = pieces[word]
                read.append((first, number, styles[word]))
                read += [(piece, 0, styles[word]) for piece in more[:room]]
                room -= min(room, len(more))
            read += after
            coded[row, : len(read)] = torch.tensor(read)
        return coded

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (B, L, 3) -> tokens (B, L, dim), mask (B, L), the words' first pieces in front."""
        tokens = self.read(values) + self.casings(values[..., 2])
        tokens = tokens + self.rest(continued(tokens, values)) * (values[..., 1:2] > 0)
        source, filled = words_first(values)
        return tokens.gather(1, source[..., None].expand_as(tokens)), filled

    def read(self, values: Tensor) -> Tensor:
        """Values (B, L, 3) -> tokens (B, L, dim) of the pieces, in the order of the text."""
        if self.entries is None:
            return super().forward(values[..., 0])[0]
        assert self.backbone is not None
        ids = values[..., 0]
        hidden: Tensor = self.backbone(ids, ids != self.pad, self.entries(values[..., 2]))
        return hidden if self.project is None else self.project(hidden)

    def there(self, values: Tensor) -> Tensor | None:
        """All rows have words: they are what is answered for."""
        return None

    def behind(self, values: Tensor) -> tuple[Tensor, int] | None:
        """The pieces (B, L), in the tokens' order; -1 where there is none."""
        known = super().behind(values[..., 0])
        if known is None:
            return None
        pieces, width = known
        source, filled = words_first(values)
        return pieces.masked_fill(values[..., 2] == 0, -1).gather(1, source).masked_fill(~filled, -1), width

    def augment(self, values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Some pieces become unknown: other words, written alike."""
        return torch.cat([super().augment(values[..., 0], strength, generator)[..., None], values[..., 1:]], -1)


def continued(tokens: Tensor, values: Tensor) -> Tensor:
    """For each piece (B, L) the mean token (B, L, dim) of the pieces that continue its word; 0 where none does."""
    word = values[..., 1].cummax(1).values  # of which word each piece is
    more = ((values[..., 1] == 0) & (values[..., 2] > 0)).to(tokens.dtype)[..., None]
    sums = tokens.new_zeros(len(tokens), MOST + 1, tokens.shape[-1])
    sums = sums.scatter_add(1, word[..., None].expand_as(tokens), tokens * more)
    counts = tokens.new_zeros(len(tokens), MOST + 1, 1).scatter_add(1, word[..., None], more)
    return (sums / counts.clamp_min(1)).gather(1, word[..., None].expand_as(tokens))


def words_first(values: Tensor) -> tuple[Tensor, Tensor]:
    """Of encoded rows (B, L, 3), which piece stands at each place (B, L), and whether one does.

    >>> values = torch.zeros(1, 132, 3, dtype=torch.long)
    >>> values[0, :4] = torch.tensor([[2, 0, 0], [7, 1, 1], [8, 0, 1], [9, 2, 1]])  # start, two pieces, a second word
    >>> source, filled = words_first(values)
    >>> source[0, [0, 1, 128, 129]].tolist(), filled.nonzero()[:, 1].tolist()
    ([1, 3, 0, 2], [0, 1, 128, 129])
    """
    rows, length, _ = values.shape
    order = torch.arange(length, device=values.device).expand(rows, -1)
    number, real = values[..., 1], (values[..., 2] > 0) | (order == 0)
    place = torch.where(number > 0, number - 1, MOST + (real & (number == 0)).long().cumsum(1) - 1)
    place = place.masked_fill(~real, length).clamp(max=length)  # what is not there goes to a place that is cut off
    source = torch.zeros(rows, length + 1, dtype=torch.long, device=values.device).scatter_(1, place, order)
    filled = torch.zeros(rows, length + 1, dtype=torch.bool, device=values.device).scatter_(1, place, True)
    return source[:, :length], filled[:, :length]
