"""Where the package's own data files lie (config/, launch/, rviz/), however it was installed."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

PACKAGE = "depth_anything_ros"
FAST_DDS_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""The environment variables that name the profile: Fast DDS 2 (Humble, Jazzy) and Fast DDS 3 (Kilted, Rolling)."""


def _ament_share_directory() -> Path | None:
    """The share directory that the ament index of a sourced ROS 2 workspace gives, if there is one."""
    try:
        from ament_index_python.packages import get_package_share_directory
    except ImportError:
        return None
    try:
        return Path(get_package_share_directory(PACKAGE))
    except (LookupError, OSError):  # not in the index; or AMENT_PREFIX_PATH is not set
        return None


def share_directory() -> Path:
    """The folder that holds config/, launch/ and rviz/.

    Looked for in this order: the ament index (colcon), the interpreter's prefix (pip), the source checkout (an editable
    installation, which installs no data files). Raises `FileNotFoundError` if none of them has it.
    """
    candidates = (
        _ament_share_directory(),
        Path(sys.prefix) / "share" / PACKAGE,
        Path(__file__).resolve().parent.parent,
    )
    for candidate in candidates:
        if candidate is not None and (candidate / "config").is_dir():
            return candidate
    looked_in = ", ".join(str(candidate) for candidate in candidates if candidate is not None)
    raise FileNotFoundError(f"the data files of {PACKAGE} are in none of: {looked_in}; install the package again")


def fast_dds_profile() -> Path:
    """The Fast DDS profile that lets messages of several megabytes through; the file itself says why."""
    return share_directory() / "config" / "fastdds_large_messages.xml"


def use_fast_dds_profile(environment: MutableMapping[str, str] = os.environ) -> None:
    """Makes Fast DDS read `fast_dds_profile`, unless the environment already names a profile.

    Call it before ``rclpy.init``. Other middlewares ignore the variables.
    """
    if any(environment.get(name) for name in FAST_DDS_PROFILE_VARIABLES):
        return
    for name in FAST_DDS_PROFILE_VARIABLES:
        environment[name] = str(fast_dds_profile())
