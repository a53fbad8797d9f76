"""How a word is written: what a tokenizer that lower-cases its text loses."""

from __future__ import annotations

CASINGS = ("lower", "Title", "UPPER", "mIxed", "digits", "mixed digits", "punctuation", "other")


def casing(word: str) -> int:
    """Number of the word's class in `CASINGS`, from 1 on; 0 is for places without a word.

    >>> [CASINGS[casing(word) - 1] for word in ("dog", "Oslo", "EU", "iPhone", "1996-08-30", "U21", "...", "北京")]
    ['lower', 'Title', 'UPPER', 'mIxed', 'digits', 'mixed digits', 'punctuation', 'other']
    """
    letters, digits = any(c.isalpha() for c in word), any(c.isdigit() for c in word)
    if digits:
        return 1 + CASINGS.index("mixed digits" if letters else "digits")
    if not letters:
        return 1 + CASINGS.index("other" if any(c.isalnum() for c in word) else "punctuation")
    cased = [c for c in word if c.isupper() or c.islower()]
    if not cased:
        return 1 + CASINGS.index("other")
    if all(c.islower() for c in cased):
        return 1 + CASINGS.index("lower")
    if word[0].isupper() and not any(c.isupper() for c in word[1:]):
        return 1 + CASINGS.index("Title")
    return 1 + CASINGS.index("UPPER" if all(c.isupper() for c in cased) else "mIxed")
