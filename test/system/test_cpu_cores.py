"""The number of usable cores: affinity and control group quotas of both versions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from depth_anything_ros.system.cpu_cores import usable_cores

V1 = "31 30 0:29 {root} /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "31 30 0:29 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
OTHER = (
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n40 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


def system(folder: Path, groups: str, mounts: str, limits: Mapping[str, str] = MappingProxyType({})) -> Path:
    """A miniature of /proc and /sys. ``limits``: content of files under /sys/fs/cgroup."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(groups)
    (folder / "proc/self/mountinfo").write_text(OTHER + mounts)
    for name, limit in limits.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(limit + "\n")
    return folder


@pytest.fixture
def cores(monkeypatch):
    """A machine with 16 cores, whatever the test machine has."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    return 16


def test_usable_cores_without_control_groups_counts_all(tmp_path, cores):
    assert usable_cores(tmp_path) == 16
    assert usable_cores(system(tmp_path, "3:memory:/x\n", "")) == 16


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 16), ("400000 100000", 4), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", 16)],
)
def test_usable_cores_applies_cgroup_v2_quota(tmp_path, cores, limit, expected):
    root = system(tmp_path, "0::/a/b\n", V2.format(root="/"), {"a/b/cpu.max": limit})
    assert usable_cores(root) == expected


def test_usable_cores_applies_tightest_parent_group(tmp_path, cores):
    limits = {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}
    assert usable_cores(system(tmp_path, "0::/a/b\n", V2.format(root="/"), limits)) == 3


@pytest.mark.parametrize(("quota", "expected"), [("-1", 16), ("250000", 3)])
def test_usable_cores_applies_cgroup_v1_quota(tmp_path, cores, quota, expected):
    limits = {"cpu/a/cpu.cfs_quota_us": quota, "cpu/a/cpu.cfs_period_us": "100000"}
    groups = "4:memory:/other\n1:cpu,cpuacct:/a\n0::/\n"
    assert usable_cores(system(tmp_path, groups, V1.format(root="/"), limits)) == expected


@pytest.mark.parametrize(("group", "mounted"), [("/", "/"), ("/docker/1f", "/docker/1f"), ("/docker/1f", "/")])
def test_usable_cores_in_container_reads_top_group(tmp_path, cores, group, mounted):
    """Whether its /proc names the group as the host does, or not."""
    root = system(tmp_path, f"0::{group}\n", V2.format(root=mounted), {"cpu.max": "200000 100000"})
    assert usable_cores(root) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone binds processes to cores")
def test_usable_cores_applies_cpu_affinity():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from depth_anything_ros.system.cpu_cores import usable_cores; print(usable_cores())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "1"
