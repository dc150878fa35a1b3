"""The files of a run: its record, the revision of its code, and a log for people and TensorBoard."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from depth_anything_ros import __version__
from depth_anything_ros.training.run.folder import StageFolder, describe_run, differences, git_revision, write_record
from depth_anything_ros.training.run.log import RunLog


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def code(tmp_path) -> Path:
    """A git repository with one file."""
    folder = tmp_path / "code"
    (folder / "package").mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "package" / "module.py").write_text("value = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def test_git_revision_is_commit(code):
    commit = git(code, "rev-parse", "HEAD")
    assert len(commit) == 40
    assert git_revision(code) == commit
    assert git_revision(code / "package") == commit
    (code / "runs").mkdir()
    (code / "runs" / "log.jsonl").write_text("")  # what is not of the repository says nothing of the code
    assert git_revision(code) == commit


def test_git_revision_marks_changes(code):
    commit = git(code, "rev-parse", "HEAD")
    (code / "package" / "module.py").write_text("value = 2\n")
    assert git_revision(code / "package") == f"{commit}+"
    git(code, "add", ".")
    assert git_revision(code) == f"{commit}+"


def test_git_revision_outside_repository_is_none(tmp_path):
    assert git_revision(tmp_path) is None
    assert git_revision(tmp_path / "absent") is None
    git(tmp_path, "init", "--quiet")
    assert git_revision(tmp_path) is None


def test_git_revision_without_git_is_none(code, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_revision(code) is None


def test_run_record_describes_sources_versions_and_command():
    pytest.importorskip("torch", reason="training needs the `train` extra")
    record = describe_run({"name": "student"}, {"labeled": ["kitti (abc)"]}, devices=8)
    assert record["configuration"] == {"name": "student"}
    assert record["data"] == {"labeled": ["kitti (abc)"]}
    assert record["devices"] == 8
    assert record["versions"]["depth_anything_ros"] == __version__
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["versions"]["torch"]
    assert record["command"] == sys.argv
    assert json.loads(json.dumps(record)) == record


def test_resumed_run_appends_to_record(tmp_path):
    path = StageFolder(tmp_path).record
    for step in (0, 20, 35):
        write_record(path, {"from_step": step, "name": "ä"})
        assert json.loads(path.read_text())[-1] == {"from_step": step, "name": "ä"}
    assert [record["from_step"] for record in json.loads(path.read_text())] == [0, 20, 35]
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_all_run_files_are_in_run_folder(tmp_path):
    folder = StageFolder(tmp_path)
    paths = (folder.record, folder.states, folder.best, folder.log, folder.events, folder.checkpoint("student"))
    assert len(set(paths)) == 6
    assert all(path.parent == tmp_path for path in paths)
    assert folder.checkpoint("student").name == "student.safetensors"


def lines(folder: StageFolder) -> list[dict]:
    return [json.loads(line) for line in folder.log.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path) -> StageFolder:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    return StageFolder(tmp_path)


def scalars(folder: StageFolder, name: str) -> list[tuple[int, float]]:
    """The numbers that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder.events))
    events.Reload()
    return [(event.step, round(event.value, 4)) for event in events.Scalars(name)]


def test_log_has_a_line_for_every_entry_at_once(folder):
    log = RunLog(folder, 0)
    log.add_values(10, {"affine": 0.5, "gradient": 0.25, "scale": float("nan")}, "loss")
    first = lines(folder)
    assert first[0]["time"] > 1.7e9
    log.add_values(10, {"delta1": 0.9}, "validation")
    log.close()
    assert [{key: value for key, value in line.items() if key != "time"} for line in lines(folder)] == [
        {"step": 10, "loss": {"affine": 0.5, "gradient": 0.25, "scale": None}},
        {"step": 10, "validation": {"delta1": 0.9}},
    ]


def test_tensorboard_shows_logged_numbers(folder):
    log = RunLog(folder, 0)
    for step in (10, 20, 30):
        log.add_values(step, {"affine": step / 100, "gradient": 1.0}, "loss")
    log.close()
    assert scalars(folder, "loss/affine") == [(10, 0.1), (20, 0.2), (30, 0.3)]
    assert scalars(folder, "loss/gradient") == [(10, 1.0), (20, 1.0), (30, 1.0)]


def test_resumed_run_replaces_log_entries_after_its_state(folder):
    """Step 20 has been logged, and will not come again."""
    log = RunLog(folder, 0)
    for step in (10, 20, 30):
        log.add_values(step, {"affine": 1.0}, "loss")
    log.close()
    log = RunLog(folder, 20)
    log.add_values(30, {"affine": 3.0}, "loss")
    log.add_values(40, {"affine": 4.0}, "loss")
    log.close()
    assert scalars(folder, "loss/affine") == [(10, 1.0), (20, 1.0), (30, 3.0), (40, 4.0)]
    assert [line["step"] for line in lines(folder)] == [10, 20, 30, 30, 40]


def test_tensorboard_shows_images(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    image = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    log = RunLog(folder, 0)
    log.add_picture(50, "validation", image)
    log.close()
    events = EventAccumulator(str(folder.events))
    events.Reload()
    (shown,) = events.Images("validation")
    assert (shown.step, shown.height, shown.width) == (50, 6, 9)
    import cv2

    decoded = cv2.imdecode(np.frombuffer(shown.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], image)


def test_log_works_without_tensorboard(tmp_path):
    """In a process where it cannot be imported."""
    program = """
import sys
sys.modules["torch.utils.tensorboard"] = None
from pathlib import Path
import numpy as np
from depth_anything_ros.training.run.folder import StageFolder
from depth_anything_ros.training.run.log import RunLog
log = RunLog(StageFolder(Path(sys.argv[1])), 0)
log.add_values(1, {"affine": 0.5}, "loss")
log.add_picture(1, "validation", np.zeros((4, 4, 3), np.uint8))
log.close()
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert lines(StageFolder(tmp_path))[0]["loss"] == {"affine": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_differences_of_configurations_are_named():
    before = {"optimizer": {"steps": 400, "grad_clip": 1.0}, "sources": {"labeled": ["rooms (abc)"]}, "teacher": None}
    now = {
        "optimizer": {"steps": 40, "grad_clip": 1.0},
        "sources": {"labeled": ["rooms (def)"]},
        "teacher": {"model": "a"},
    }
    assert differences(before, before) == []
    assert differences(before, now) == [
        "optimizer.steps was 400, is 40",
        'sources.labeled was ["rooms (abc)"], is ["rooms (def)"]',
        'teacher was null, is {"model": "a"}',
    ]
    assert differences({}, {"a": 1}) == ["a was null, is 1"]
