"""ROS packages that a launch file starts nodes of, and the command that installs missing ones."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ament_index_python.packages import PackageNotFoundError, get_package_prefix


def apt_command(packages: Sequence[str]) -> str:
    """Return the command that installs ROS packages."""
    distribution = os.environ.get("ROS_DISTRO") or "$ROS_DISTRO"
    return f"sudo apt install {' '.join(f'ros-{distribution}-' + name.replace('_', '-') for name in packages)}"


def missing_packages(packages: Sequence[str]) -> str:
    """Return which packages are missing, with the command that installs them; "" if none is."""
    missing = [name for name in packages if not _is_installed(name)]
    if not missing:
        return ""
    verb, them = ("is", "it") if len(missing) == 1 else ("are", "them")
    return (
        f"{' and '.join(missing)} {verb} not installed: run {apt_command(missing)}, or source the workspace that has "
        f"{them}"
    )


def _is_installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True
