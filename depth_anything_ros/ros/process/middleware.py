"""Check a node's environment for camera-sized messages: log lines, each with the command that fixes a problem."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

from depth_anything_ros.ros.process.fast_dds import fast_dds_advice, segment_of
from depth_anything_ros.ros.process.fast_dds_segments import other_users_advice
from depth_anything_ros.ros.process.middleware_files import Advice, UnusableFileError, named, read_xml, shipped, text_of

__all__ = ["Advice", "middleware_advice", "other_users", "shared_memory_of"]

FAST_DDS = ("rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp")

MINIMUM_RECEIVE_BUFFER = 2 << 20
"""Bytes of socket buffer below which Cyclone DDS cannot hold one 640x480 depth image (1.2 MB) with its overhead."""

_SYSCTL = (
    "sudo sysctl -w net.core.rmem_max=2147483647 net.ipv4.ipfrag_time=3 net.ipv4.ipfrag_high_thresh=134217728 "
    "(in /etc/sysctl.d/60-ros2.conf to keep it)"
)
_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "KIB": 1 << 10, "MB": 1 << 20, "MIB": 1 << 20, "GB": 1 << 30, "GIB": 1 << 30}


def middleware_advice(
    rmw_identifier: str,
    environment: Mapping[str, str],
    shared_memory: Path = Path("/dev/shm"),
    kernel: Path = Path("/proc/sys"),
    working_directory: Path = Path(),
    user: int | None = None,
) -> list[Advice]:
    """Return what prevents camera-sized messages from arriving over this middleware; empty if nothing does.

    Only this process is checked: a message is in its sender's memory, so a lost image is a matter of its camera. Never
    raises: a file that cannot be read is reported as advice.

    Args:
        rmw_identifier: from `rclpy.utilities.get_rmw_implementation_identifier`. Call this before ``rclpy.init``, which
            allocates the shared memory that is measured here, and after `use_fast_dds_profile`.
        environment: the environment variables.
        shared_memory: the shared memory file system.
        kernel: folder of the kernel settings.
        working_directory: where the middleware looks for relative paths.
        user: user id of the process; default: the effective one.
    """
    if rmw_identifier in FAST_DDS:
        return fast_dds_advice(environment, shared_memory, working_directory, os.geteuid() if user is None else user)
    if rmw_identifier == "rmw_cyclonedds_cpp":
        return _cyclone_advice(environment, kernel, working_directory)
    if rmw_identifier == "rmw_zenoh_cpp":
        return _zenoh_advice(environment)
    return []


def shared_memory_of(
    rmw_identifier: str, environment: Mapping[str, str], working_directory: Path = Path()
) -> int | None:
    """Return the bytes of shared memory for the messages that this process sends; None if there is no limit.

    Args:
        rmw_identifier: see `middleware_advice`.
        environment: the environment variables.
        working_directory: where the middleware looks for relative paths.
    """
    return segment_of(environment, working_directory) if rmw_identifier in FAST_DDS else None


def other_users(rmw_identifier: str, shared_memory: Path = Path("/dev/shm"), user: int | None = None) -> str:
    """Return why messages from processes of other users on this machine do not arrive; "" if there are none.

    Args:
        rmw_identifier: see `middleware_advice`.
        shared_memory: the shared memory file system.
        user: user id of this process; default: the effective one.
    """
    if rmw_identifier not in FAST_DDS:
        return ""
    advice = other_users_advice(shared_memory, os.geteuid() if user is None else user)
    return advice[0].text if advice else ""


# Cyclone DDS


def _cyclone_advice(environment: Mapping[str, str], kernel: Path, working_directory: Path) -> list[Advice]:
    advice = []
    unreliable = "large messages are then not delivered reliably (ROS 2's DDS tuning guide; not measured here)"
    granted = _kernel_number(kernel / "net" / "core" / "rmem_max")
    if granted is not None and granted < MINIMUM_RECEIVE_BUFFER:
        text = f"net.core.rmem_max is {granted} bytes, less than an image: {unreliable}; {_SYSCTL}"
        advice.append(Advice(text))
    try:
        smallest, asked = _cyclone_receive_buffer(environment.get("CYCLONEDDS_URI", ""), working_directory)
    except UnusableFileError as error:
        return [*advice, Advice(f"CYCLONEDDS_URI is {error}: Cyclone DDS may not start; fix or unset it")]
    if asked < MINIMUM_RECEIVE_BUFFER:
        text = (
            f"Cyclone DDS requests a socket receive buffer of 1 MiB unless SocketReceiveBufferSize sets another size: "
            f"{unreliable}; export CYCLONEDDS_URI=file://{shipped('cyclonedds_large_messages.xml')}"
        )
        advice.append(Advice(text))
    if granted is not None and smallest > 2 * granted:  # Linux grants, and reports, twice the requested size
        text = (
            f"CYCLONEDDS_URI requires a socket receive buffer of at least {smallest} bytes, but net.core.rmem_max is "
            f"{granted}: Cyclone DDS will not start; {_SYSCTL}, or use max= instead of min="
        )
        advice.append(Advice(text))
    return advice


def _kernel_number(path: Path) -> int | None:
    """Return a kernel setting; None if this system does not have it."""
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return None


def _cyclone_receive_buffer(uri: str, working_directory: Path) -> tuple[int, int]:
    """Return the minimum and the requested receive buffer of Cyclone DDS in bytes; 0 for each that is not set.

    ``uri`` is XML, or a comma-separated list of files with or without ``file://``. Raises `UnusableFileError`.
    """
    roots = []
    if uri.lstrip().startswith("<"):
        elements = re.sub(r"<\?xml.*?\?>", "", uri, flags=re.DOTALL)
        try:
            roots.append(ElementTree.fromstring(f"<list>{elements}</list>"))
        except (ElementTree.ParseError, ValueError) as error:
            raise UnusableFileError(f"XML that cannot be parsed ({error})") from error
    else:
        for name in filter(None, (part.strip() for part in uri.split(","))):
            try:
                roots.append(read_xml(working_directory / name.removeprefix("file://")))
            except UnusableFileError as error:
                raise UnusableFileError(f"{name}, which {error}") from error
    smallest = asked = 0
    for root in roots:
        if old := _bytes(text_of(root, "MinimumSocketReceiveBufferSize")):  # before Cyclone DDS 0.9, still understood
            smallest = asked = old
        for element in named(root, "SocketReceiveBufferSize"):
            smallest = _bytes(element.get("min", ""))
            asked = max(smallest, _bytes(element.get("max", "")))
    return smallest, asked


def _bytes(size: str) -> int:
    """Return a size such as 10MB in bytes; 0 for ``default`` and invalid text. Cyclone DDS uses powers of 1024."""
    match = re.fullmatch(r"([0-9]{1,18})\s*([A-Za-z]*)", size.strip())
    return int(match[1]) * _UNITS.get(match[2].upper(), 0) if match else 0


# Zenoh


def _zenoh_advice(environment: Mapping[str, str]) -> list[Advice]:
    """Return information only: neither a router nor a configuration file can be checked from here."""
    override = environment.get("ZENOH_CONFIG_OVERRIDE", "")
    hints = []
    if environment.get("ZENOH_SESSION_CONFIG_URI"):
        return []
    if not re.search(r"scouting/multicast/enabled\s*=\s*true|connect/endpoints", override):
        hints.append(
            "nodes find each other through a router (ros2 run rmw_zenoh_cpp rmw_zenohd) "
            "unless ZENOH_CONFIG_OVERRIDE='scouting/multicast/enabled=true'"
        )
    if not re.search(r"transport/shared_memory/enabled\s*=", override):
        hints.append(
            "shared memory is off unless both ends set ZENOH_CONFIG_OVERRIDE='transport/shared_memory/enabled=true'"
        )
    return [Advice(f"Zenoh: {'; '.join(hints)}", is_warning=False)] if hints else []
