"""The development tools have the same version everywhere and check the folders that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def pinned(repository: Path) -> dict[str, str]:
    lines = (repository / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_pre_commit_uses_ruff_version_of_make_lint(repository: Path, pinned: dict[str, str]) -> None:
    repositories = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["id"]: hook for entry in repositories if entry["repo"] == "local" for hook in entry["hooks"]}
    assert set(hooks) == {"ruff-check", "ruff-format"}
    assert all(hook["additional_dependencies"] == [f"ruff=={pinned['ruff']}"] for hook in hooks.values())


def test_mypy_exclude_folders_exist(repository: Path) -> None:
    """After a folder is renamed its pattern would leave out nothing, or another folder."""
    listed = re.search(r"^exclude = \[(.*?)\]", (repository / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert listed is not None
    patterns = re.findall(r'"\^(\S+)/"', listed.group(1))
    assert len(patterns) == len(listed.group(1).split(",")) - 1
    assert [pattern for pattern in patterns if not (repository / pattern).is_dir()] == []


def test_ci_workflow_covers_supported_pythons(repository: Path) -> None:
    jobs = yaml.safe_load((repository / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    supported = re.findall(r"Python :: (3\.\d+)", (repository / "setup.py").read_text())
    assert jobs["wheels"]["strategy"]["matrix"]["python"] == supported
    assert jobs["wheels"]["steps"][-1]["run"] == ".ci/run"
