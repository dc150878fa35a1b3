"""A camera (or file) and its depth: camera_node and depth_node in one namespace, with RViz if wanted.

ros2 launch depth_anything_ros camera.launch.py source:=/dev/video0 rviz:=true
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from depth_anything_ros.share import FAST_DDS_PROFILE_VARIABLES, fast_dds_profile, share_directory

PACKAGE = "depth_anything_ros"

# name, default, description, choices. An empty default leaves the value to the parameter files.
ARGUMENTS = (
    ("source", "", "a camera's number, /dev/videoN, a video, an image, a folder of images, or a URL; default: 0", None),
    ("model", "", "a name in the zoo, an .onnx file or a model's folder; default: tiny, the model in the box", None),
    ("record", "", "JSON record of an .onnx that does not describe itself", None),
    ("backend", "", "what runs the model; default: auto, the best there is", None),
    (
        "precision",
        "",
        "what it computes in: fp32, fp16, bf16, int8, ...; default: auto, as the backend does best",
        None,
    ),
    ("calibration", "", "camera_info YAML of the camera: path, file:// or package:// URL", None),
    ("loop", "", "start a file again when it ends (default), or end with it", ("", "true", "false")),
    ("params_file", "", "YAML with parameters of camera_node and depth_node; the arguments above go over it", None),
    ("namespace", "camera", "namespace of both nodes and their topics", None),
    ("rviz", "false", "open RViz with image, depth and cloud", ("true", "false")),
    ("use_sim_time", "false", "take the time from /clock", ("true", "false")),
    ("log_level", "info", "log level of both nodes", ("debug", "info", "warn", "error", "fatal")),
)
CAMERA_PARAMETERS = {"source": str, "calibration": str, "loop": bool}
DEPTH_PARAMETERS = {"model": str, "record": str, "backend": str, "precision": str}


def typed(argument: str, kind: type) -> ParameterValue:
    return ParameterValue(LaunchConfiguration(argument), value_type=kind)


def nodes(context: LaunchContext) -> list[Node]:
    """The two nodes. If one ends, all end, so that nobody waits for a camera that could not be opened."""
    files = [str(share_directory() / "config" / "camera_launch.yaml")]
    params_file = LaunchConfiguration("params_file").perform(context)
    if params_file:
        if not Path(params_file).is_file():
            raise FileNotFoundError(f"params_file: there is no {params_file}")
        files.append(params_file)

    def node(name: str, parameters: dict[str, type], **options: Any) -> Node:
        given = {key: typed(key, kind) for key, kind in parameters.items() if LaunchConfiguration(key).perform(context)}
        return Node(
            package=PACKAGE,
            executable=name,
            name=name,
            namespace=LaunchConfiguration("namespace"),
            parameters=[*files, {**given, "use_sim_time": typed("use_sim_time", bool)}],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
            emulate_tty=True,
            on_exit=Shutdown(reason=f"{name} has ended"),
            **options,
        )

    return [
        node("camera_node", CAMERA_PARAMETERS),
        node("depth_node", DEPTH_PARAMETERS, remappings=[("image", "image_raw")]),
    ]


def fast_dds() -> list[SetEnvironmentVariable]:
    """Without the profile, images and clouds are lost on the way; whoever has set one of their own keeps it."""
    if any(os.environ.get(name) for name in FAST_DDS_PROFILE_VARIABLES):
        return []
    return [SetEnvironmentVariable(name, str(fast_dds_profile())) for name in FAST_DDS_PROFILE_VARIABLES]


def viewer() -> list[Node]:
    """RViz, and the frame it looks from: an optical frame has its z axis forward, where RViz has it up."""
    wanted = IfCondition(LaunchConfiguration("rviz"))
    turn = ["--qx", "0.5", "--qy", "-0.5", "--qz", "0.5", "--qw", "0.5"]  # x forward, z up (REP 103)
    frame = Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        # The view hangs on the camera and not the camera on it, so that a robot's own transforms stay whole.
        arguments=["--frame-id", "camera_optical_frame", "--child-frame-id", "camera_view", *turn],
        condition=wanted,
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", str(share_directory() / "rviz" / "camera.rviz")],
        parameters=[{"use_sim_time": typed("use_sim_time", bool)}],
        condition=wanted,
    )
    return [frame, rviz]


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)
        for name, default, description, choices in ARGUMENTS
    ]
    return LaunchDescription([*arguments, *fast_dds(), OpaqueFunction(function=nodes), *viewer()])
