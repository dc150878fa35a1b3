"""The launch arguments for the sensors for the scale."""

from __future__ import annotations

import math
from collections.abc import Callable

from launch import LaunchContext
from launch.logging import get_logger

from depth_anything_ros.processing.parameter_declarations import SCALE_SOURCES
from depth_anything_ros.processing.scale_parameters import check_scale_sources
from depth_anything_ros.ros.launch_arguments import Argument, check_topic, value_of
from depth_anything_ros.system.package_share import PACKAGE

NOMINAL = "nominal"
"""Value of the argument ``scale`` for the model's nominal scale."""
ODOMETRY = "scale/odometry"
"""Topic of the odometry."""
SCALE = (
    Argument(
        "scale",
        "",
        "sensors that measure the scale, or correct a metric model, separated by commas: "
        f"{', '.join(SCALE_SOURCES)}; or nominal: meters that are plausible but not measured, to try it out",
    ),
    Argument("camera_height", "", "for scale:=ground_plane: meters between the ground and the camera"),
    Argument("camera_pitch", "", "for scale:=ground_plane without an IMU: degrees by which the camera looks down"),
    Argument("odom_frame", "", "for scale: fixed frame of the odometry in TF, which then carries the scale"),
)
SENSORS = {
    "points": ("point_cloud", "scale/points", "lidar's or radar's PointCloud2"),
    "scan": ("laser_scan", "scale/scan", "LaserScan"),
    "range": ("range", "scale/range", "Range"),
    "imu": ("ground_plane", "scale/imu", "Imu"),
    "odom": ("", ODOMETRY, "robot's Odometry, which carries the scale and is needed for motion"),
    "sensor_depth": ("depth_image", "scale/depth/image_rect", "other camera's depth image"),
    "sensor_depth_info": ("depth_image", "scale/depth/camera_info", "camera_info of sensor_depth; default: next to it"),
}
"""Arguments for the topics of the sensors: the source that reads it ("" for any), and the topic that is remapped."""
SENSOR_TOPICS = tuple(Argument(name, "", f"for scale: topic of the {text}") for name, (_, _, text) in SENSORS.items())


def scale_parameters(context: LaunchContext, has_odometry: bool = False) -> dict[str, list[str] | float | str | bool]:
    """Return the parameters of the arguments `SCALE`.

    Args:
        context: the launch context.
        has_odometry: whether the launch file was given a topic of odometry.

    Raises:
        ValueError: a source is unknown, a number is invalid, or there are two kinds of odometry.
    """
    parameters: dict[str, list[str] | float | str | bool] = {}
    sources = _sources(context)
    if sources == [NOMINAL]:
        parameters["scale.nominal"] = True
    elif sources:
        try:
            check_scale_sources(sources)
        except ValueError as error:
            raise ValueError(f"scale:={','.join(sources)}: {error}") from error
        parameters["scale.source"] = sources
    for argument, unit, is_valid in (
        ("camera_height", "positive number of meters", lambda value: value > 0),
        ("camera_pitch", "number of degrees, -90 to 90", lambda value: abs(value) <= 90),
    ):
        if text := value_of(context, argument):
            parameters[f"scale.{argument}"] = _number(argument, text, unit, is_valid)
            _warn_unless("ground_plane" in sources, argument, text, "ground_plane")
    frame = value_of(context, "odom_frame")
    if frame and has_odometry:
        raise ValueError(f"odom and odom_frame:={frame}: give the topic, or the frame in TF, not both")
    if frame:
        parameters |= {"scale.odometry": "tf", "scale.odom_frame": frame}
    elif has_odometry:
        parameters["scale.odometry"] = "topic"
    return parameters


def sensor_remappings(context: LaunchContext) -> list[tuple[str, str]]:
    """Return the remappings of the arguments `SENSOR_TOPICS`.

    One whose source is not in ``scale`` gives a warning alone: it may belong to an outer launch file.

    Args:
        context: the launch context.

    Raises:
        ValueError: a topic is invalid.
    """
    sources = [name for name in _sources(context) if name != NOMINAL]
    remappings = []
    for argument, (source, inner, _) in SENSORS.items():
        topic = value_of(context, argument)
        if topic and _warn_unless(bool(sources) if not source else source in sources, argument, topic, source):
            check_topic(argument, topic)
            remappings.append((inner, topic))
    return remappings


def _sources(context: LaunchContext) -> list[str]:
    return [name.strip() for name in value_of(context, "scale").split(",") if name.strip()]


def _warn_unless(has_effect: bool, argument: str, value: str, source: str) -> bool:
    if not has_effect:
        fix = f"scale:={source}" if source else "scale:=SENSOR"
        get_logger(PACKAGE).warning(f"{argument}:={value} has no effect without a source of the scale: also give {fix}")
    return has_effect


def _number(argument: str, text: str, unit: str, is_valid: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not is_valid(value):
        raise ValueError(f"{argument}:={text} must be a {unit}")
    return value
