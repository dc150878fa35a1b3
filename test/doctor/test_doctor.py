"""The command `doctor`: real processes, on this machine and on one where things are missing, hang or crash."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import descendants
from waiting import limit

from depth_anything_ros.doctor.checks import CHECKS
from depth_anything_ros.doctor.report import SCHEMA
from depth_anything_ros.runtime.engines.cache import EngineCache, EngineKey
from depth_anything_ros.system.extras import EXTRAS
from depth_anything_ros.zoo.seal import BLANK, write_seal

HIDE = """
import sys
from importlib.machinery import PathFinder

HIDDEN = {hidden!r}


class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else super().find_spec(name, path, target)


sys.meta_path = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
"""
"""A sitecustomize.py for a Python in which packages are not installed."""


def doctor(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command. ``folder`` is searched for modules first."""
    command = [sys.executable, "-m", "depth_anything_ros", "doctor", *arguments]
    paths = [str(path) for path in (folder, os.environ.get("PYTHONPATH")) if path]
    own = {**os.environ, **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {}), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=own, timeout=limit(120))


def sections(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {section["name"]: section for section in json.loads(result.stdout)["sections"]}


def texts(section: dict[str, Any], level: str) -> list[str]:
    return [finding["text"] for finding in section["findings"] if finding["level"] == level]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """All checks but the exchange of messages, without a cache."""
    cache = tmp_path_factory.mktemp("parent") / "cache"
    chosen = [name for name in CHECKS if name != "messages"]
    result = doctor("--json", "--only", *chosen, DEPTH_ANYTHING_ROS_CACHE=str(cache))
    assert not cache.exists()  # nothing is measured or stored
    return result


def test_json_has_the_documented_keys(report: subprocess.CompletedProcess[str], repository: Path) -> None:
    page = (repository / "docs" / "doctor.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| ((?:`\w+`(?:, )?)+) \|", page, re.MULTILINE)
    documented = {
        name: {key for row, keys in rows if row == name for key in re.findall(r"\w+", keys)} for name in CHECKS
    }
    assert set(json.loads(report.stdout)) == {"schema", "depth_anything_ros", "status", "sections"}
    assert json.loads(report.stdout)["schema"] == SCHEMA
    for name, section in sections(report).items():
        assert set(section) == {"name", "title", "status", "lines", "findings", "facts", "seconds"}
        if name == "ros" and not section["facts"]["rclpy"]:
            documented[name].discard("in_ament_index")
        assert set(section["facts"]) == documented[name], name
    assert documented["messages"]


def test_status_follows_the_findings(report: subprocess.CompletedProcess[str]) -> None:
    statuses = {section["status"] for section in sections(report).values()}
    assert (report.returncode == 1) == ("problem" in statuses)
    for section in sections(report).values():
        levels = {finding["level"] for finding in section["findings"]}
        assert section["status"] == ("problem" if "problem" in levels else "note" if levels else "ok")


def test_report_names_what_is_installed(report: subprocess.CompletedProcess[str]) -> None:
    import numpy as np

    found = sections(report)
    assert found["software"]["facts"]["required"]["numpy"] == np.__version__
    assert found["backend"]["facts"]["cores"] >= 1
    assert (found["backend"]["facts"]["auto"] is None) == bool(found["backend"]["facts"]["to_measure"])
    assert "onnxruntime" in found["backend"]["facts"]["installed_backends"]
    assert "intact" in " ".join(found["cache"]["lines"])


def test_missing_packages_are_named_with_their_fix(tmp_path: Path) -> None:
    hidden = {"numpy", "cv2", "onnxruntime", "rclpy", "torch"}
    (tmp_path / "sitecustomize.py").write_text(HIDE.format(hidden=hidden))
    result = doctor("--json", "--only", "software", "ros", "backend", "messages", folder=tmp_path)
    found = sections(result)
    assert result.returncode == 1
    problems = texts(found["software"], "problem")
    assert [text.partition(" ")[0] for text in problems] == ["numpy", "cv2", "onnxruntime"]
    assert all("pip install" in text for text in problems)
    assert found["software"]["facts"]["extras"]["torch"] is False
    assert found["ros"]["facts"]["rclpy"] is False
    assert "numpy" in " ".join(texts(found["backend"], "problem"))
    assert found["messages"]["facts"]["exchange"] == []
    assert "Traceback" not in result.stderr


def test_core_alone_is_no_problem(tmp_path: Path) -> None:
    if os.environ.get("ROS_DISTRO") or Path("/opt/ros").is_dir():
        pytest.skip("a machine with ROS 2 but without rclpy has a problem")
    (tmp_path / "sitecustomize.py").write_text(HIDE.format(hidden=set(EXTRAS) | {"tensorrt"}))
    result = doctor("--json", "--only", "software", "ros", "backend", "cameras", folder=tmp_path)
    assert result.returncode == 0, result.stdout
    assert not any(sections(result)["software"]["facts"]["extras"].values())
    assert sections(result)["backend"]["facts"]["auto"] == {"backend": "onnxruntime", "precision": "fp32"}


def test_hanging_check_is_cut_off(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    stubborn = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)\n"
    (tmp_path / "onnxruntime.py").write_text(stubborn)
    result = doctor("--json", "--only", "software", "cameras", "--time-limit", "3", folder=tmp_path)
    software = sections(result)["software"]
    assert result.returncode == 1
    assert texts(software, "problem")[-1].startswith("this check did not end within 3 s and was cut off")
    assert software["facts"]["python"]  # of the step before
    assert sections(result)["cameras"]["facts"]["devices"] is not None  # the next check runs
    assert "Software: checking for 2 s, at most 3 s" in result.stderr
    assert descendants(os.getpid()) <= before


def test_crashing_check_is_reported(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text(
        "import os, sys\nprint('no luck', file=sys.stderr, flush=True)\nos.abort()\n"
    )
    result = doctor("--only", "software", folder=tmp_path)
    assert result.returncode == 1
    assert "this check crashed (SIGABRT): no luck" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ROS_DOMAIN_ID", "300", "ROS_DOMAIN_ID is '300', must be a number from 0 to 232: export ROS_DOMAIN_ID=0"),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF", "so no node finds another one"),
    ],
)
def test_wrong_variable_is_a_problem(name: str, value: str, expected: str) -> None:
    result = doctor("--json", "--only", "ros", **{name: value})
    assert result.returncode == 1
    assert any(expected in text for text in texts(sections(result)["ros"], "problem"))
    assert sections(result)["ros"]["facts"]["variables"][name] == value


def test_missing_middleware_is_a_problem() -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    result = doctor("--json", "--only", "ros", RMW_IMPLEMENTATION="rmw_absent_cpp")
    assert result.returncode == 1
    (problem,) = texts(sections(result)["ros"], "problem")
    assert "rmw_absent_cpp" in problem
    assert "unset RMW_IMPLEMENTATION" in problem


def key(model: str) -> EngineKey:
    return EngineKey(model, "0" * 64, "", "onnxruntime", "onnxruntime 1", "cpu", "int8", (1, 3, 14, 14))


def test_cache_is_checked(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "engines")
    for model in ("sound", "broken", "refused"):
        engine = cache.obtain(key(model), lambda folder: (folder / "model.onnx").write_bytes(b"weights"))
        if model == "broken":
            engine.path("model.onnx").write_bytes(b"weight!")
        if model == "refused":
            engine.reject("correlation 0.1")
    exports = tmp_path / "exports" / "0.1.0"
    exports.mkdir(parents=True)
    for name in ("sound", "flipped"):
        (exports / f"{name}.onnx").write_text(f"{BLANK} weights {BLANK}")
        write_seal(exports / f"{name}.onnx")
    damaged = (exports / "flipped.onnx").read_text().replace("weights", "weight!")
    (exports / "flipped.onnx").write_text(damaged)
    (exports / "foreign.onnx").write_text("weights")
    (tmp_path / "engines" / ".half.partial").mkdir()
    result = doctor("--json", "--only", "cache", DEPTH_ANYTHING_ROS_CACHE=str(tmp_path))
    found = sections(result)["cache"]
    states = {entry["name"].partition("_")[0]: entry["state"] for entry in found["facts"]["engines"]}
    assert states == {"sound": "intact", "broken": "damaged", "refused": "rejected"}
    assert found["facts"]["models"] == {
        "0.1.0/flipped.onnx": "damaged",
        "0.1.0/foreign.onnx": "unknown",
        "0.1.0/sound.onnx": "intact",
    }
    assert [text.partition(":")[0] for text in texts(found, "problem")] == ["an exported graph is damaged"]
    notes = " ".join(texts(found, "note"))
    assert "rm -r" in notes
    assert ".half.partial" in notes
    assert result.returncode == 1


def test_json_file_holds_what_is_printed(tmp_path: Path) -> None:
    result = doctor("--only", "cameras", "--json", str(tmp_path / "report.json"))
    (section,) = json.loads((tmp_path / "report.json").read_text())["sections"]
    assert all(line in result.stdout for line in section["lines"])
    assert "\x1b" not in result.stdout


def test_terminal_gets_colors() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "depth_anything_ros", "doctor", "--only", "cameras"]
    own = {**os.environ, "TERM": "xterm"}
    own.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=own) as process:
        os.close(theirs)
        output = os.read(ours, 1 << 16)
        process.wait(limit(60))
    os.close(ours)
    assert b"\x1b[3" in output


@pytest.mark.parametrize("value", ["0", "inf"])
def test_time_limit_must_be_positive(value: str) -> None:
    result = doctor("--time-limit", value)
    assert result.returncode == 1
    assert "--time-limit is " in result.stderr


def test_options_import_no_package_that_could_hang() -> None:
    program = (
        "import sys; from depth_anything_ros.cli import build_parser; build_parser('doctor'); "
        "import depth_anything_ros.commands.overwriting; print({'numpy', 'cv2', 'onnxruntime'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=limit(60))
    assert result.stdout == "set()\n", result.stderr


def test_video_gives_its_rate(tmp_path: Path) -> None:
    """A stream instead of a camera, which machines of tests lack."""
    import cv2
    import numpy as np

    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for _ in range(20):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    result = doctor("--json", "--only", "cameras", "--cameras", str(path), str(tmp_path / "absent.avi"))
    good, bad = sections(result)["cameras"]["facts"]["rates"]
    assert (good["images"], good["width"], good["height"], good["stated_rate"]) == (20, 64, 48, 25.0)
    assert good["rate"] > 25  # as fast as it is read
    assert "cannot be opened" in bad["problem"]
    assert result.returncode == 1
