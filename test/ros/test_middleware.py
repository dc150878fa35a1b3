"""Advice on a middleware that would lose images, and a check that the shipped profile carries them."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import limit, wait_until

from depth_anything_ros.ros.process.middleware import Advice, middleware_advice, other_users
from depth_anything_ros.system.package_share import fast_dds_settings, use_fast_dds_profile

FAST_DDS = "rmw_fastrtps_cpp"
CYCLONE = "rmw_cyclonedds_cpp"
OLD_VARIABLE, NEW_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
FRAMES = 20


@pytest.fixture
def shipped(repository: Path) -> str:
    return (repository / "config" / "fastdds_large_messages.xml").read_text()


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A working directory, and a place for shared memory, with nothing in it."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def fast_dds(folder: Path, environment: Mapping[str, str], shared_memory: Path | None = None) -> list[str]:
    """The texts of the advice for Fast DDS in a working directory; all of it must be warnings."""
    advice = middleware_advice(FAST_DDS, environment, shared_memory or folder, working_directory=folder)
    assert all(one.is_warning for one in advice)
    return [one.text for one in advice]


def fast_dds_with(text: str, folder: Path, **environment: str) -> list[str]:
    """The same with a profile of that text."""
    (folder / "profile.xml").write_text(text)
    path = str(folder / "profile.xml")
    return fast_dds(folder, {"ROS_DISTRO": "jazzy", OLD_VARIABLE: path, **environment})


def kernel(folder: Path, rmem_max: int) -> Path:
    path = folder / "kernel" / "net" / "core" / "rmem_max"
    path.parent.mkdir(parents=True)
    path.write_text(f"{rmem_max}\n")
    return folder / "kernel"


def is_installed(distribution: str) -> bool:
    try:
        return bool(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return False


def only(texts: list[str]) -> str:
    (text,) = texts
    assert "\n" not in text
    return text


# Fast DDS


@pytest.mark.parametrize("rmw", [FAST_DDS, "rmw_fastrtps_dynamic_cpp"])
@pytest.mark.parametrize(
    ("release", "variable"), [("jazzy", OLD_VARIABLE), ("kilted", NEW_VARIABLE), ("kilted", OLD_VARIABLE)]
)
def test_shipped_profile_gives_no_advice(rmw: str, release: str, variable: str, repository: Path, empty: Path) -> None:
    environment = {"ROS_DISTRO": release, variable: str(repository / "config" / "fastdds_large_messages.xml")}
    assert middleware_advice(rmw, environment, empty, working_directory=empty) == []


@pytest.mark.parametrize("localhost", [{}, {"ROS_LOCALHOST_ONLY": "0"}, {"ROS_LOCALHOST_ONLY": "1"}])
@pytest.mark.parametrize(
    ("release", "variable"),
    [
        ("humble", OLD_VARIABLE),
        ("jazzy", OLD_VARIABLE),
        ("kilted", NEW_VARIABLE),
        ("lyrical", NEW_VARIABLE),
        ("rolling", NEW_VARIABLE),
    ],
)
def test_fast_dds_settings_choose_profile_by_release_and_localhost(
    release: str, variable: str, localhost: dict[str, str], empty: Path
) -> None:
    environment = {"ROS_DISTRO": release, **localhost}
    assert set(fast_dds_settings(environment)) == {variable}
    use_fast_dds_profile(environment)
    assert Path(environment[variable]).is_file()
    assert ("localhost" in Path(environment[variable]).name) == (localhost.get("ROS_LOCALHOST_ONLY") == "1")
    assert fast_dds(empty, environment) == []


def test_wheels_without_ros_distro_are_told_by_their_fast_dds() -> None:
    installed = {name for name in ("ros-fastrtps", "ros-fastdds") if is_installed(name)}
    if len(installed) != 1:
        pytest.skip("rclpy is not installed from wheels")
    expected = {"ros-fastrtps": OLD_VARIABLE, "ros-fastdds": NEW_VARIABLE}[installed.pop()]
    assert set(fast_dds_settings({})) == {expected}


@pytest.mark.parametrize("variable", [OLD_VARIABLE, NEW_VARIABLE])
def test_user_profile_is_kept(variable: str) -> None:
    assert fast_dds_settings({variable: "mine.xml", "ROS_LOCALHOST_ONLY": "1"}) == {}


@pytest.mark.parametrize(
    ("release", "variable"),
    [("humble", OLD_VARIABLE), ("jazzy", OLD_VARIABLE), ("kilted", NEW_VARIABLE), ("rolling", NEW_VARIABLE)],
)
def test_missing_profile_gives_command_of_release(release: str, variable: str, empty: Path) -> None:
    text = only(fast_dds(empty, {"ROS_DISTRO": release, OLD_VARIABLE: ""}))
    assert "0 to 2 of 60" in text
    path = re.search(rf"export {variable}=(\S+)$", text)
    assert path is not None
    assert path[1].endswith("/config/fastdds_large_messages.xml")


def test_fast_dds_2_ignores_new_variable(repository: Path, empty: Path) -> None:
    environment = {NEW_VARIABLE: str(repository / "config" / "fastdds_large_messages.xml"), "ROS_DISTRO": "jazzy"}
    assert f"{NEW_VARIABLE} is set, but Fast DDS of jazzy reads {OLD_VARIABLE}" in only(fast_dds(empty, environment))


@pytest.mark.parametrize("value", [None, "0", ""])
def test_network_profile_without_localhost_only_gives_no_advice(value: str | None, shipped: str, empty: Path) -> None:
    assert fast_dds_with(shipped, empty, **({} if value is None else {"ROS_LOCALHOST_ONLY": value})) == []


def test_network_profile_with_localhost_only_warns(shipped: str, empty: Path) -> None:
    text = only(fast_dds_with(shipped, empty, ROS_DISTRO="humble", ROS_LOCALHOST_ONLY="1"))
    assert "transport large_udp listens on every network interface although ROS_LOCALHOST_ONLY=1" in text
    path = re.search(rf"export {OLD_VARIABLE}=(\S+)$", text)
    assert path is not None
    assert path[1].endswith("/config/fastdds_large_messages_localhost.xml")
    tcp = shipped.replace("UDPv4", "TCPv4")
    assert "listens on every network" in only(fast_dds_with(tcp, empty, ROS_LOCALHOST_ONLY="1"))
    unrestricted = shipped.replace("<type>UDPv4</type>", "<type>UDPv4</type><interfaceWhiteList/>")
    assert "listens on every network" in only(fast_dds_with(unrestricted, empty, ROS_LOCALHOST_ONLY="1"))


def test_shipped_profiles_differ_only_by_interfaces(repository: Path) -> None:
    config = repository / "config"
    closed = ElementTree.parse(config / "fastdds_large_messages_localhost.xml").getroot()
    (udp,) = (one for one in closed.iter() if one.tag.endswith("}transport_descriptor") and "UDPv4" in texts(one))
    (interfaces,) = (one for one in udp if one.tag.endswith("}interfaceWhiteList"))
    assert texts(interfaces) == ["127.0.0.1"]
    udp.remove(interfaces)
    assert texts(closed) == texts(ElementTree.parse(config / "fastdds_large_messages.xml").getroot())


def texts(element: ElementTree.Element) -> list[str]:
    return [text.strip() for text in element.itertext() if text.strip()]


def test_large_data_variable_is_no_fix(empty: Path) -> None:
    assert "nor does LARGE_DATA: measured" in only(fast_dds(empty, {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}))


def test_unreadable_profile_warns_with_reason(shipped: str, empty: Path) -> None:
    missing = str(empty / "missing.xml")
    assert f"{missing}, which does not exist" in only(fast_dds(empty, {OLD_VARIABLE: missing}))
    assert "which is not a file" in only(fast_dds(empty, {OLD_VARIABLE: str(empty)}))
    assert "is not valid XML" in only(fast_dds_with(shipped[:900], empty))
    assert "is not valid XML" in only(fast_dds_with('<?xml version="1.0" encoding="utf-7"?><profiles/>', empty))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("67108864", "1048576", "segment is 1 MiB, less than 16 MiB"),
        ("<segment_size>67108864</segment_size>", "", "segment is 0.5 MiB, less than 16 MiB"),
        (' is_default_profile="true"', "", 'no participant with is_default_profile="true"'),
        ('"true"', '"1"', 'no participant with is_default_profile="true"'),
        ("<type>SHM", "<type>UDPv4", "no transport of type SHM"),
        ("<transport_id>large_shared_memory</transport_id>\n        <", "<", "no transport of type SHM"),
    ],
)
def test_profile_with_small_segment_warns(old: str, new: str, complaint: str, shipped: str, empty: Path) -> None:
    assert old in shipped
    assert complaint in only(fast_dds_with(shipped.replace(old, new), empty))


def test_profile_inside_dds_element_or_without_namespace_is_valid(shipped: str, empty: Path) -> None:
    plain = shipped.replace(' xmlns="http://www.eprosima.com"', "")
    assert plain != shipped
    assert fast_dds_with(plain, empty) == []
    rooted = plain.replace("<profiles>", "<dds><profiles>").replace("</profiles>", "</profiles></dds>")
    assert fast_dds_with(rooted, empty) == []


def test_builtin_transports_warn_only_on_humble(shipped: str, empty: Path) -> None:
    left = shipped.replace("<useBuiltinTransports>false</useBuiltinTransports>", "")
    assert left != shipped
    assert "useBuiltinTransports" in only(fast_dds_with(left, empty, ROS_DISTRO="humble"))
    assert fast_dds_with(left, empty, ROS_DISTRO="jazzy") == []


def test_profile_in_working_directory_takes_precedence(shipped: str, empty: Path) -> None:
    default = empty / "DEFAULT_FASTRTPS_PROFILES.xml"
    default.write_text(shipped)
    assert fast_dds(empty, {"ROS_DISTRO": "jazzy"}) == []
    assert fast_dds(empty, {"ROS_DISTRO": "jazzy", OLD_VARIABLE: "missing.xml"}) == []
    assert len(fast_dds(empty, {"ROS_DISTRO": "jazzy", "SKIP_DEFAULT_XML_FILE": "1"})) == 1
    assert len(fast_dds(empty, {"ROS_DISTRO": "kilted"})) == 1
    default.write_text(shipped.replace("67108864", "524288"))
    text = only(fast_dds_with(shipped, empty))
    assert text.startswith(default.name)
    assert text.endswith("SKIP_DEFAULT_XML_FILE=1")
    assert fast_dds_with(shipped, empty, SKIP_DEFAULT_XML_FILE="1") == []


def test_relative_profile_path_uses_working_directory(shipped: str, empty: Path) -> None:
    (empty / "profile.xml").write_text(shipped)
    assert fast_dds(empty, {OLD_VARIABLE: "profile.xml"}) == []


def test_shared_memory_smaller_than_segment_warns(shipped: str, empty: Path) -> None:
    text = only(fast_dds_with(shipped.replace("67108864", str(1 << 60)), empty))
    assert "MiB free, less than the 1168231104512 MiB" in text
    assert "--ipc=host" in text
    assert "--shm-size=1g" in text


def test_missing_shared_memory_warns(repository: Path, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {OLD_VARIABLE: str(repository / "config" / "fastdds_large_messages.xml")}
    assert "missing or not writable" in only(fast_dds(empty, environment, empty / "missing"))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert "missing or not writable" in only(fast_dds(empty, environment))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400))
def test_arbitrary_bytes_in_profile_never_raise(content: bytes, empty: Path) -> None:
    path = empty / "file"
    path.write_bytes(content)
    assert fast_dds(empty, {OLD_VARIABLE: str(path)})
    middleware_advice(CYCLONE, {"CYCLONEDDS_URI": str(path)}, kernel=empty)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_profile_never_raises(data: st.DataObject, shipped: str, empty: Path) -> None:
    whole = shipped.encode()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(start + 200, len(whole))))
    (empty / "file").write_bytes(whole[:start] + data.draw(st.binary(max_size=30)) + whole[end:])
    fast_dds(empty, {OLD_VARIABLE: "file"})


@given(
    environment=st.dictionaries(st.sampled_from([OLD_VARIABLE, "CYCLONEDDS_URI", "ZENOH_CONFIG_OVERRIDE"]), st.text())
)
def test_arbitrary_environment_never_raises(environment: dict[str, str]) -> None:
    for rmw in (FAST_DDS, CYCLONE, "rmw_zenoh_cpp"):
        assert isinstance(middleware_advice(rmw, environment), list)


@pytest.mark.parametrize("prefix", ["fastrtps", "fastdds"])
def test_segments_of_other_user_warn_while_in_use(prefix: str, repository: Path, empty: Path) -> None:
    environment = {OLD_VARIABLE: str(repository / "config" / "fastdds_large_messages.xml")}
    lock = empty / f"{prefix}_344cd183ef10dcdc_el"
    lock.touch()
    (empty / f"{prefix}_344cd183ef10dcdc").touch()

    def advice(user: int) -> list[str]:
        return [one.text for one in middleware_advice(FAST_DDS, environment, empty, working_directory=empty, user=user)]

    user = os.geteuid()
    assert advice(user + 1) == []  # nobody holds it: left by a process that was killed
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert other_users(FAST_DDS, empty, user + 1) == only(advice(user + 1))
        assert other_users(FAST_DDS, empty) == other_users(CYCLONE, empty, user + 1) == ""
        assert advice(user) == []
        text = only(advice(user + 1))
    assert f"processes of user {user}" in text
    assert f"runs as user {user + 1}" in text
    assert f"docker run --user {user}" in text


def test_segments_of_real_participant_are_detected(repository: Path, empty: Path) -> None:
    """The names and locks are those of the Fast DDS that is installed."""
    rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from rclpy.utilities import get_rmw_implementation_identifier

    rmw = get_rmw_implementation_identifier()
    if rmw != FAST_DDS:
        pytest.skip(f"the middleware is {rmw}, not Fast DDS")
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("holder", context=context)
    try:
        advice = middleware_advice(rmw, os.environ, working_directory=empty, user=os.geteuid() + 1)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert [one for one in advice if f"processes of user {os.geteuid()}" in one.text]


# The others


def test_cyclone_with_linux_defaults_warns(empty: Path, tmp_path: Path) -> None:
    first, second = middleware_advice(CYCLONE, {}, empty, kernel(tmp_path, 212992))
    assert "sudo sysctl -w net.core.rmem_max=2147483647" in first.text
    path = re.search(r"export CYCLONEDDS_URI=file://(\S+)$", second.text)
    assert path is not None
    assert path[1].endswith("/config/cyclonedds_large_messages.xml")


def test_cyclone_with_shipped_configuration_gives_no_advice(repository: Path, empty: Path, tmp_path: Path) -> None:
    environment = {"CYCLONEDDS_URI": f"file://{repository / 'config' / 'cyclonedds_large_messages.xml'}"}
    assert middleware_advice(CYCLONE, environment, empty, kernel(tmp_path, 2147483647)) == []
    assert middleware_advice(CYCLONE, environment, empty, tmp_path / "none") == []


@pytest.mark.parametrize(
    "element",
    ['<SocketReceiveBufferSize min="10MB"/>', "<MinimumSocketReceiveBufferSize>10MB</MinimumSocketReceiveBufferSize>"],
)
def test_cyclone_minimum_above_kernel_limit_warns(element: str, empty: Path, tmp_path: Path) -> None:
    environment = {"CYCLONEDDS_URI": f"<Internal>{element}</Internal><General/>"}
    (advice,) = middleware_advice(CYCLONE, environment, empty, kernel(tmp_path, 4194304))
    assert "will not start" in advice.text
    assert "requires a socket receive buffer of at least 10485760 bytes" in advice.text


def test_cyclone_with_unreadable_configuration_warns(empty: Path, tmp_path: Path) -> None:
    folder = kernel(tmp_path, 2147483647)
    (absent,) = middleware_advice(CYCLONE, {"CYCLONEDDS_URI": "file:///missing.xml"}, empty, folder)
    assert "file:///missing.xml, which does not exist" in absent.text
    (broken,) = middleware_advice(CYCLONE, {"CYCLONEDDS_URI": "<Internal>"}, empty, folder)
    assert "cannot be parsed" in broken.text


def test_zenoh_gives_information_without_warning() -> None:
    (advice,) = middleware_advice("rmw_zenoh_cpp", {})
    assert not advice.is_warning
    assert "rmw_zenohd" in advice.text
    assert "transport/shared_memory/enabled=true" in advice.text
    override = {"ZENOH_CONFIG_OVERRIDE": "scouting/multicast/enabled=true;transport/shared_memory/enabled=true"}
    assert middleware_advice("rmw_zenoh_cpp", override) == []
    assert middleware_advice("rmw_zenoh_cpp", {"ZENOH_SESSION_CONFIG_URI": "mine.json5"}) == []


def test_other_middleware_gives_no_advice() -> None:
    assert middleware_advice("rmw_connextdds", {}) == []


# The real Fast DDS

PUBLISHER = """
import sys
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node("publisher", namespace=sys.argv[1])
publisher = node.create_publisher(Image, "image", QoSProfile(depth=2))
while publisher.get_subscription_count() == 0:
    rclpy.spin_once(node, timeout_sec=0.05)
print("matched", flush=True)
for line in sys.stdin:
    message = Image(height=480, width=640, encoding="rgb8", step=1920)
    message.data.frombytes(bytes(921600))
    message.header.stamp.sec = int(line)
    publisher.publish(message)
"""


def test_shipped_profile_carries_best_effort_images(repository: Path, empty: Path) -> None:
    rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from rclpy.utilities import get_rmw_implementation_identifier
    from sensor_msgs.msg import Image

    rmw = get_rmw_implementation_identifier()
    if rmw != FAST_DDS:
        pytest.skip(f"the middleware is {rmw}, not Fast DDS")
    profile = str(repository / "config" / "fastdds_large_messages.xml")
    environment = {**os.environ, OLD_VARIABLE: profile, NEW_VARIABLE: profile}
    advice: list[Advice] = middleware_advice(rmw, environment, working_directory=empty)
    if advice:
        pytest.skip(advice[0].text)
    without = {name: value for name, value in environment.items() if name not in (OLD_VARIABLE, NEW_VARIABLE)}
    assert [one.is_warning for one in middleware_advice(rmw, without, working_directory=empty)] == [True]

    namespace = f"/middleware_{os.getpid()}"
    received: set[int] = set()
    rclpy.init()
    node = rclpy.create_node("subscriber", namespace=namespace)
    best_effort = QoSProfile(depth=FRAMES, reliability=ReliabilityPolicy.BEST_EFFORT)
    node.create_subscription(Image, "image", lambda message: received.add(message.header.stamp.sec), best_effort)
    command = [sys.executable, "-c", PUBLISHER, namespace]
    child = subprocess.Popen(
        command, cwd=empty, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "matched\n"
        # All at once: they lie in the segment together, while the default one does not hold a single image.
        child.stdin.write("".join(f"{number}\n" for number in range(FRAMES)))
        child.stdin.flush()
        wait_until(
            lambda: len(received) >= FRAMES - 2, "the images", step=lambda: rclpy.spin_once(node, timeout_sec=0.1)
        )
        child.stdin.close()
        assert child.wait(timeout=limit(30)) == 0
    finally:
        child.kill()
        child.wait()
        node.destroy_node()
        rclpy.try_shutdown()
