"""The folder of the package's data files (config/, launch/, rviz/), for every kind of installation."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from importlib import metadata
from pathlib import Path

PACKAGE = "depth_anything_ros"
FAST_DDS_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""The environment variables that name the profile: Fast DDS 2 (Humble, Jazzy) and Fast DDS 3 (Kilted and later)."""
FAST_DDS_2_RELEASES = frozenset({"foxy", "galactic", "humble", "iron", "jazzy"})


def _ament_share_directory() -> Path | None:
    """Return the share directory from the ament index of a sourced ROS 2 workspace, or None."""
    try:
        from ament_index_python.packages import get_package_share_directory
    except ImportError:
        return None
    try:
        return Path(get_package_share_directory(PACKAGE))
    except (LookupError, OSError):  # not in the index; or AMENT_PREFIX_PATH is not set
        return None


def share_directory() -> Path:
    """Return the folder that holds config/, launch/ and rviz/.

    The search order is: the ament index (colcon), the interpreter's prefix (pip), the source checkout (an editable
    installation, which installs no data files). Raises `FileNotFoundError` if none of them has it.
    """
    candidates = (
        _ament_share_directory(),
        Path(sys.prefix) / "share" / PACKAGE,
        Path(__file__).resolve().parents[2],
    )
    for candidate in candidates:
        if candidate is not None and (candidate / "config").is_dir():
            return candidate
    looked_in = ", ".join(str(candidate) for candidate in candidates if candidate is not None)
    raise FileNotFoundError(f"the data files of {PACKAGE} are in none of: {looked_in}; install the package again")


def fast_dds_generation(environment: Mapping[str, str]) -> int | None:
    """Return the major version of Fast DDS, 2 or 3, from the sourced ROS 2 or the installed wheels; None if unknown."""
    if release := environment.get("ROS_DISTRO"):
        return 2 if release in FAST_DDS_2_RELEASES else 3
    for generation, wheel in ((3, "ros-fastdds"), (2, "ros-fastrtps")):
        try:
            metadata.version(wheel)
        except metadata.PackageNotFoundError:
            continue
        return generation
    return None


def is_localhost_only(environment: Mapping[str, str]) -> bool:
    """Return whether the environment keeps ROS off the network, by the variable of ROS 2 Humble."""
    return environment.get("ROS_LOCALHOST_ONLY") == "1"


def fast_dds_profile_name(environment: Mapping[str, str]) -> str:
    """Return the name, in config/, of the Fast DDS profile for messages of megabytes. The file gives the reasons.

    If `is_localhost_only`, it is the profile whose UDP transport is bound to the loopback interface: rmw_fastrtps of
    Humble adds a loopback transport, but does not restrict those of a profile.
    """
    return f"fastdds_large_messages{'_localhost' if is_localhost_only(environment) else ''}.xml"


def fast_dds_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that make Fast DDS read the package's profile; none if the environment names one.

    Only the variable of the present Fast DDS is set, since rmw_fastrtps warns of the deprecated one.
    """
    if any(environment.get(name) for name in FAST_DDS_PROFILE_VARIABLES):
        return {}
    older, newer = FAST_DDS_PROFILE_VARIABLES
    names = {2: (older,), 3: (newer,), None: (older, newer)}[fast_dds_generation(environment)]
    return dict.fromkeys(names, str(share_directory() / "config" / fast_dds_profile_name(environment)))


def use_fast_dds_profile(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make Fast DDS read the package's profile, unless the environment names one.

    Call it before ``rclpy.init``. Other middlewares ignore the variables.
    """
    environment.update(fast_dds_settings(environment))
