"""Check ROS 2: the installed and sourced releases, the environment variables, and the start of rclpy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from depth_anything_ros.doctor.checks import Options
from depth_anything_ros.doctor.section import PROBLEM, Section
from depth_anything_ros.system.extras import advice, is_installed
from depth_anything_ros.system.package_share import FAST_DDS_PROFILE_VARIABLES, PACKAGE, use_fast_dds_profile

VARIABLES = (
    *("ROS_DISTRO", "ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_STATIC_PEERS", "ROS_LOCALHOST_ONLY"),
    *("RMW_IMPLEMENTATION", *FAST_DDS_PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS", "SKIP_DEFAULT_XML_FILE"),
    *("ROS_DISCOVERY_SERVER", "CYCLONEDDS_URI", "ZENOH_SESSION_CONFIG_URI", "ZENOH_CONFIG_OVERRIDE", "ROS_LOG_DIR"),
)
"""The environment variables that affect discovery and delivery."""
DISCOVERY_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")
LARGEST_DOMAIN = 232
"""The ports of larger domains do not exist."""
LARGEST_SAFE_DOMAIN = 101
"""The ports of larger domains are in Linux's ephemeral range, so any program may take them."""
INSTALLATIONS = Path("/opt/ros")
PACKAGES = ("rclpy", "ros-rclpy", "ros-fastrtps", "ros-fastdds", "ros-rmw-fastrtps-cpp")
"""Distributions whose versions a bug report needs, of wheels or of apt."""


def variables(section: Section, options: Options) -> None:
    """Report the variables and their problems."""
    section.facts["variables"] = {name: os.environ.get(name) for name in VARIABLES}
    present = [f"{name}={os.environ[name]}" for name in VARIABLES if os.environ.get(name)]
    section.add_line(", ".join(present) or "no variable of ROS 2 is set: domain 0, discovery in the subnet")
    _judge_domain(section, os.environ.get("ROS_DOMAIN_ID", ""))
    _judge_discovery(section, os.environ)


def installation(section: Section, options: Options) -> None:
    """Report the release, and whether rclpy can be found."""
    present = sorted(path.parent.name for path in INSTALLATIONS.glob("*/setup.bash"))
    distribution = os.environ.get("ROS_DISTRO")
    versions = {name: version for name in PACKAGES if (version := _version(name))}
    section.facts.update(distribution=distribution, installed_distributions=present, packages=versions)
    section.facts.update(rclpy=is_installed("rclpy"), rmw=None, starts=None)
    if section.facts["rclpy"]:
        source = f"sourced: {distribution}" if distribution else "wheels in this Python"
        section.add_line(
            f"rclpy is installed ({source}): {', '.join(f'{name} {text}' for name, text in versions.items())}"
        )
    elif distribution:
        section.problem(
            f"ROS_DISTRO is {distribution}, but this Python finds no rclpy: source /opt/ros/{distribution}/setup.bash, "
            "and use that release's Python (python3 -m venv --system-site-packages .venv)"
        )
    elif present:
        section.problem(
            f"ROS 2 is installed but not sourced, so no node can run: source {INSTALLATIONS}/{present[-1]}/setup.bash"
        )
    else:
        section.add_line(f"no ROS 2: all commands but camera, view and demo work, and no node ({advice('rclpy')})")


def start(section: Section, options: Options) -> None:
    """Report the middleware, and start rclpy with it, unless a problem was already found."""
    if not section.facts["rclpy"] or section.status == PROBLEM:
        return
    use_fast_dds_profile()  # as the nodes do
    try:
        from depth_anything_ros.ros.process.rcl_start import rmw_identifier, start_problem

        section.facts["rmw"] = rmw_identifier()
    except (ImportError, RuntimeError, OSError) as error:
        requested = os.environ.get("RMW_IMPLEMENTATION")
        fix = (
            f"install it (sudo apt install ros-$ROS_DISTRO-{requested.replace('_', '-')}), or unset RMW_IMPLEMENTATION"
            if requested
            else "source one release's setup.bash in a new shell"
        )
        section.problem(f"rclpy is installed but cannot be imported: {error}; {fix}")
        return
    problem = start_problem()
    section.facts["starts"] = not problem
    if problem:
        section.problem(f"rclpy does not start with {section.facts['rmw']}: {problem}")
    else:
        section.add_line(f"rclpy starts with {section.facts['rmw']}")


def other_packages(section: Section, options: Options) -> None:
    """Report whether `ros2 run` and `ros2 launch` find the package."""
    if not section.facts["rclpy"]:
        return
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    is_found = any((prefix / "share/ament_index/resource_index/packages" / PACKAGE).is_file() for prefix in prefixes)
    section.facts["in_ament_index"] = is_found
    if os.environ.get("ROS_DISTRO") and not is_found:
        section.note(
            f"ros2 run and ros2 launch do not find {PACKAGE}: source the install/setup.bash of its workspace, or "
            "export AMENT_PREFIX_PATH=$VIRTUAL_ENV:$AMENT_PREFIX_PATH"
        )


STEPS = (variables, installation, other_packages, start)


def _judge_domain(section: Section, domain: str) -> None:
    if not domain:
        return
    if not domain.isdecimal() or int(domain) > LARGEST_DOMAIN:
        section.problem(
            f"ROS_DOMAIN_ID is {domain!r}, must be a number from 0 to {LARGEST_DOMAIN}: export ROS_DOMAIN_ID=0"
        )
    elif int(domain) > LARGEST_SAFE_DOMAIN:
        section.note(
            f"ROS_DOMAIN_ID is {domain}: other programs can take its ports; "
            f"export ROS_DOMAIN_ID=N with N up to {LARGEST_SAFE_DOMAIN}, on every machine"
        )


def _judge_discovery(section: Section, environment: Mapping[str, str]) -> None:
    discovery, local = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", ""), environment.get("ROS_LOCALHOST_ONLY", "")
    is_humble = environment.get("ROS_DISTRO") == "humble"
    if discovery and discovery.upper() not in DISCOVERY_RANGES:
        section.note(
            f"ROS_AUTOMATIC_DISCOVERY_RANGE is {discovery!r}, must be one of {', '.join(DISCOVERY_RANGES)}: "
            "unset it, or nodes may not find each other"
        )
    if discovery.upper() == "OFF" and not environment.get("ROS_STATIC_PEERS"):
        section.problem(
            "ROS_AUTOMATIC_DISCOVERY_RANGE is OFF, so no node finds another one: "
            "export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST, or SUBNET for several machines"
        )
    if discovery and is_humble:
        section.note(
            "Humble ignores ROS_AUTOMATIC_DISCOVERY_RANGE: export ROS_LOCALHOST_ONLY=1 to stay on this machine"
        )
    if local and not is_humble:
        section.note(
            "ROS_LOCALHOST_ONLY is deprecated: unset ROS_LOCALHOST_ONLY"
            + ("; export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST" if local == "1" else "")
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
