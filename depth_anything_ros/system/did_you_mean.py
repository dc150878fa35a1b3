"""Suggestions for misspelled words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suggestion to append to an error message, or "" if no known word is similar.

    Args:
        word: the unknown word.
        known: the valid words; the two most similar are suggested.
    """
    near = difflib.get_close_matches(word, list(known), n=2)
    return f": did you mean {' or '.join(near)}?" if near else ""
