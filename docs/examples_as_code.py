"""For the reference: examples in docstrings are code; Markdown would read their prompts as quotations."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from griffe import Extension, Object


class ExamplesAsCode(Extension):
    """Puts every example of a docstring between fences."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Once for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    r"""Paragraphs that begin with a prompt, between fences.

    >>> fenced("Adds.\n\n>>> 1 + 1\n2\n\nThat is all.").split("\n")[2:6]
    ['```pycon', '>>> 1 + 1', '2', '```']
    """
    lines: list[str] = []
    for blank, paragraph in groupby(text.split("\n"), key=lambda line: not line.strip()):
        some = list(paragraph)
        indent = some[0][: len(some[0]) - len(some[0].lstrip())]
        if not blank and some[0].lstrip().startswith(">>>"):
            some = [f"{indent}```pycon", *some, f"{indent}```"]
        lines += some
    return "\n".join(lines)
