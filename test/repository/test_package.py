"""The installed package: a wheel for pip, an ament_python package for colcon."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import depth_anything_ros

PACKAGE = "depth_anything_ros"
NODES = {"camera_node", "depth_node", "camera_depth_nodes", "view_node"}
ROS_MODULES = {
    "ament_index_python": "ament_index_python",
    "launch": "launch",
    "launch_ros": "launch_ros",
    "rclpy": "rclpy",
    "tf2_ros": "tf2_ros_py",  # `tf2_ros` itself has only C++
}
"""The ROS packages that hold these modules; messages are in the package of their name."""
INSTALLED_FOLDERS = ("config", "launch", "rviz")
BUILD_INPUTS = ("CHANGELOG.rst", "LICENSE", "MANIFEST.in", "package.xml", "pyproject.toml", "setup.cfg", "setup.py")


def files_under(folder: Path) -> set[str]:
    """Return the relative paths of all files that are not compiled Python."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def copy_sources(repository: Path, target: Path) -> Path:
    """Copy the build's input, so that no build product is written to the checkout."""
    target.mkdir(parents=True)
    for name in BUILD_INPUTS:
        shutil.copy2(repository / name, target)
    for name in (PACKAGE, "resource", "scripts", *INSTALLED_FOLDERS):
        shutil.copytree(repository / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("setuptools", minversion="70.1", reason="older setuptools build no wheels on their own")
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(folder)],
        cwd=copy_sources(repository, folder / "sources"),
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def workspace(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("colcon_ros", reason="colcon is not installed in this environment")
    folder = tmp_path_factory.mktemp("workspace")
    sources = copy_sources(repository, folder / "src" / PACKAGE)
    (sources / "test").mkdir()
    (sources / "test" / "test_import.py").write_text(f"def test_import():\n    import {PACKAGE}.cli\n")
    colcon(folder, "build")
    return folder


def colcon(workspace: Path, verb: str, *options: str) -> subprocess.CompletedProcess[str]:
    main = "import sys; from colcon_core.command import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", main, "--log-base", "log", verb, *options],
        cwd=workspace,
        env={**os.environ, "COLCON_HOME": str(workspace / "home")},
        check=True,
        capture_output=True,
        text=True,
    )


def test_five_versions_agree(repository: Path) -> None:
    version = depth_anything_ros.__version__
    assert f"<version>{version}</version>" in (repository / "package.xml").read_text()
    assert f'version="{version}"' in (repository / "setup.py").read_text()
    assert f"\nversion: {version}\n" in (repository / "CITATION.cff").read_text()
    newest = re.search(
        r"^(\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)$", (repository / "CHANGELOG.rst").read_text(), re.MULTILINE
    )
    assert newest is not None
    assert newest.group(1) == version


def test_catkin_prepare_release_finds_unreleased_section(repository: Path) -> None:
    package_version = pytest.importorskip("catkin_pkg.package_version", reason="catkin_pkg is not installed")
    text = (repository / "CHANGELOG.rst").read_text()
    newest, *released = re.findall(r"^(.+)\n-+$", text, re.MULTILINE)
    if not newest.startswith(f"{depth_anything_ros.__version__} "):
        assert package_version.get_forthcoming_label(text) == newest
        assert released[0].startswith(f"{depth_anything_ros.__version__} ")


def test_package_xml_is_valid(repository: Path) -> None:
    catkin_package = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg, ROS's own parser, is not installed")
    warnings: list[str] = []
    package = catkin_package.parse_package(str(repository / "package.xml"), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    assert package.package_format == 3
    assert package.name == PACKAGE
    assert [str(license) for license in package.licenses] == ["Apache-2.0"]
    assert package.get_build_type() == "ament_python"


def test_package_xml_names_every_ros_package_that_is_imported(repository: Path) -> None:
    depends = set(re.findall(r"<exec_depend>(\w+)</exec_depend>", (repository / "package.xml").read_text()))
    imported: set[str] = set()
    for folder in (PACKAGE, "launch"):
        for path in (repository / folder).rglob("*.py"):
            imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for name in imported if name.endswith(("_msgs", "_srvs", "_interfaces")) or name in ROS_MODULES}
    assert named >= {"rclpy", "sensor_msgs", "tf2_ros", "launch_ros"}
    assert {ROS_MODULES.get(name, name) for name in named} - depends == set()


def test_license_is_complete_apache_license(repository: Path) -> None:
    text = (repository / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_wheel_contains_every_package_file(repository: Path, wheel: zipfile.ZipFile) -> None:
    expected = {f"{PACKAGE}/{path}" for path in files_under(repository / PACKAGE)}
    assert expected <= set(wheel.namelist())


def test_wheel_installs_all_data_files(repository: Path, wheel: zipfile.ZipFile) -> None:
    share = f"{PACKAGE}-{depth_anything_ros.__version__}.data/data/share"
    expected = {f"{share}/ament_index/resource_index/packages/{PACKAGE}", f"{share}/{PACKAGE}/package.xml"}
    for folder in INSTALLED_FOLDERS:
        expected |= {f"{share}/{PACKAGE}/{folder}/{path}" for path in files_under(repository / folder)}
    assert expected == {name for name in wheel.namelist() if name.startswith(f"{share}/")}


def test_wheel_installs_executables_for_ros2_run(wheel: zipfile.ZipFile) -> None:
    executables = [entry for entry in wheel.infolist() if f"/data/lib/{PACKAGE}/" in entry.filename]
    assert {Path(entry.filename).name for entry in executables} == {*NODES, PACKAGE}
    assert all((entry.external_attr >> 16) & 0o111 == 0o111 for entry in executables)


def test_launcher_runs_bin_command_with_arguments(repository: Path, tmp_path: Path) -> None:
    launcher = tmp_path / "lib" / PACKAGE / "depth_node"
    command = tmp_path / "bin" / "depth_node"
    for path in (launcher, command):
        path.parent.mkdir(parents=True)
    shutil.copy2(repository / "scripts" / "depth_node", launcher)
    command.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    command.chmod(0o755)
    result = subprocess.run([launcher, "--ros-args", "-p", "a:=b c"], check=True, capture_output=True, text=True)
    assert result.stdout == "--ros-args|-p|a:=b c|"


@pytest.mark.parametrize("node", sorted(NODES))
def test_node_help_prints_usage_without_start(repository: Path, node: str) -> None:
    program = f"import sys; from depth_anything_ros.ros.entry_points import {node}; sys.exit({node}())"
    result = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, cwd=repository)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: {node} [--ros-args")
    launch_file, parameters = re.search(r"launch \w+ ([\w.]+)`.*(config/[\w.]+)", result.stdout, re.DOTALL).groups()
    assert (repository / "launch" / launch_file).is_file()
    assert (repository / parameters).is_file()


def test_colcon_installs_executables_for_ros2_run(workspace: Path) -> None:
    prefix = workspace / "install" / PACKAGE
    executables = prefix / "lib" / PACKAGE
    assert {path.name for path in executables.iterdir()} == {*NODES, PACKAGE}
    assert all(path.read_text().startswith(f"#!{sys.executable}\n") for path in executables.iterdir())
    version = subprocess.run(
        ["sh", "-c", f". install/setup.sh && {executables / PACKAGE} --version"],
        cwd=workspace,
        check=True,
        capture_output=True,
        text=True,
    )
    assert version.stdout.strip() == depth_anything_ros.__version__


def test_colcon_installs_all_data_files(repository: Path, workspace: Path) -> None:
    prefix = workspace / "install" / PACKAGE
    assert (prefix / "share" / "ament_index" / "resource_index" / "packages" / PACKAGE).is_file()
    for folder in INSTALLED_FOLDERS:
        assert files_under(prefix / "share" / PACKAGE / folder) == files_under(repository / folder)


def test_colcon_test_runs_pytest(workspace: Path) -> None:
    colcon(workspace, "test", "--return-code-on-test-failure")
    report = (workspace / "build" / PACKAGE / "pytest.xml").read_text()
    assert 'tests="1"' in report
    assert 'failures="0"' in report
