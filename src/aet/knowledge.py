"""Texts found by what they mean: sentence embeddings of a pretrained network, searched exactly.

    e(x) = mean of the hidden states of x's pieces, divided by its length;   similarity(x, y) = e(x) · e(y)

Mean pooling as in Reimers and Gurevych 2019, 1908.10084. Exact search is one matrix product: of 100,000 texts of width
384 some 150 MB and tens of milliseconds a question, so that no index is needed below that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from aet.errors import DataError
from aet.inputs.backbone import Backbone
from aet.inputs.pieces import CHARACTERS, cleaned, coded, split
from aet.inputs.pretrained import pretrained

LENGTH = 256
"""Pieces of a text at most; the rest is not read."""
AT_ONCE, QUESTIONS = 64, 256


class Sentences:
    """Embeddings (N, width) of texts, each of length one; a text without a word is the zero vector.

    Args:
        backbone: "minilm" (extra `[text]`), a folder, or a name of the hub; errors as in `inputs.text.backbone`.
    """

    def __init__(self, backbone: str = "minilm") -> None:
        given = pretrained(backbone)
        self.tokenizer, self.marks = given.tokenizer, given.marks
        self.length = min(LENGTH, given.longest or LENGTH)
        config: Any = given.module.config
        width = int(config.hidden_size)
        self.network = Backbone(given.module, width, self.length, freeze=True)

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """As the formula says, `AT_ONCE` texts at a time."""
        found = [torch.empty(0, self.network.width)]
        for start in range(0, len(texts), AT_ONCE):
            read = [cleaned(str(text), CHARACTERS * self.length) for text in texts[start : start + AT_ONCE]]
            pieces = split(self.tokenizer, read)
            ids = coded(pieces, self.marks, self.length)
            mask = ids != self.marks.pad
            hidden = self.network(ids, mask)
            mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
            words = torch.tensor([bool(own) for own in pieces])
            found.append(F.normalize(mean, dim=-1) * words[:, None])
        return torch.cat(found)


class Knowledge:
    """Texts that can be asked for by meaning.

    Args:
        texts: what can be found.
        embed: texts -> vectors of length one (N, width); by default MiniLM's.

    Raises DataError if there is no text.
    """

    def __init__(self, texts: Sequence[str], embed: Sentences | None = None) -> None:
        self.embed = Sentences() if embed is None else embed
        self.texts = [texts] if isinstance(texts, str) else [str(text) for text in texts]
        if not self.texts:
            raise DataError("Knowledge holds no text: give it one or more to find.")
        self.vectors = self.embed(self.texts)

    def search(self, questions: Sequence[str], count: int = 3) -> pd.DataFrame:
        """The `count` texts nearest to each question, the best first.

        Columns: question (its number), rank (from 1), place (of the text), text, similarity (-1..1).
        """
        if isinstance(questions, str):
            questions = [questions]
        count = max(0, min(count, len(self.texts)))
        places, values = [torch.empty(0, count, dtype=torch.long)], [torch.empty(0, count)]
        for start in range(0, len(questions), QUESTIONS):
            near = (self.embed(questions[start : start + QUESTIONS]) @ self.vectors.T).topk(count)
            places.append(near.indices)
            values.append(near.values)
        place, value = torch.cat(places).flatten().numpy(), torch.cat(values).flatten().numpy()
        return pd.DataFrame(
            {
                "question": np.repeat(np.arange(len(questions)), count),
                "rank": np.tile(np.arange(1, count + 1), len(questions)),
                "place": place,
                "text": [self.texts[i] for i in place],
                "similarity": value,
            }
        )

    def beside(self, questions: Sequence[str], count: int = 1) -> list[str]:
        """Each question with the `count` texts nearest to it, a line each: what a model that writes answers is to read
        (retrieval and generation, Lewis et al. 2020, 2005.11401).
        """
        questions = [questions] if isinstance(questions, str) else list(questions)
        found = self.search(questions, count)
        near = [found["text"][found["question"] == number] for number in range(len(questions))]
        return ["\n".join([question, *own]) for question, own in zip(questions, near, strict=True)]
