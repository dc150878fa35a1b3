"""Checks of Fast DDS for camera-sized messages: its profile and its shared memory."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.ros.process.fast_dds_segments import other_users_advice
from depth_anything_ros.ros.process.middleware_files import Advice, UnusableFileError, named, read_xml, shipped, text_of
from depth_anything_ros.system.package_share import (
    FAST_DDS_2_RELEASES,
    FAST_DDS_PROFILE_VARIABLES,
    fast_dds_generation,
    fast_dds_profile_name,
    is_localhost_only,
)

MINIMUM_SEGMENT = 16 << 20
"""Bytes of shared memory below which Fast DDS cannot hold one 1280x720 cloud (15 MB)."""

DEFAULT_SEGMENT = 512 << 10
"""Bytes of Fast DDS's shared memory segment if no profile sets its size."""

_BUILTIN_FIRST_RELEASES = FAST_DDS_2_RELEASES - {"jazzy"}
"""Releases where Fast DDS registers its built-in transports before the profile's. Later ones append them harmlessly."""
_INTERFACE_LISTS = ("interfaceWhiteList", "allowlist")  # the second one since Fast DDS 2.13
_LOST = (
    "most best-effort images above 0.5 MB are then lost (measured: 0 to 2 of 60 arrive) "
    "and reliable ones take three times as long"
)


@dataclass
class _FastDdsProfile:
    """The settings of the default participant, from the files read so far."""

    segments: dict[str, int]  # bytes, by the shared memory transport's id
    open_transports: set[str]  # ids of the network transports without an interfaceWhiteList
    transports: list[str] | None = None  # None: no default participant
    builtin_transports: bool = True

    @property
    def segment(self) -> int | None:
        """Bytes of the largest shared memory segment that the default participant uses; None if it uses none."""
        used = [self.segments[name] for name in self.transports or () if name in self.segments]
        return max(used, default=None)

    def open_to_network(self) -> list[str]:
        """Return the ids of the default participant's transports that listen on every network interface."""
        return [name for name in self.transports or () if name in self.open_transports]


@dataclass(frozen=True)
class _Configuration:
    """The Fast DDS configuration of an environment: its files, the resulting profile and the problems.

    ``source`` is the origin of the default participant, for messages; "" if there is none.
    """

    release: str
    variables: tuple[str, ...]
    files: list[tuple[Path, str]]
    profile: _FastDdsProfile
    problems: list[str]
    source: str

    @classmethod
    def read(cls, environment: Mapping[str, str], working_directory: Path) -> _Configuration:
        """Read the configuration. Files that cannot be read are reported in ``problems``."""
        release = environment.get("ROS_DISTRO", "")
        variables, default_names = _fast_dds_names(environment)
        variable = next((name for name in variables if environment.get(name)), None)
        # In the order in which Fast DDS reads them: a later file's default participant replaces an earlier one's.
        files: list[tuple[Path, str]] = []
        if variable is not None:
            files.append((working_directory / environment[variable], f"{variable} is {environment[variable]}"))
        if not environment.get("SKIP_DEFAULT_XML_FILE", "").startswith("1"):
            paths = [working_directory / name for name in default_names]
            files += [(path, f"{path.name} is in the working directory") for path in paths if os.path.isfile(path)]
        profile, problems, source = _FastDdsProfile(segments={}, open_transports=set()), [], ""
        for path, name in files:
            try:
                if _add_profile(profile, read_xml(path)):
                    source = name
            except UnusableFileError as error:
                problems.append(f"{name}, which {error}, so Fast DDS ignores it")
        return cls(release, variables, files, profile, problems, source)


def segment_of(environment: Mapping[str, str], working_directory: Path = Path()) -> int:
    """Return the bytes of shared memory for the messages that a process of this environment sends.

    Args:
        environment: the environment variables.
        working_directory: where Fast DDS looks for its default profile.
    """
    return _Configuration.read(environment, working_directory).profile.segment or DEFAULT_SEGMENT


def fast_dds_advice(
    environment: Mapping[str, str], shared_memory: Path, working_directory: Path, user: int
) -> list[Advice]:
    """Return the advice on Fast DDS, see `middleware_advice`.

    Args:
        environment: the environment variables.
        shared_memory: the shared memory file system.
        working_directory: where Fast DDS looks for its default profile.
        user: user id of the process.
    """
    return [
        *_segment_advice(_Configuration.read(environment, working_directory), environment, shared_memory),
        *other_users_advice(shared_memory, user),
    ]


def _segment_advice(read: _Configuration, environment: Mapping[str, str], shared_memory: Path) -> list[Advice]:
    profile, source = read.profile, read.source
    profile_here = shipped(fast_dds_profile_name(environment))
    advice = []
    if is_localhost_only(environment) and (open_transports := profile.open_to_network()):
        text = (
            f"{source}: its transport {', '.join(open_transports)} listens on every network interface although "
            f"ROS_LOCALHOST_ONLY=1; add <interfaceWhiteList><address>127.0.0.1</address></interfaceWhiteList> to it, "
            f"or export {read.variables[0]}={profile_here}"
        )
        advice.append(Advice(text))
    segment = profile.segment
    if segment is not None and segment >= MINIMUM_SEGMENT:
        if profile.builtin_transports and read.release in _BUILTIN_FIRST_RELEASES:
            text = (
                f"{source}: it leaves useBuiltinTransports true, so Fast DDS of {read.release} may still use its "
                f"built-in segment of 512 KiB, and {_LOST}; "
                "put <useBuiltinTransports>false</useBuiltinTransports> into <rtps>"
            )
            advice.append(Advice(text))
        return advice + _shared_memory_advice(segment, shared_memory)

    problem = "; ".join(read.problems) or _profile_problem(profile, read.files, source, read.variables, environment)
    if environment.get("FASTDDS_BUILTIN_TRANSPORTS"):
        problem += " (FASTDDS_BUILTIN_TRANSPORTS does not fix this, nor does LARGE_DATA: measured)"
    fix = f"export {read.variables[0]}={profile_here}"
    if source.startswith("DEFAULT_"):
        fix += " SKIP_DEFAULT_XML_FILE=1"
    return [*advice, Advice(f"{problem}: {_LOST}; {fix}"), *_shared_memory_advice(0, shared_memory)]


def _fast_dds_names(environment: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the variables that name a profile, the one to set first, and the default files in the working directory.

    Fast DDS 2 reads only the old name. With Fast DDS 3, rmw_fastrtps still reads the old name but warns about it.
    """
    old, new = FAST_DDS_PROFILE_VARIABLES
    generation = fast_dds_generation(environment)
    if generation == 2:
        return (old,), ("DEFAULT_FASTRTPS_PROFILES.xml",)
    if generation == 3:
        return (new, old), ("DEFAULT_FASTDDS_PROFILES.xml",)
    return (old, new), ("DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml")


def _add_profile(profile: _FastDdsProfile, root: ElementTree.Element) -> bool:
    """Add the settings of a file to those of earlier files. Return whether it has a default participant."""
    for descriptor in named(root, "transport_descriptor"):
        if text_of(descriptor, "type") == "SHM":
            try:
                size = int(text_of(descriptor, "segment_size"))
            except ValueError:
                size = DEFAULT_SEGMENT
            profile.segments[text_of(descriptor, "transport_id")] = size
        elif not any(len(entry) for tag in _INTERFACE_LISTS for entry in named(descriptor, tag)):  # empty: all
            profile.open_transports.add(text_of(descriptor, "transport_id"))
    has_default = False
    for participant in named(root, "participant"):
        if participant.get("is_default_profile") == "true":  # the only spelling that Fast DDS accepts
            has_default = True
            used = [name for user in named(participant, "userTransports") for name in named(user, "transport_id")]
            profile.transports = [(name.text or "").strip() for name in used]
            profile.builtin_transports = text_of(participant, "useBuiltinTransports") != "false"
    return has_default


def _profile_problem(
    profile: _FastDdsProfile,
    files: list[tuple[Path, str]],
    source: str,
    variables: tuple[str, ...],
    environment: Mapping[str, str],
) -> str:
    """Return why the segment is too small although every file was read."""
    if profile.segment is not None:
        size, least = (f"{number / (1 << 20):g} MiB" for number in (profile.segment, MINIMUM_SEGMENT))
        return f"{source}: its shared memory segment is {size}, less than {least}"
    if source:
        return f"{source}: its default participant has no transport of type SHM with a segment_size"
    if files:
        return f'{files[-1][1]}, but has no participant with is_default_profile="true"'
    other = next((name for name in FAST_DDS_PROFILE_VARIABLES if environment.get(name)), None)
    if other is not None:
        return f"{other} is set, but Fast DDS of {environment.get('ROS_DISTRO') or 'this ROS 2'} reads {variables[0]}"
    return f"Fast DDS uses its default transports, because {variables[0]} is not set"


def _shared_memory_advice(segment: int, shared_memory: Path) -> list[Advice]:
    """Return advice if a segment of this many bytes does not fit; 0: only check that there is shared memory."""
    remedy = "in a container: docker run --ipc=host, or --shm-size=1g"
    lost = f"Fast DDS falls back to UDP, and {_LOST}"
    try:
        if not (shared_memory.is_dir() and os.access(shared_memory, os.W_OK | os.X_OK)):
            return [Advice(f"{shared_memory} is missing or not writable: {lost}; sudo chmod 1777 it, or {remedy}")]
        status = os.statvfs(shared_memory)
    except OSError as error:
        return [Advice(f"{shared_memory} cannot be used ({error.strerror or error}): {lost}; {remedy}")]
    free = status.f_bavail * status.f_frsize
    needed = segment + segment // 16  # measured: the file is 3/64 larger than the segment
    if free >= needed:
        return []
    text = (
        f"{shared_memory} has {free >> 20} MiB free, less than the {needed >> 20} MiB of this process's segment (every "
        f"process takes one): {lost}; {remedy}, or remove the segments of dead processes with `fastdds shm clean`"
    )
    return [Advice(text)]
