"""The list of an installation: another environment's packages and licenses, those without one named."""

from __future__ import annotations

import json
import sys
import venv
from pathlib import Path

import pytest

pytest.importorskip("cyclonedx_py", reason="the list of an installation needs the extra `sbom`")
pytest.importorskip("piplicenses", reason="the list of an installation needs the extra `sbom`")

from benchmarks import sbom


def add_package(environment: Path, name: str, license_line: str = "") -> None:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    folder = environment / "lib" / version / "site-packages" / f"{name}-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.2\n{license_line}")
    (folder / "RECORD").write_text("")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    venv.create(tmp_path / "robot", with_pip=False)
    add_package(tmp_path / "robot", "lidar", "License-Expression: BSD-3-Clause\n")
    return tmp_path / "robot"


def test_sbom_lists_another_environment(environment: Path, tmp_path: Path) -> None:
    output = tmp_path / "sbom"
    assert sbom.main(["--python", str(environment / "bin" / "python"), "--output", str(output)]) == 0
    components = json.loads((output / "sbom.cdx.json").read_text())["components"]
    assert [(one["name"], one["version"]) for one in components] == [("lidar", "1.2")]
    assert (output / "licenses.md").read_text().splitlines()[2:] == ["| lidar | 1.2 | BSD-3-Clause |"]


def test_package_without_license_is_named(environment: Path, tmp_path: Path, capfd) -> None:
    add_package(environment, "secretive")
    assert sbom.main(["--python", str(environment / "bin" / "python"), "--output", str(tmp_path / "sbom")]) == 1
    assert "1 packages state no license: secretive\n" in capfd.readouterr().err


def test_missing_interpreter_is_one_line(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        sbom.main(["--python", str(tmp_path / "python")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("give the interpreter, such as .venv/bin/python")
