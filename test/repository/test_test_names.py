"""The names of test files: pytest imports each by its name alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


def test_every_test_file_has_its_own_name() -> None:
    names = Counter(path.name for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
