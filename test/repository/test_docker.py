"""docker/: lint, and settings without which images are lost. Images are not built here, for that needs a daemon."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

PROFILES = {"cpu", "gpu", "jetpack6", "jetpack7"}


@pytest.fixture
def dockerfile(repository: Path) -> str:
    return (repository / "docker" / "Dockerfile").read_text()


@pytest.fixture
def services(repository: Path) -> dict[str, dict]:
    return yaml.safe_load((repository / "docker" / "compose.yaml").read_text())["services"]


def test_hadolint_finds_nothing(repository: Path) -> None:
    tool = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        pytest.skip("hadolint is not installed")
    command = [tool, "--config", "docker/hadolint.yaml", "docker/Dockerfile"]
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")


def test_every_profile_carries_large_images(services: dict[str, dict]) -> None:
    assert set(services) == PROFILES
    for name, service in services.items():
        assert service["profiles"] == [name]
        assert (service["network_mode"], service["ipc"]) == ("host", "host")
        assert service["user"] == "${USER_ID:-1000}:${GROUP_ID:-1000}"
        assert service["devices"] == ["${CAMERA:-/dev/video0}:/dev/video0"]
        profiles = {service["environment"][f"{name}_DEFAULT_PROFILES_FILE"] for name in ("FASTRTPS", "FASTDDS")}
        assert len(profiles) == 1


def test_profile_of_environment_is_installed_file(repository: Path, dockerfile: str, services: dict[str, dict]) -> None:
    named = set(re.findall(r"_DEFAULT_PROFILES_FILE=(\S+)", dockerfile))
    named |= {service["environment"]["FASTDDS_DEFAULT_PROFILES_FILE"] for service in services.values()}
    (path,) = named
    prefix, _, file = path.partition("/share/depth_anything_ros/")
    assert (repository / file).is_file()
    assert f"COPY --from=build {prefix} {prefix}" in dockerfile


def test_build_arguments_exist_and_extras_are_ours(
    repository: Path, dockerfile: str, services: dict[str, dict]
) -> None:
    known = set(re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE))
    extras = set(re.findall(r'^        "([\w-]+)": [\w\[]', (repository / "setup.py").read_text(), re.MULTILINE))
    for service in services.values():
        arguments = service["build"]["args"]
        assert set(arguments) <= known
        assert set(arguments["EXTRAS"].split(",")) <= extras
        # Humble is on Ubuntu 22.04, which JetPack 6 has; Jazzy on 24.04.
        assert arguments["ROS_DISTRO"] == ("humble" if "l4t" in arguments["BASE"] else "jazzy")


def test_apt_installs_the_ros_packages_of_package_xml(repository: Path, dockerfile: str) -> None:
    depends = {element.text for element in ElementTree.parse(repository / "package.xml").iter("exec_depend")}
    ours = {name for name in depends if not name.startswith("python3-")}
    installed = {name.replace("-", "_") for name in re.findall(r'"ros-\$\{ROS_DISTRO\}-([\w-]+)"', dockerfile)}
    assert installed == ours | {"ros_core"}


def test_image_runs_as_ordinary_user(dockerfile: str) -> None:
    final = dockerfile.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.*)$", final, re.MULTILINE) == ["1000:1000"]


def test_build_context_has_what_the_build_reads(repository: Path) -> None:
    rules = (repository / "docker" / "Dockerfile.dockerignore").read_text().split("\n")
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules
    assert [path for path in allowed if not (repository / path).exists()] == []
    installed = re.findall(r'files_under\("(\w+)"\)', (repository / "setup.py").read_text())
    needed = {"setup.py", "setup.cfg", "pyproject.toml", "package.xml", "README.md", "resource", "scripts", *installed}
    assert needed - allowed == set()
    assert [path for path in allowed if any(fnmatch(path, word) for word in ("*secret*", ".git", "test"))] == []


def test_entrypoint_sources_ros_and_finds_the_package(repository: Path, tmp_path: Path) -> None:
    """With the folders of an image below a temporary one."""
    text = (repository / "docker" / "entrypoint.sh").read_text().replace("/opt/", f"{tmp_path}/")
    setup = tmp_path / "ros" / "jazzy" / "setup.bash"
    setup.parent.mkdir(parents=True)
    setup.write_text("export AMENT_PREFIX_PATH=/ros\n")
    command = tmp_path / "depth_anything_ros" / "bin" / "nodes"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\necho "$AMENT_PREFIX_PATH $1"\n')
    command.chmod(0o755)
    script = tmp_path / "entrypoint.sh"
    script.write_text(text)
    environment = {"PATH": os.environ["PATH"], "ROS_DISTRO": "jazzy"}
    result = subprocess.run(["bash", script, "nodes", "a b"], env=environment, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == (f"{tmp_path}/depth_anything_ros:/ros a b\n", "")


def test_documented_command_passes_the_user(repository: Path, tmp_path: Path) -> None:
    """Bash's own UID, for one, cannot be set."""
    (command,) = re.findall(r"^USER_ID=.*$", (repository / "docs" / "docker.md").read_text(), re.MULTILINE)
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$USER_ID:$GROUP_ID $*"\n')
    docker.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    options = "compose --file docker/compose.yaml --profile cpu up --build"
    assert (result.stdout, result.stderr) == (f"{os.getuid()}:{os.getgid()} {options}\n", "")
