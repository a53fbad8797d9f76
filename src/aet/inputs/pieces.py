"""Texts to pieces: what is taken out of a text before it is split, the tokenizer trained on the data, and the marks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN, START, END = 0, 1, 2, 3
CHARACTERS = 40
"""Characters read for each piece that a text may have: more than any language needs."""
SURROGATE = re.compile("[\ud800-\udfff]")
CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x9f]")


@dataclass(frozen=True)
class Marks:
    """Numbers that a tokenizer gives to what is no word.

    pad: no piece; unknown: a piece never seen, None where there is none; before, after: put around each text; blank:
    stands in a text without pieces or marks, so that no row is empty.
    """

    pad: int = PAD
    unknown: int | None = UNKNOWN
    before: tuple[int, ...] = (START,)
    after: tuple[int, ...] = ()
    blank: int = UNKNOWN

    @property
    def fixed(self) -> tuple[int, ...]:
        """Numbers that stay in their places whatever happens to the words."""
        return (self.pad, *self.before, *self.after)

    def room(self, length: int) -> int:
        """Pieces of a text that fit into so many places."""
        return length - len(self.before) - len(self.after)

    def around(self, pieces: Sequence[int]) -> list[int]:
        """Pieces with the marks around them, at least one number.

        >>> Marks(before=(101,), after=(102,)).around([7, 8]), Marks(before=(), blank=5).around([])
        ([101, 7, 8, 102], [5])
        """
        return [*self.before, *pieces, *self.after] or [self.blank]


def cleaned(text: str, most: int) -> str:
    """At most `most` characters of a text, or of a word, without what no tokenizer can read.

    Lone surrogates, which invalid UTF-8 and JSON leave behind and which are no characters, become U+FFFD; control
    characters that are no white space go. Only of a longer text is white space at its ends and in rows left out first,
    so that a short one stays as it is; all that is looked at of it are its first 8 · `most` characters.

    >>> cleaned("a\\x00b\\ud83d c", 9), cleaned("  so   much  air ", 6)
    ('ab\ufffd c', 'so muc')
    """
    if len(text) > most:
        text = " ".join(text[: 8 * most].split())[:most]
    return CONTROL.sub("", SURROGATE.sub("\ufffd", text))


def train_tokenizer(texts: Iterator[str], vocabulary: int) -> Tokenizer:
    """Byte-pair encoding on lower-cased, NFKC-normalised text (Sennrich et al. 2016).

    Han characters, which are written without spaces, are a piece each; other scripts are split at spaces and
    punctuation. The commonest characters are kept where there are more than pieces.

    >>> tokenizer = train_tokenizer(iter(["酒店很好 very good"] * 3), 40)
    >>> tokenizer.encode("好酒店 GOOD").tokens
    ['好', '酒', '店', 'good']
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Whitespace(),
            pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    special, read = ["[PAD]", "[UNK]", "[START]"], list(texts)
    counts = Counter(character for text in read for character in tokenizer.normalizer.normalize_str(text))
    # Which of equally rare ones stay is left to nobody: the trainer's own choice differs from run to run.
    common = [c for c in sorted(counts, key=lambda c: (-counts[c], c)) if not c.isspace()]
    alphabet = common[: max(1, vocabulary - len(special))]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(read, trainer)
    return tokenizer


def train_exact(texts: Iterator[str], vocabulary: int) -> Tokenizer:
    """Byte-pair encoding that loses nothing, for texts that are written too: case, spaces and any character stay.

    It begins with the 256 bytes (Radford et al. 2019), so that no character is unknown; `END` ends a text.

    >>> tokenizer = train_exact(iter(["Please log in, %(user)s."] * 3), 300)
    >>> joined(tokenizer, [split(tokenizer, ["Please log in, 名 %(user)s."])[0]])
    ['Please log in, 名 %(user)s.']
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        # The space put first makes a word the same at the start as in the middle.
        [pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["[PAD]", "[UNK]", "[START]", "[END]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def joined(tokenizer: Tokenizer, rows: Sequence[Sequence[int]]) -> list[str]:
    """The texts of rows of pieces, marks left out; what is no text (half a character) becomes U+FFFD."""
    return [text.removeprefix(" ") for text in tokenizer.decode_batch([list(row) for row in rows])]


def split(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Numbers of the pieces of each text, without marks; marks that someone wrote into a text are plain text."""
    tokenizer.encode_special_tokens = True
    return [list(found.ids) for found in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def coded(rows: Iterable[Sequence[int]], marks: Marks, window: int, windows: int = 1) -> Tensor:
    """Pieces of each text as (B, windows · window) numbers, marks around each window, cut or padded.

    >>> coded([[7, 8, 9], []], Marks(before=(5,), after=(6,)), window=4, windows=2).tolist()
    [[5, 7, 8, 6, 5, 9, 6, 0], [5, 6, 0, 0, 0, 0, 0, 0]]
    """
    room, made = marks.room(window), []
    for pieces in rows:
        row: list[int] = []
        for start in range(0, min(len(pieces), windows * room) or 1, max(room, 1)):
            part = marks.around(pieces[start : start + room])
            row += part + [marks.pad] * (window - len(part))
        made.append(row + [marks.pad] * (windows * window - len(row)))
    return torch.tensor(made, dtype=torch.long).view(-1, windows * window)
