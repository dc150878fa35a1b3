"""The check of messages: two real processes over the middleware, and the files that others leave in shared memory."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import limit

from depth_anything_ros.doctor import messages
from depth_anything_ros.doctor.checks import Options
from depth_anything_ros.doctor.section import Section
from depth_anything_ros.ros.process.fast_dds_segments import segments_in
from depth_anything_ros.system.package_share import FAST_DDS_PROFILE_VARIABLES

EXCHANGE = """
import json
from depth_anything_ros.doctor import messages
from depth_anything_ros.doctor.checks import Options
from depth_anything_ros.doctor.section import Section
from depth_anything_ros.ros.process import large_messages
from depth_anything_ros.system.child_process import take_output

results = take_output()
large_messages.TRIALS = tuple(large_messages.Trial(6_000_000, reliable, 10, 20.0) for reliable in {kinds})
section = Section("messages", "")
messages.advice(section, Options())
messages.exchange(section, Options())
results.write(json.dumps(section.to_json()))
results.close()
"""


def exchanged(*kinds: bool, **environment: str) -> dict[str, Any]:
    """Send 10 images of 6 MB, reliably or not, in processes of their own; return the section."""
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    command = [sys.executable, "-c", EXCHANGE.format(kinds=kinds)]
    own = {**os.environ, **environment}
    result = subprocess.run(command, env=own, capture_output=True, text=True, timeout=limit(60))
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_large_messages_arrive_with_the_profile() -> None:
    left: list[set[Path]] = []
    while len(left) < 6 and set() not in left:  # processes of other tests may be killed meanwhile
        before = left_behind()
        section = exchanged(True)
        left.append(left_behind() - before)
        (reliable,) = section["facts"]["exchange"]
        assert (reliable["sent"], reliable["size"], reliable["reliable"]) == (10, 6_000_000, True)
        assert reliable["received"] >= 9
        assert 0 < reliable["latency"] <= reliable["longest"] < 60
        assert section["status"] != "problem"
    assert set() in left


def left_behind() -> set[Path]:
    """Return the large segments of shared memory whose process is gone."""
    segments = segments_in(messages.SHARED_MEMORY)
    return {segment.path for segment in segments if not segment.in_use and segment.size > 1 << 20}


def test_lost_messages_are_a_problem(tmp_path: Path) -> None:
    if os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp":
        pytest.skip("only Fast DDS loses them without a profile")
    absent = str(tmp_path / "absent.xml")
    section = exchanged(False, **dict.fromkeys(FAST_DDS_PROFILE_VARIABLES, absent))
    (best_effort,) = section["facts"]["exchange"]
    assert best_effort["received"] < 9
    problems = [finding["text"] for finding in section["findings"] if finding["level"] == "problem"]
    assert problems == [
        f"only {best_effort['received']} of 10 messages of 6 MB best effort arrive between two processes: "
        "the note above on the middleware gives the command"
    ]
    assert any("absent.xml" in text and "export " in text for text in section["facts"]["advice"])


def test_sender_that_ends_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    section = Section("messages", "", facts={"rmw": "rmw_fastrtps_cpp", "advice": []})
    messages.exchange(section, Options())
    assert section.status == "problem"
    assert "the sending process" in section.findings[0].text
    assert "export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST" in section.findings[0].text


def test_segments_of_dead_processes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("fastrtps_dead", 3 << 20), ("fastrtps_live", 1 << 20), ("other_dead", 1 << 20)):
        (tmp_path / name).write_bytes(b"\1" * size)
        (tmp_path / f"{name}_el").touch()
    monkeypatch.setattr(messages, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(messages, "MUCH_STALE", 2 << 20)
    section = Section("messages", "")
    with (tmp_path / "fastrtps_live_el").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        fcntl.flock(lock, fcntl.LOCK_EX)
        messages.shared_memory(section, Options())
    found = section.facts["shared_memory"]
    assert (found["segments_in_use"], found["users"]) == (1, [os.geteuid()])
    assert (found["stale_segments"], found["stale_bytes"] >> 20) == (1, 3)
    assert [finding.level for finding in section.findings] == ["note"]
    assert "end all ROS processes, then" in section.findings[0].text
