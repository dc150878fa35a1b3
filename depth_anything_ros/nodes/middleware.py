"""What a node's surroundings lack for camera-sized messages: lines for its log, each with the command that mends it."""

from __future__ import annotations

import os
import re
import stat
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.share import (
    FAST_DDS_2_RELEASES,
    FAST_DDS_PROFILE_VARIABLES,
    PACKAGE,
    fast_dds_generation,
    fast_dds_profile_name,
    is_localhost_only,
    share_directory,
)

MINIMUM_SEGMENT = 16 << 20
"""Bytes of shared memory below which Fast DDS cannot hold one 1280x720 cloud (15 MB)."""
MINIMUM_RECEIVE_BUFFER = 2 << 20
"""Bytes of socket buffer below which Cyclone DDS cannot hold one 640x480 depth image (1.2 MB) with its overhead."""

_BUILTIN_FIRST_RELEASES = FAST_DDS_2_RELEASES - {"jazzy"}
"""Where Fast DDS registers its built-in transports before the profile's; later ones append them, which does no harm."""
_INTERFACE_LISTS = ("interfaceWhiteList", "allowlist")  # the second one since Fast DDS 2.13
_LOST = (
    "best-effort images above 0.5 MB then mostly do not arrive (measured: 0 to 2 of 60) "
    "and reliable ones take three times as long"
)
_SYSCTL = (
    "sudo sysctl -w net.core.rmem_max=2147483647 net.ipv4.ipfrag_time=3 net.ipv4.ipfrag_high_thresh=134217728 "
    "(in /etc/sysctl.d/60-ros2.conf to keep it)"
)
_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "KIB": 1 << 10, "MB": 1 << 20, "MIB": 1 << 20, "GB": 1 << 30, "GIB": 1 << 30}


@dataclass(frozen=True)
class Advice:
    """One line for the log: a warning, or what is merely good to know."""

    text: str
    is_warning: bool = True


class _UnusableFileError(Exception):
    """A file that cannot be read as XML; the message says why, to follow the file's name."""


@dataclass
class _FastDdsProfile:
    """What Fast DDS would take for its default participant from the files it has read so far."""

    segments: dict[str, int]  # bytes, by the shared memory transport's id
    open_transports: set[str]  # ids of those over the network that no interfaceWhiteList restricts
    transports: list[str] | None = None  # None: no default participant
    builtin_transports: bool = True

    @property
    def segment(self) -> int | None:
        """Bytes of the largest shared memory segment that the default participant uses, if it names any."""
        used = [self.segments[name] for name in self.transports or () if name in self.segments]
        return max(used, default=None)

    def open_to_network(self) -> list[str]:
        """The ids of the default participant's transports that listen on every network interface."""
        return [name for name in self.transports or () if name in self.open_transports]


def middleware_advice(
    rmw_identifier: str,
    environment: Mapping[str, str],
    shared_memory: Path = Path("/dev/shm"),
    kernel: Path = Path("/proc/sys"),
    working_directory: Path = Path(),
) -> list[Advice]:
    """What keeps camera-sized messages from arriving over this middleware; nothing where all is well.

    ``rmw_identifier``: what `rclpy.utilities.get_rmw_implementation_identifier` returns. Ask before ``rclpy.init``,
    which takes the shared memory that is measured here, and after `use_fast_dds_profile`. Only this process is judged:
    a message lies in its sender's memory, so an image that does not arrive is its camera's affair. Never raises: what
    cannot be read is advice too.
    """
    if rmw_identifier in ("rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp"):
        return _fast_dds_advice(environment, shared_memory, working_directory)
    if rmw_identifier == "rmw_cyclonedds_cpp":
        return _cyclone_advice(environment, kernel, working_directory)
    if rmw_identifier == "rmw_zenoh_cpp":
        return _zenoh_advice(environment)
    return []


def _shipped(name: str) -> str:
    """The path of one of the package's own configurations, for a command."""
    try:
        folder = str(share_directory())
    except FileNotFoundError:
        folder = f"<prefix>/share/{PACKAGE}"
    return f"{folder}/config/{name}"


def _read_xml(path: Path) -> ElementTree.Element:
    """Raises `_UnusableFileError`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _UnusableFileError("is not a file")
        return ElementTree.fromstring(path.read_bytes())
    except FileNotFoundError:
        raise _UnusableFileError("does not exist") from None
    except OSError as error:
        raise _UnusableFileError(f"cannot be read ({error.strerror or error})") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two: of the encoding it names
        raise _UnusableFileError(f"is not valid XML ({error})") from error


def _named(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """The elements of that name below an element, or itself, in whatever namespace."""
    return (found for found in element.iter() if found.tag.rpartition("}")[2] == name)


def _text(element: ElementTree.Element, name: str) -> str:
    """The text of the first element of that name, or nothing."""
    return next(((found.text or "").strip() for found in _named(element, name)), "")


# Fast DDS


def _fast_dds_advice(environment: Mapping[str, str], shared_memory: Path, working_directory: Path) -> list[Advice]:
    release = environment.get("ROS_DISTRO", "")
    variables, default_names = _fast_dds_names(environment)
    variable = next((name for name in variables if environment.get(name)), None)
    # In the order in which Fast DDS reads them: a later file's default participant replaces an earlier one's.
    files: list[tuple[Path, str]] = []
    if variable is not None:
        files.append((working_directory / environment[variable], f"{variable} names {environment[variable]}"))
    if not environment.get("SKIP_DEFAULT_XML_FILE", "").startswith("1"):
        paths = [working_directory / name for name in default_names]
        files += [(path, f"{path.name} lies in the working directory") for path in paths if os.path.isfile(path)]

    profile = _FastDdsProfile(segments={}, open_transports=set())
    troubles: list[str] = []
    source = ""
    for path, name in files:
        try:
            if _add_profile(profile, _read_xml(path)):
                source = name
        except _UnusableFileError as error:
            troubles.append(f"{name}, which {error}, so Fast DDS ignores it")

    shipped = _shipped(fast_dds_profile_name(environment))
    advice = []
    if is_localhost_only(environment) and (open_transports := profile.open_to_network()):
        text = (
            f"{source}, whose transport {', '.join(open_transports)} listens on every network interface although "
            f"ROS_LOCALHOST_ONLY=1: add <interfaceWhiteList><address>127.0.0.1</address></interfaceWhiteList> to it, "
            f"or export {variables[0]}={shipped}"
        )
        advice.append(Advice(text))
    segment = profile.segment
    if segment is not None and segment >= MINIMUM_SEGMENT:
        if profile.builtin_transports and release in _BUILTIN_FIRST_RELEASES:
            text = (
                f"{source}, which leaves useBuiltinTransports true: Fast DDS of {release} may go on using its built-in "
                f"segment of 512 KiB, and {_LOST}; put <useBuiltinTransports>false</useBuiltinTransports> into <rtps>"
            )
            advice.append(Advice(text))
        return advice + _shared_memory_advice(segment, shared_memory)

    trouble = "; ".join(troubles) or _profile_trouble(profile, files, source, variables, environment)
    if environment.get("FASTDDS_BUILTIN_TRANSPORTS"):
        trouble += " (FASTDDS_BUILTIN_TRANSPORTS, LARGE_DATA too, is no cure: measured)"
    mend = f"export {variables[0]}={shipped}"
    if source.startswith("DEFAULT_"):
        mend += " SKIP_DEFAULT_XML_FILE=1"
    return [*advice, Advice(f"{trouble}: {_LOST}; {mend}"), *_shared_memory_advice(0, shared_memory)]


def _fast_dds_names(environment: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The variables that name a profile, the one to set first, and the files read from the working directory.

    Fast DDS 2 heeds the old name only; over Fast DDS 3 rmw_fastrtps still heeds the old one, but warns of it.
    """
    old, new = FAST_DDS_PROFILE_VARIABLES
    generation = fast_dds_generation(environment)
    if generation == 2:
        return (old,), ("DEFAULT_FASTRTPS_PROFILES.xml",)
    if generation == 3:
        return (new, old), ("DEFAULT_FASTDDS_PROFILES.xml",)
    return (old, new), ("DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml")


def _add_profile(profile: _FastDdsProfile, root: ElementTree.Element) -> bool:
    """Adds what a file says to what the files before it said; whether it has a default participant."""
    for descriptor in _named(root, "transport_descriptor"):
        if _text(descriptor, "type") == "SHM":
            try:
                size = int(_text(descriptor, "segment_size"))
            except ValueError:
                size = 512 << 10
            profile.segments[_text(descriptor, "transport_id")] = size
        elif not any(len(found) for tag in _INTERFACE_LISTS for found in _named(descriptor, tag)):  # empty: all
            profile.open_transports.add(_text(descriptor, "transport_id"))
    has_default = False
    for participant in _named(root, "participant"):
        if participant.get("is_default_profile") == "true":  # the only spelling that Fast DDS takes
            has_default = True
            used = [name for user in _named(participant, "userTransports") for name in _named(user, "transport_id")]
            profile.transports = [(name.text or "").strip() for name in used]
            profile.builtin_transports = _text(participant, "useBuiltinTransports") != "false"
    return has_default


def _profile_trouble(
    profile: _FastDdsProfile,
    files: list[tuple[Path, str]],
    source: str,
    variables: tuple[str, ...],
    environment: Mapping[str, str],
) -> str:
    """Why Fast DDS has too small a segment although every file could be read."""
    if profile.segment is not None:
        size, least = (f"{number / (1 << 20):g} MiB" for number in (profile.segment, MINIMUM_SEGMENT))
        return f"{source}, whose shared memory segment is {size}, less than {least}"
    if source:
        return f"{source}, whose default participant has no transport of type SHM with a segment_size"
    if files:
        return f'{files[-1][1]}, which has no participant with is_default_profile="true"'
    other = next((name for name in FAST_DDS_PROFILE_VARIABLES if environment.get(name)), None)
    if other is not None:
        return f"{other} is set, but Fast DDS of {environment.get('ROS_DISTRO') or 'this ROS 2'} reads {variables[0]}"
    return f"Fast DDS has its default transports, since {variables[0]} is not set"


def _shared_memory_advice(segment: int, shared_memory: Path) -> list[Advice]:
    """Whether a segment of that many bytes fits into what is free; 0: whether there is shared memory at all."""
    remedy = "in a container: docker run --ipc=host, or --shm-size=1g"
    lost = f"Fast DDS falls back to UDP, and {_LOST}"
    try:
        if not (shared_memory.is_dir() and os.access(shared_memory, os.W_OK | os.X_OK)):
            return [Advice(f"{shared_memory} is absent or not writable: {lost}; sudo chmod 1777 it, or {remedy}")]
        status = os.statvfs(shared_memory)
    except OSError as error:
        return [Advice(f"{shared_memory} cannot be used ({error.strerror or error}): {lost}; {remedy}")]
    free = status.f_bavail * status.f_frsize
    needed = segment + segment // 16  # measured: the file is 3/64 larger than the segment
    if free >= needed:
        return []
    text = (
        f"{shared_memory} has {free >> 20} MiB free, less than the {needed >> 20} MiB of this process's segment (every "
        f"process takes one): {lost}; {remedy}, or else remove what dead processes left with `fastdds shm clean`"
    )
    return [Advice(text)]


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
    except _UnusableFileError as error:
        return [*advice, Advice(f"CYCLONEDDS_URI names {error}: Cyclone DDS may refuse to start; mend or unset it")]
    if asked < MINIMUM_RECEIVE_BUFFER:
        text = (
            f"Cyclone DDS asks for a socket receive buffer of 1 MiB unless SocketReceiveBufferSize says otherwise: "
            f"{unreliable}; export CYCLONEDDS_URI=file://{_shipped('cyclonedds_large_messages.xml')}"
        )
        advice.append(Advice(text))
    if granted is not None and smallest > 2 * granted:  # Linux grants, and reports, twice of what was asked
        text = (
            f"CYCLONEDDS_URI demands a socket receive buffer of at least {smallest} bytes, but net.core.rmem_max is "
            f"{granted}: Cyclone DDS refuses to start; {_SYSCTL}, or ask with max= in place of min="
        )
        advice.append(Advice(text))
    return advice


def _kernel_number(path: Path) -> int | None:
    """A kernel setting; None if this system has none of that name."""
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return None


def _cyclone_receive_buffer(uri: str, working_directory: Path) -> tuple[int, int]:
    """The bytes below which Cyclone DDS will not start, and those that it asks for, 0 each where none are named.

    ``uri`` is a comma-separated list of files, with or without ``file://``, and of XML. Raises `_UnusableFileError`.
    """
    roots = []
    if uri.lstrip().startswith("<"):
        elements = re.sub(r"<\?xml.*?\?>", "", uri, flags=re.DOTALL)
        try:
            roots.append(ElementTree.fromstring(f"<list>{elements}</list>"))
        except (ElementTree.ParseError, ValueError) as error:
            raise _UnusableFileError(f"XML that cannot be parsed ({error})") from error
    else:
        for name in filter(None, (part.strip() for part in uri.split(","))):
            try:
                roots.append(_read_xml(working_directory / name.removeprefix("file://")))
            except _UnusableFileError as error:
                raise _UnusableFileError(f"{name}, which {error}") from error
    smallest = asked = 0
    for root in roots:
        if old := _bytes(_text(root, "MinimumSocketReceiveBufferSize")):  # before Cyclone DDS 0.9, still understood
            smallest = asked = old
        for element in _named(root, "SocketReceiveBufferSize"):
            smallest = _bytes(element.get("min", ""))
            asked = max(smallest, _bytes(element.get("max", "")))
    return smallest, asked


def _bytes(size: str) -> int:
    """A size such as 10MB; 0 for ``default`` and for what is none. Cyclone DDS counts in units of 1024 either way."""
    match = re.fullmatch(r"([0-9]{1,18})\s*([A-Za-z]*)", size.strip())
    return int(match[1]) * _UNITS.get(match[2].upper(), 0) if match else 0


# Zenoh


def _zenoh_advice(environment: Mapping[str, str]) -> list[Advice]:
    """Neither a router nor a configuration file can be judged from here, so this only informs."""
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
