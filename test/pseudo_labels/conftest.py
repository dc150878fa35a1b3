"""Shards and their labels for all tests of `label`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shards of images in three shapes; not to be changed."""
    from labeling_runs import write_shards

    return write_shards(tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("packed") / "shards")


@pytest.fixture(scope="session")
def labels(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labels that one process makes for the shards; not to be changed."""
    from labeling_runs import label

    output = tmp_path_factory.mktemp("labels") / "whole"
    assert label(shards, output) == 0
    return output
