"""Folders of images that several files of tests pack."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def seven_pictures(tmp_path: Path) -> Path:
    """A folder of seven images, which make four shards of two."""
    from miniature_files import picture, put

    for number in range(7):
        put(tmp_path / "pictures" / f"{number}.jpg", picture(number))
    return tmp_path / "pictures"
