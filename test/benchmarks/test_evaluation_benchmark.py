"""The benchmark of scoring: its table, and that scores do not depend on threads."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import evaluation


def test_table_has_the_clock_and_the_processors(capsys: pytest.CaptureFixture[str]) -> None:
    evaluation.main(["--frames", "9", "--size", "64x48", "--workers", "1", "2", "--robot"])
    head, _, one, two, verdict = capsys.readouterr().out.splitlines()
    assert head == "| workers | frames | seconds | ms per frame | CPU seconds |"
    assert verdict == "scores are bitwise equal"
    for line, workers in ((one, "1"), (two, "2")):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:2] == [workers, "9 of 64x48"]
        assert all(float(cell) >= 0 for cell in cells[2:])
