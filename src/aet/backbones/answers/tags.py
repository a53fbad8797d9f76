"""Tags: logits (B, P, C) of pieces, of which the first of each word speaks for it, as in Hugging Face's examples.

What is read is (B, P, 3): the piece, the number of the word that it starts (from 1 on; 0 for none), and 1 where there
is a piece. A user's own reader may have more channels; the second says where words start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor, nn

from aet.backbones.answers.base import ANSWERS, Answer, Call, Reader, classes_of, one_to_one, only_column, wrong_shape
from aet.cells.words import MOST
from aet.errors import ConfigError
from aet.outputs.base import Output
from aet.outputs.entities import BIO
from aet.places import Places


@ANSWERS.register("tags")
class TagsAnswer(Answer):
    """A token a word, the logits of its first piece.

    BIO tags alone; the aet's own order is the module's, whose first need not be O: logits are put in order.
    """

    pieces = 2 * MOST
    places: ClassVar[Places | None] = Places()

    def __init__(self, outputs: Any) -> None:
        self.given = [str(tag) for tag in classes_of(outputs)]
        wrong = [tag for tag in self.given if not BIO.fullmatch(tag)]
        if wrong or "O" not in self.given:
            raise ConfigError(
                f"`outputs` names BIO tags in the order of the logits: expected O, B-x and I-x, got "
                f"{wrong or self.given}."
            )
        self.classes = ["O", *(tag for tag in self.given if tag != "O")]
        self.order = [self.given.index(tag) for tag in self.classes]
        self.width = len(self.classes)

    def names(self, module: nn.Module) -> list[str]:
        """The words' places."""
        return [f"{type(module).__name__}[{i}]" for i in range(MOST)]

    def fit(self, output: Output, frame: pd.DataFrame) -> None:
        """The tags as they were named, O first."""
        output.load_settings({"classes": self.classes})
        output.build()
        one_to_one(output)

    def tokens(self, said: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """(B, W, C), and where there is a word (B, W)."""
        if values.ndim != 3 or values.shape[-1] < 2:
            raise ConfigError(
                "`inputs` for tags gives what the module reads and the number of the word that each place starts, "
                f"(rows, pieces, 2 or more): got {tuple(values.shape)}."
            )
        known = isinstance(said, Tensor) and said.ndim == 3
        if not known or len(said) != len(values) or said.shape[1] > values.shape[1] or said.shape[2] != self.width:
            raise wrong_shape(
                f"logits of the {self.width} tags of each piece, (rows, pieces, {self.width})", said, len(values)
            )
        word = values[:, : said.shape[1], 1].long().to(said.device)
        place = torch.where(word > 0, word - 1, MOST)  # what starts no word goes to a place that is cut off
        index = place[..., None].expand(-1, -1, self.width)
        each = said.new_zeros(len(said), MOST + 1, self.width).scatter(1, index, said[..., self.order])
        real = torch.zeros(len(said), MOST + 1, dtype=torch.bool, device=said.device).scatter(1, place, True)
        return each[:, :MOST], real[:, :MOST]

    def tokenized(self, tokenizer: Any, columns: Sequence[str], pieces: int) -> tuple[Reader, Call]:
        """A column of words. Every word keeps its first piece; of those that continue one the last are left out where
        a row has no room for them.
        """
        column, pad = only_column(tokenizer, columns)
        fixed = tokenizer.num_special_tokens_to_add()
        if not tokenizer.is_fast:
            raise ConfigError(
                "Tags are read by a fast tokenizer, which knows the words of its pieces: load the fast one."
            )
        if pieces < MOST + fixed:
            raise ConfigError(
                f"A row may have {MOST} words and {fixed} marks: expected pieces of {MOST + fixed} or more, got "
                f"{pieces}."
            )

        def read(frame: pd.DataFrame) -> Tensor:
            coded = torch.zeros(len(frame), pieces, 3, dtype=torch.long)
            coded[..., 0] = pad
            for row, words in enumerate(frame[column]):
                found = fitted(numbered(tokenizer, list(words)), pieces)
                coded[row, : len(found)] = torch.tensor([(piece, word, 1) for piece, word in found])
            return coded

        def ask(module: nn.Module, values: Tensor) -> Any:
            longest = max(1, int(values[..., 2].sum(1).max()))
            return module(input_ids=values[:, :longest, 0], attention_mask=values[:, :longest, 2])

        return read, ask


def numbered(tokenizer: Any, words: list[str]) -> list[tuple[int, int]]:
    """Pieces of a row with its marks, each with the number of the word that it starts, 0 for none.

    A word of which a tokenizer leaves nothing is read as its unknown piece.
    """
    coded = tokenizer(words, is_split_into_words=True, truncation=False)
    lost = set(range(len(words))) - set(coded.word_ids())
    if lost:
        if tokenizer.unk_token is None:
            raise ConfigError(f"The tokenizer leaves nothing of {words[min(lost)]!r}: give it an unknown piece.")
        words = [tokenizer.unk_token if number in lost else word for number, word in enumerate(words)]
        coded = tokenizer(words, is_split_into_words=True, truncation=False)
    seen: set[int] = set()
    found = []
    for piece, word in zip(coded.input_ids, coded.word_ids(), strict=True):
        starts = word is not None and word not in seen
        seen |= {word} if starts else set()
        found.append((piece, word + 1 if starts else 0))
    return found


def fitted(found: list[tuple[int, int]], room: int) -> list[tuple[int, int]]:
    """At most `room` pieces; the last of those that continue a word go first.

    >>> fitted([(101, 0), (7, 1), (8, 0), (9, 2), (102, 0)], 4)
    [(101, 0), (7, 1), (9, 2), (102, 0)]
    """
    over = len(found) - room
    if over <= 0:
        return found
    more = [place for place, (_, word) in enumerate(found) if not word and 0 < place < len(found) - 1]
    gone = set(more[-over:])
    return [piece for place, piece in enumerate(found) if place not in gone]
