"""With ROS_LOCALHOST_ONLY=1 no node listens on the network; its images still arrive on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from client_node import client_node  # noqa: F401 - the fixture `node`
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import Image
from waiting import wait_until

from depth_anything_ros.system.package_share import FAST_DDS_PROFILE_VARIABLES, fast_dds_settings

pytestmark = pytest.mark.skipif(
    "fastrtps" not in get_rmw_implementation_identifier(), reason="the middleware is not Fast DDS"
)
MULTICAST_GROUP = "239.255.0.1"  # of DDS discovery; joined on the interfaces of the transport alone


def listening_addresses(process: int, domain: int) -> set[str]:
    """Return the addresses on which a process listens at the ports of a DDS domain (DDSI-RTPS 2.5, 9.6.2)."""
    inodes = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    addresses = set()
    for line in Path(f"/proc/{process}/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        address, port = fields[1].split(":")
        if fields[9] in inodes and 0 <= int(port, 16) - (7400 + 250 * domain) < 250:
            addresses.add(".".join(str(byte) for byte in reversed(bytes.fromhex(address))))
    return addresses


@pytest.fixture
def camera(node: Node, tmp_path: Path) -> Iterator[Callable[[dict[str, str]], subprocess.Popen]]:
    """Start a camera node beside `node`, with the profile that it chooses itself."""
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.zeros((480, 640, 3), np.uint8))
    started = []

    def start(environment: dict[str, str]) -> subprocess.Popen:
        inherited = {name: value for name, value in os.environ.items() if name not in FAST_DDS_PROFILE_VARIABLES}
        inherited.pop("ROS_AUTOMATIC_DISCOVERY_RANGE")  # which also narrows what rmw_fastrtps opens
        inherited.pop("ROS_LOCALHOST_ONLY", None)
        arguments = ["-r", f"__ns:={node.get_namespace()}", "-p", f"source:={picture}", "-p", "loop:=true"]
        command = [sys.executable, "-m", "depth_anything_ros.ros.camera_node", "--ros-args", *arguments]
        started.append(subprocess.Popen(command, env=inherited | environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def addresses(node: Node, camera: Callable[[dict[str, str]], subprocess.Popen]) -> Callable[[dict[str, str]], set[str]]:
    """Start a camera node with an environment; return its listening addresses once an image has arrived."""

    def start(environment: dict[str, str]) -> set[str]:
        images: list[Image] = []
        node.create_subscription(Image, "image_raw", images.append, qos_profile_sensor_data)
        process = camera(environment)

        def spin() -> None:
            assert process.poll() is None
            rclpy.spin_once(node, timeout_sec=0.1)

        wait_until(lambda: images, "an image", step=spin)
        return listening_addresses(process.pid, int(os.environ["ROS_DOMAIN_ID"]))

    return start


@pytest.mark.parametrize("environment", [{}, {"ROS_LOCALHOST_ONLY": "0"}])
def test_node_listens_on_network_by_default(
    addresses: Callable[[dict[str, str]], set[str]], environment: dict[str, str]
) -> None:
    assert "0.0.0.0" in addresses(environment)


def test_localhost_only_node_listens_on_loopback(
    addresses: Callable[[dict[str, str]], set[str]],
) -> None:
    found = addresses({"ROS_LOCALHOST_ONLY": "1"})
    assert "127.0.0.1" in found
    assert found <= {"127.0.0.1", MULTICAST_GROUP}


def test_localhost_only_holds_beside_humble_transports(
    addresses: Callable[[dict[str, str]], set[str]], tmp_path: Path
) -> None:
    """rmw_fastrtps of Humble adds a loopback and a shared memory transport to those of the profile."""
    (shipped,) = {Path(path) for path in fast_dds_settings({"ROS_LOCALHOST_ONLY": "1"}).values()}
    descriptors = (
        "<transport_descriptor><transport_id>added_udp</transport_id><type>UDPv4</type>"
        "<interfaceWhiteList><address>127.0.0.1</address></interfaceWhiteList></transport_descriptor>"
        "<transport_descriptor><transport_id>added_shm</transport_id><type>SHM</type></transport_descriptor>"
    )
    names = "<transport_id>added_udp</transport_id><transport_id>added_shm</transport_id>"
    text = shipped.read_text().replace("</transport_descriptors>", f"{descriptors}</transport_descriptors>")
    profile = tmp_path / "as_humble.xml"
    profile.write_text(text.replace("</userTransports>", f"{names}</userTransports>"))
    found = addresses(dict.fromkeys(fast_dds_settings({}), str(profile)))
    assert "127.0.0.1" in found
    assert found <= {"127.0.0.1", MULTICAST_GROUP}
