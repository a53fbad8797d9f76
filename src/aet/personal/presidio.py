"""Microsoft Presidio's analyzer as one more finder: names, places and what else its language model knows."""

from __future__ import annotations

from collections import Counter

from aet.errors import MissingPackage
from aet.optional import optional

SCORE = 0.5
"""From this score on its findings count."""
SIZES = ("trf", "lg", "md", "sm")
"""Of spaCy's models, the largest first."""


class Presidio:
    """English; it brings its own language model, which must be installed as well."""

    def __init__(self) -> None:
        package = optional(
            "presidio_analyzer",
            "The engine 'presidio'",
            "pip install presidio-analyzer and a spaCy model",
            "take engine='patterns'",
        )
        from presidio_analyzer.nlp_engine import NlpEngineProvider

        models = [{"lang_code": "en", "model_name": language_model()}]
        engine = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
        self.analyzer = package.AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])

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


def language_model() -> str:
    """The largest of spaCy's English models that are installed: left to itself Presidio would download one.

    Raises MissingPackage if there is none.
    """
    from spacy.util import get_installed_models

    installed: list[str] = sorted(name for name in get_installed_models() if name.startswith("en_"))
    found = [name for size in SIZES for name in installed if f"_{size}" in name]
    if not found:
        raise MissingPackage(
            "The engine 'presidio' needs one of spaCy's English models, and none is installed. Run: python -m spacy "
            "download en_core_web_lg (or pip install a package of one); or take engine='patterns'."
        )
    return found[0]
