"""The measurement of what each extra costs, without the network."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
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
    assert {"nncf", "openvino"} <= set(sizes.modules_of("openvino-int8"))
    assert {"ray", "lightning_fabric", "torch", "onnx", "h5py"} <= set(sizes.modules_of("ray"))
    assert {"trimesh", "numba"} <= set(sizes.modules_of("meshes"))
    assert all(len(sizes.modules_of(extra)) > 1 for extra in ENABLES)


def test_table_has_the_difference_to_none() -> None:
    costs = [sizes.Cost("none", 200.4, 0.5, 100.0), sizes.Cost("ros", 250.0, 0.75, 120.0)]
    assert list(sizes.table(costs))[2:] == ["| none | 200 |  | 0.50 | 100 |", "| ros | 250 | 50 | 0.75 | 120 |"]


@pytest.mark.parametrize(("size", "status"), [(399.0, 0), (401.0, 1)])
def test_robot_over_the_limit_fails(size: float, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    costs = [sizes.Cost("none", size, 1.0, 1.0), sizes.Cost("view", 500.0, 1.0, 1.0)]
    assert sizes.report_problems(costs, {}, 400.0) == status
    assert capsys.readouterr().err == "none: 401 MB is more than 400 MB\n" * status


def put_wheel(folder: Path, name: str, modules: dict[str, str], metadata: str = "") -> Path:
    """Write a wheel of a package of these modules, by their paths."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for module, text in modules.items():
            archive.writestr(module, text)
        information = f"{name}-1.0.dist-info"
        archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{metadata}")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    return path


def test_real_installation_gives_size_import_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """pip installs tiny wheels without the network. An extra that cannot be installed does not end the others."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    extras = (
        "Provides-Extra: view\nRequires-Dist: absent; extra == 'view'\n"
        "Provides-Extra: completion\nRequires-Dist: shtab; extra == 'completion'\n"
    )
    estimator = {"depth_anything_ros/runtime/estimator.py": "total = sum(range(3_000_000))\n"}
    wheel = put_wheel(wheels, "depth_anything_ros", estimator, extras)
    put_wheel(wheels, "shtab", {"shtab/__init__.py": "memory = b'x' * 50_000_000\n", "shtab/data": "x" * 2_000_000})
    constraint = tmp_path / "constraints.txt"
    constraint.touch()
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sizes, "REPEATS", 1)
    words = ["--wheel", str(wheel), "--constraint", str(constraint), "--folder", str(tmp_path)]
    words += ["--json", str(tmp_path / "costs.json"), "--extras", "view", "completion"]
    monkeypatch.setattr(sys, "argv", ["sizes.py", *words])
    assert sizes.main() == 1
    output = capsys.readouterr()
    assert "view: not measured: ERROR: No matching distribution found for absent" in output.err
    assert output.out.splitlines()[2].startswith("| completion | 2 |")
    (cost,) = (sizes.Cost(**cost) for cost in json.loads((tmp_path / "costs.json").read_text()))
    assert cost.extra == "completion"
    assert 2 < cost.size < 2.4
    assert 0.01 < cost.seconds < 3
    assert 50 < cost.memory < 90
    assert sorted(path.name for path in tmp_path.iterdir()) == ["constraints.txt", "costs.json", "wheels"]


def test_unknown_extra_is_refused_with_the_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = put_wheel(tmp_path, "depth_anything_ros", {}, "Provides-Extra: ros\nProvides-Extra: view\n")
    monkeypatch.setattr(sys, "argv", ["sizes.py", "--wheel", str(wheel), "--extras", "views"])
    with pytest.raises(SystemExit) as stop:
        sizes.main()
    assert stop.value.code == 2
    assert "no extra views; there are none, ros, view" in capsys.readouterr().err


def test_environment_of_here_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries of the ROS wheels here would load into the fresh environment, which may have another release."""
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"):
        monkeypatch.setenv(name, "1")
    assert not {"PYTHONPATH", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"} & sizes.clean_environment().keys()
