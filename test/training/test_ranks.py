"""Several real processes as one run: they wait for the first one's files, fail together and have the same step."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from processes import descendants, kill
from waiting import limit, wait_until

pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from stage_runs import environment

SCRIPT = Path(__file__).resolve().parents[1] / "helpers" / "two_processes.py"


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Callable[[str], list[dict]]:
    """The results of two processes for one of the script's functions; all run in the same processes."""

    @cache
    def run() -> list[dict]:
        folder = tmp_path_factory.mktemp("seen")
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        line = [*torchrun, str(SCRIPT), str(folder)]
        result = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=limit(300))
        assert result.returncode == 0, result.stderr
        return [json.loads((folder / f"seen_{rank}.json").read_text()) for rank in range(2)]

    return lambda act: [seen[act] for seen in run()]


def test_processes_wait_for_file_of_first(seen):
    assert seen("wait_for_a_slow_disk") == [{"is_there": True}] * 2


def test_failure_of_first_process_fails_all(seen):
    assert seen("fail_together") == [{"raised": "FileNotFoundError"}, {"raised": "StateError"}]


def test_processes_with_different_steps_refuse_to_resume(seen):
    for one in seen("find_other_states"):
        assert "of steps 7, 8: give a folder on a disk that all machines share" in one["raised"]


def test_validation_of_average_keeps_sharded_network(seen):
    for one in seen("validate_the_average"):
        assert one["average"] > 0.01
        assert one["changed"] == 0.0


def test_orphaned_process_is_found_and_ended():
    """As what a failed test leaves behind: its launch has ended, and the nodes have not."""
    before = descendants(os.getpid())
    leave = "import subprocess as s; print(s.Popen(['sleep', '1000'], stdout=s.DEVNULL, stderr=s.DEVNULL).pid)"
    orphan = int(subprocess.check_output([sys.executable, "-c", leave], text=True, timeout=limit(60)))
    left = descendants(os.getpid()) - before
    assert orphan in left
    kill(left)
    wait_until(lambda: orphan not in descendants(os.getpid()), "the end of the process")
