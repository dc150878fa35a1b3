"""The measurement of what each extra costs, without the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import sizes
from depth_anything_ros.system.extras import ENABLES


def test_folder_has_the_size_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "large").write_bytes(bytes(3_000_000))
    (tmp_path / "small").write_bytes(bytes(500_000))
    (tmp_path / "link").symlink_to(tmp_path / "small")
    assert sizes.size_of(tmp_path) == 3.5


def test_import_takes_time_and_memory(tmp_path: Path) -> None:
    seconds, memory = sizes.import_cost(Path(sys.executable), ["json"])
    assert 0 < seconds < 5
    assert 1 < memory < 500
    with pytest.raises(subprocess.CalledProcessError):
        sizes.import_cost(Path(sys.executable), ["absent_module"])


def test_every_extra_imports_its_packages() -> None:
    assert sizes.modules_of(sizes.NONE) == [sizes.ESTIMATOR]
    assert sizes.modules_of("openvino") == [sizes.ESTIMATOR, "openvino"]
    assert all(len(sizes.modules_of(extra)) > 1 for extra in ENABLES)


def test_table_has_the_difference_to_none() -> None:
    costs = [sizes.Cost("none", 200.4, 0.5, 100.0), sizes.Cost("ros", 250.0, 0.75, 120.0)]
    assert list(sizes.table(costs))[2:] == ["| none | 200 |  | 0.50 | 100 |", "| ros | 250 | 50 | 0.75 | 120 |"]


@pytest.mark.parametrize(("size", "status"), [(399.0, 0), (401.0, 1)])
def test_robot_over_the_limit_fails(
    size: float, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sizes, "build_wheel", lambda folder: folder)
    monkeypatch.setattr(sizes, "cost_of", lambda extra, *others: sizes.Cost(extra, size, 1.0, 1.0))
    monkeypatch.setattr(sys, "argv", ["sizes.py", "--extras", "none", "view"])
    assert sizes.main() == status
    assert ("none: 401 MB is more than 400 MB" in capsys.readouterr().err) == bool(status)
