"""Check that camera-sized messages pass between two processes: shared memory, sockets, profiles, a real exchange."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from depth_anything_ros.doctor.checks import Options
from depth_anything_ros.doctor.section import Section
from depth_anything_ros.ros.process.fast_dds_segments import segments_in
from depth_anything_ros.ros.process.middleware import middleware_advice
from depth_anything_ros.system.extras import is_installed
from depth_anything_ros.system.package_share import FAST_DDS_PROFILE_VARIABLES, use_fast_dds_profile

if TYPE_CHECKING:
    from depth_anything_ros.ros.process.large_messages import Delivery

SHARED_MEMORY = Path("/dev/shm")
RECEIVE_BUFFER = Path("/proc/sys/net/core/rmem_max")
MUCH_STALE = 64 << 20
"""Bytes of dead processes' segments above which a note is given."""
LEAST_SHARE = 0.9
"""Share of the messages that must arrive: the first can be sent before both ends are ready."""
NO_DISCOVERY = (
    "a firewall or ROS_AUTOMATIC_DISCOVERY_RANGE=OFF prevents it, or a network without multicast: "
    "export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST; sudo ip link set lo multicast on"
)
NO_ROUTER = "Zenoh needs its router, in another terminal: ros2 run rmw_zenoh_cpp rmw_zenohd"
SLOW = 0.1
"""Seconds of latency above which a note is given: three frames of a 30 Hz camera."""


def shared_memory(section: Section, options: Options) -> None:
    """Report the shared memory, and the segments of running and dead Fast DDS processes."""
    if not SHARED_MEMORY.is_dir():
        section.facts["shared_memory"] = None
        section.add_line(f"there is no {SHARED_MEMORY}")
        return
    usage, segments = shutil.disk_usage(SHARED_MEMORY), segments_in(SHARED_MEMORY)
    stale = [segment for segment in segments if not segment.in_use]
    stale_bytes = sum(segment.size for segment in stale)
    users = sorted({segment.user for segment in segments if segment.in_use})
    section.facts["shared_memory"] = {
        "bytes": usage.total,
        "free_bytes": usage.free,
        "segments_in_use": len(segments) - len(stale),
        "users": users,
        "stale_segments": len(stale),
        "stale_bytes": stale_bytes,
    }
    section.add_line(
        f"{SHARED_MEMORY}: {usage.free >> 20} of {usage.total >> 20} MiB free; Fast DDS: {len(segments) - len(stale)} "
        f"files in use, {len(stale)} of dead processes with {stale_bytes >> 20} MiB"
    )
    if stale_bytes >= MUCH_STALE:
        clean = "fastdds shm clean" if shutil.which("fastdds") else "rm /dev/shm/*fastrtps_* /dev/shm/*fastdds_*"
        section.note(
            f"segments of dead processes hold {stale_bytes >> 20} MiB of {SHARED_MEMORY}: "
            f"end all ROS processes, then {clean}"
        )


def sockets(section: Section, options: Options) -> None:
    """Report the largest receive buffer of sockets."""
    try:
        size = int(RECEIVE_BUFFER.read_text())
    except (OSError, ValueError):  # not Linux
        section.facts["receive_buffer_bytes"] = None
        return
    section.facts["receive_buffer_bytes"] = size
    section.add_line(f"net.core.rmem_max: {size} bytes (for messages over the network, and for Cyclone DDS)")


def advice(section: Section, options: Options) -> None:
    """Report the package's checks of the middleware, for the nodes and for other programs."""
    section.facts.update(rmw=None, advice=[])
    if not is_installed("rclpy"):
        section.add_line("no ROS 2, so no message is sent; see the section ROS 2")
        return
    from depth_anything_ros.ros.process.rcl_start import rmw_identifier

    section.facts["rmw"] = rmw = rmw_identifier()
    elsewhere = middleware_advice(rmw, os.environ)
    use_fast_dds_profile()
    own_advice = middleware_advice(rmw, os.environ)
    section.facts["advice"] = [own.text for own in own_advice if own.is_warning]
    for own in own_advice:
        if own.is_warning:
            section.note(own.text)
        else:
            section.add_line(own.text)
    for other in elsewhere:
        if other.is_warning and other not in own_advice:
            section.note(
                f"programs that you start in this shell, such as a camera driver (not the nodes): {other.text}"
            )


def exchange(section: Section, options: Options) -> None:
    """Send images between two processes, and report the delivery."""
    sent: list[dict[str, object]] = []
    section.facts["exchange"] = sent
    if section.facts["rmw"] is None:
        return
    from depth_anything_ros.ros.process import large_messages

    prefix = f"depth_anything_ros_doctor_{os.getpid()}_{secrets.token_hex(4)}"
    try:
        for delivery in large_messages.exchange(prefix, large_messages.TRIALS):
            values = asdict(delivery)
            sent.append({**values.pop("trial"), **values, "asked_rate": delivery.trial.rate})
            _judge(section, delivery)
    except large_messages.NoMeetingError as error:
        section.problem(f"{error}: {NO_ROUTER if section.facts['rmw'] == 'rmw_zenoh_cpp' else NO_DISCOVERY}")


STEPS = (shared_memory, sockets, advice, exchange)


def _judge(section: Section, delivery: Delivery) -> None:
    trial = delivery.trial
    kind = f"{trial.size / 1e6:g} MB {'reliable' if trial.reliable else 'best effort'}"
    if delivery.latency is None or delivery.longest is None:
        section.add_line(f"{kind}: 0 of {delivery.sent} arrived")
    else:
        section.add_line(
            f"{kind}: {delivery.received} of {delivery.sent} arrived at {delivery.rate:.1f} of {trial.rate:g} Hz, "
            f"latency {delivery.latency:.4f} s, at most {delivery.longest:.4f} s"
        )
    if delivery.received < LEAST_SHARE * delivery.sent:
        section.problem(
            f"only {delivery.received} of {delivery.sent} messages of {kind} arrive between two processes: "
            f"{_fix(section)}"
        )
    elif delivery.latency is not None and delivery.latency > SLOW:
        section.note(
            f"messages of {kind} take {delivery.latency:.2f} s: the processor may be busy (see `top`), "
            "or use a smaller image"
        )


def _fix(section: Section) -> str:
    """Return the fix for lost messages."""
    if section.facts["advice"]:
        return "the note above on the middleware gives the command"
    own = next((name for name in FAST_DDS_PROFILE_VARIABLES if os.environ.get(name)), None)
    if section.facts["rmw"] in ("rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp") and own:
        return f"unset {own}, so that the package's profile is used, and try again (docs/middleware.md)"
    return "export RMW_IMPLEMENTATION=rmw_fastrtps_cpp; the package has a profile for it (docs/middleware.md)"
