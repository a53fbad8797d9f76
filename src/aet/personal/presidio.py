"""Microsoft Presidio's analyzer as one more finder: names, places and what else its language model knows."""

from __future__ import annotations

from collections import Counter

from aet.optional import optional

SCORE = 0.5
"""From this score on its findings count."""


class Presidio:
    """English; it brings its own language model, which must be installed as well."""

    def __init__(self) -> None:
        package = optional(
            "presidio_analyzer",
            "The engine 'presidio'",
            "pip install presidio-analyzer and a spaCy model",
            "take engine='patterns'",
        )
        self.analyzer = package.AnalyzerEngine()

    def once(self, text: str) -> tuple[str, Counter[str]]:
        """One pass: the widest finding first where several overlap; what is masked already is left alone."""
        from aet.personal.mask import replaced

        kept: list[tuple[int, int, str]] = []
        findings = self.analyzer.analyze(text=text, language="en", score_threshold=SCORE)
        for one in sorted(findings, key=lambda one: one.start - one.end):
            inside = text[max(0, one.start - 1) : one.end + 1]
            if all(one.end <= start or one.start >= end for start, end, _ in kept) and "[" not in inside:
                kept.append((one.start, one.end, str(one.entity_type).lower()))
        kept.sort()
        labels = [f"[{kind.upper()}]" for *_, kind in kept]
        return replaced(text, [(start, end) for start, end, _ in kept], labels), Counter(kind for *_, kind in kept)
