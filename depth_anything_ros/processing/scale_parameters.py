"""The checked parameters of the scale from sensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.processing.parameter_declarations import SCALE_SOURCES

FIXED = "fixed"
"""The value of ``scale.source`` for the scale that parameters set."""


@dataclass(frozen=True)
class ScaleMeasuring:
    """The settings for the scale from sensors, fixed at start.

    Attributes:
        sources: the sensors.
        extrinsics: of the sensor; None for TF.
        odometry: what carries the scale along: "none", "images", "topic" or "tf".
        odom_frame: the fixed frame of TF.
    """

    sources: tuple[str, ...]
    extrinsics: Transform | None
    odometry: str
    odom_frame: str

    @staticmethod
    def of(values: Mapping[str, Any]) -> ScaleMeasuring:
        """Return the checked values of the parameters. Raises `ValueError`, with the parameter's name."""
        sources, odometry = check_scale_sources(values["scale.source"]), values["scale.odometry"]
        extrinsics = extrinsics_of(values["scale.extrinsics"])
        if "motion" in sources and odometry not in ("topic", "tf"):
            raise ValueError(
                f"scale.source is motion, but scale.odometry is {odometry}: set it to topic (nav_msgs/Odometry on "
                "scale/odometry) or tf; with a launch file give odom:=TOPIC or odom_frame:=FRAME"
            )
        sensors = [name for name in sources if name != "motion"]
        if extrinsics is not None and len(sensors) + (odometry == "topic") > 1:
            raise ValueError("scale.extrinsics is for one sensor; with several, or with odometry, use TF")
        return ScaleMeasuring(sources, extrinsics, odometry, values["scale.odom_frame"])


def check_scale_sources(names: Sequence[str] | str) -> tuple[str, ...]:
    """Return the sensors for the scale.

    Args:
        names: the value of ``scale.source``: one name or several; "none" or "" for no sensor, "fixed" for the scale set
            by parameters.

    Raises:
        ValueError: a name is unknown, or "fixed" and a sensor are given.
    """
    given = [names] if isinstance(names, str) else list(names)
    sensors = tuple(name for name in given if name not in ("", "none", FIXED))
    for name in sensors:
        if name not in SCALE_SOURCES:
            choices = ", ".join((*SCALE_SOURCES, FIXED, "none"))
            raise ValueError(f"scale.source: {name!r} is no source; choose from {choices}")
    if sensors and FIXED in given:
        raise ValueError(f"scale.source: a scale is fixed or measured, so give {FIXED} or {', '.join(sensors)}")
    return sensors


def extrinsics_of(numbers: Sequence[float]) -> Transform | None:
    """Return the transform of ``scale.extrinsics``; None for a single 0, which means TF. Raises `ValueError`."""
    if list(numbers) == [0.0]:
        return None
    if len(numbers) != 7:
        raise ValueError(f"scale.extrinsics has {len(numbers)} numbers, must be x, y, z, qx, qy, qz, qw")
    try:
        return Transform.from_quaternion(numbers[3:], numbers[:3])
    except ValueError as error:
        raise ValueError(f"scale.extrinsics: {error}") from error
