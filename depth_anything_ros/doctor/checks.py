"""The checks by name, each with its module, time limit and remedy.

A check's module has `STEPS`: functions that each add to a `Section`. If a step hangs or crashes, the results of the
steps before it are still reported.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from depth_anything_ros.doctor.section import Section


@dataclass(frozen=True)
class Options:
    """The options of the checks.

    Attributes:
        model: Model for which the backend is predicted.
        measures_cameras: Whether the rates of cameras are measured.
        cameras: Sources to measure. If empty, every /dev/videoN.
    """

    model: str = "tiny"
    measures_cameras: bool = False
    cameras: Sequence[str] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        return asdict(self)


Step = Callable[[Section, Options], None]


class Check(NamedTuple):
    """One check.

    Attributes:
        module: Module in this folder.
        title: Heading in the report.
        seconds: Time limit.
        remedy: Advice if the check does not end or crashes.
    """

    module: str
    title: str
    seconds: float
    remedy: str

    def steps(self) -> Sequence[Step]:
        """Import the check's module, and return its steps."""
        module = importlib.import_module(f"depth_anything_ros.doctor.{self.module}")
        steps: Sequence[Step] = module.STEPS
        return steps


CHECKS = {
    "software": Check(
        "software", "Software", 40, "a package hangs or crashes when it is imported: pip install --force-reinstall it"
    ),
    "ros": Check(
        "ros_environment", "ROS 2", 30, "unset RMW_IMPLEMENTATION and source one release's setup.bash in a new shell"
    ),
    "backend": Check(
        "backend",
        "Processor, GPU and backend",
        60,
        "a library for a device hangs or crashes: run nvidia-smi, or try CUDA_VISIBLE_DEVICES= with the same command",
    ),
    "cache": Check(
        "cache", "Engines and cache", 120, "is the disk slow? DEPTH_ANYTHING_ROS_CACHE names another folder"
    ),
    "cameras": Check(
        "cameras",
        "Cameras",
        60,
        "a camera or its driver hangs: unplug it and plug it in again; sudo dmesg has the reason",
    ),
    "messages": Check(
        "messages",
        "Messages between processes",
        60,
        "the middleware hangs: end all ROS processes, then rm /dev/shm/*fastrtps_* /dev/shm/*fastdds_*",
    ),
    "nodes": Check(
        "running_nodes",
        "Running depth nodes",
        30,
        "the middleware hangs: see the section Messages between processes",
    ),
}
"""In the order of the report."""
