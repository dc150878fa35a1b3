"""What was probably meant by a word that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """What to append to a complaint about ``word``: the known words that are most like it, "" where none is."""
    near = difflib.get_close_matches(word, list(known), n=2)
    return f": did you mean {' or '.join(near)}?" if near else ""
