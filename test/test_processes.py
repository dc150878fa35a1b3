"""What several real processes do as one: wait for what one writes, fail together, stand at the same step."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from stage_runs import environment

SCRIPT = Path(__file__).resolve().parent / "two_processes.py"


def seen_by_both(act: str, folder: Path) -> list[dict]:
    """What two processes saw of one of the script's functions."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line = [*torchrun, str(SCRIPT), act, str(folder)]
    result = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return [json.loads((folder / f"seen_{rank}.json").read_text()) for rank in range(2)]


def test_no_process_goes_on_before_the_first_has_written(tmp_path):
    assert seen_by_both("wait_for_a_slow_disk", tmp_path) == [{"is_there": True}] * 2


def test_where_the_first_cannot_write_all_fail(tmp_path):
    assert seen_by_both("fail_together", tmp_path) == [{"raised": "FileNotFoundError"}, {"raised": "StateError"}]


def test_processes_that_stand_at_other_steps_refuse_to_go_on(tmp_path):
    for seen in seen_by_both("find_other_states", tmp_path):
        assert "of steps 7, 8: it must be one folder, on a disk that all machines share" in seen["raised"]


def test_validating_the_average_leaves_a_sharded_network_as_it_was(tmp_path):
    for seen in seen_by_both("validate_the_average", tmp_path):
        assert seen["average"] > 0.01
        assert seen["changed"] == 0.0
