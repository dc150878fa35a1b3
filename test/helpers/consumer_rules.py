"""What consumers of depth and drivers of cameras declare in their sources: parameters, topics, types and QoS.

Each list is the part of a source that the recipes touch, by the name of the node in config/recipes. A name with a *
stands for any name there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data, qos_profile_system_default
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

RELIABLE = QoSProfile(depth=10)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)


class Input(NamedTuple):
    """A topic that a node subscribes to: type, QoS, and the encodings of images that it takes."""

    kind: type
    qos: QoSProfile = RELIABLE
    encodings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """A node: the address of its source, its package and executable, parameters, inputs and outputs."""

    source: str
    package: str
    executable: str
    parameters: tuple[str, ...] = ()
    inputs: dict[str, Input] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    def undeclared(self, names: list[str]) -> list[str]:
        """Return the parameters that the node does not have."""
        patterns = [re.escape(name).replace(r"\*", r"\w+") for name in self.parameters]
        return [name for name in names if not any(re.fullmatch(pattern, name) for pattern in patterns)]


GITHUB = "https://github.com"
DEPTH = ("32FC1", "16UC1")
NVBLOX = f"{GITHUB}/NVIDIA-ISAAC-ROS/isaac_ros_nvblox/blob/main/nvblox_ros"
SOURCE_OF_A_LAYER = (
    *("topic", "sensor_frame", "observation_persistence", "expected_update_rate", "data_type"),
    *("min_obstacle_height", "max_obstacle_height", "inf_is_valid", "marking", "clearing"),
)
NODES = {
    "rgbd_sync": Rules(
        f"{GITHUB}/introlab/rtabmap_ros/blob/ros2/rtabmap_sync/src/nodelets/rgbd_sync.cpp",
        "rtabmap_sync",
        "rgbd_sync",
        (
            *("approx_sync", "approx_sync_max_interval", "topic_queue_size", "sync_queue_size", "qos"),
            *("qos_camera_info", "depth_scale", "decimation", "compressed_rate"),
        ),
        {
            "rgb/image": Input(Image, BEST_EFFORT),
            "rgb/camera_info": Input(CameraInfo, BEST_EFFORT),
            "depth/image": Input(Image, BEST_EFFORT, DEPTH),
        },
        ("rgbd_image",),
    ),
    "rtabmap": Rules(
        f"{GITHUB}/introlab/rtabmap_ros/blob/ros2/rtabmap_sync/src/CommonDataSubscriber.cpp and "
        f"{GITHUB}/introlab/rtabmap/blob/master/corelib/include/rtabmap/core/Parameters.h",
        "rtabmap_slam",
        "rtabmap",
        (
            *("frame_id", "odom_frame_id", "subscribe_rgbd", "subscribe_depth", "subscribe_rgb", "approx_sync"),
            *("Kp/MaxDepth", "Vis/MaxDepth", "Grid/Sensor", "Grid/CellSize", "Grid/RangeMax"),
            *("Grid/MaxObstacleHeight", "Grid/RayTracing"),
        ),
    ),
    "nvblox_node": Rules(
        f"{NVBLOX}/src/lib/nvblox_node.cpp, nvblox_node.hpp and node_params.hpp",
        "nvblox_ros",
        "nvblox_node",
        (
            *("global_frame", "num_cameras", "use_depth", "use_color", "use_lidar", "use_segmentation", "input_qos"),
            *("voxel_size", "esdf_mode", "mapping_type", "integrate_depth_rate_hz", "integrate_color_rate_hz"),
            *("maximum_input_queue_length", "map_clearing_radius_m", "map_clearing_frame_id"),
            "static_mapper.projective_integrator_max_integration_distance_m",
        ),
        {
            "camera_0/depth/image": Input(Image, qos_profile_sensor_data, DEPTH),
            "camera_0/depth/camera_info": Input(CameraInfo, qos_profile_sensor_data),
            "camera_0/color/image": Input(Image, qos_profile_sensor_data),
            "camera_0/color/camera_info": Input(CameraInfo, qos_profile_sensor_data),
        },
    ),
    "octomap_server": Rules(
        f"{GITHUB}/OctoMap/octomap_mapping/blob/ros2/octomap_server/src/octomap_server.cpp",
        "octomap_server",
        "octomap_server_node",
        (
            *("frame_id", "base_frame_id", "resolution", "sensor_model.max_range", "sensor_model.hit"),
            *("sensor_model.miss", "sensor_model.min", "sensor_model.max", "point_cloud_min_z", "point_cloud_max_z"),
            *("occupancy_min_z", "occupancy_max_z", "filter_speckles", "filter_ground_plane", "compress_map", "latch"),
        ),
        {"cloud_in": Input(PointCloud2, qos_profile_sensor_data)},
    ),
    "point_cloud_xyzrgb_node": Rules(
        f"{GITHUB}/ros-perception/image_pipeline/blob/rolling/depth_image_proc/src/point_cloud_xyzrgb.cpp",
        "depth_image_proc",
        "point_cloud_xyzrgb_node",
        ("image_transport", "depth_image_transport", "invalid_depth", "queue_size", "exact_sync"),
        {
            "depth_registered/image_rect": Input(Image, qos_profile_system_default, DEPTH),
            "rgb/image_rect_color": Input(Image, qos_profile_system_default),
            "rgb/camera_info": Input(CameraInfo),
        },
        ("points",),
    ),
    "depthimage_to_laserscan": Rules(
        f"{GITHUB}/ros-perception/depthimage_to_laserscan/blob/ros2/README.md",
        "depthimage_to_laserscan",
        "depthimage_to_laserscan_node",
        ("scan_time", "range_min", "range_max", "scan_height", "output_frame"),
        {"depth": Input(Image, RELIABLE, DEPTH), "depth_camera_info": Input(CameraInfo)},
        ("scan",),
    ),
    "image_republisher": Rules(
        f"{GITHUB}/ros-perception/image_common/blob/rolling/image_transport/src/republish.cpp and {GITHUB}"
        "/ros-perception/image_transport_plugins/blob/rolling/compressed_depth_image_transport/src/compressed_depth_publisher.cpp",
        "image_transport",
        "republish",
        (
            *("in_transport", "out_transport"),
            *(
                f"{prefix}.{name}"
                for prefix in ("out", ".out", "out.compressedDepth")
                for name in ("depth_max", "depth_quantization", "png_level")
            ),
        ),
        {"in": Input(Image, RELIABLE, DEPTH)},
        ("out/compressedDepth",),
    ),
    "foxglove_bridge": Rules(
        "https://docs.foxglove.dev/docs/getting-started/ros-foxglove-bridge",
        "foxglove_bridge",
        "foxglove_bridge",
        ("address", "port", "topic_whitelist", "send_buffer_limit", "max_qos_depth", "capabilities"),
    ),
    "gz_bridge": Rules(
        f"{GITHUB}/gazebosim/ros_gz/blob/ros2/ros_gz_bridge/README.md",
        "ros_gz_bridge",
        "parameter_bridge",
        ("config_file", "publish_optical_frame", "expand_gz_topic_names", "override_timestamps_with_wall_time"),
        outputs=("/camera/image_raw", "/camera/camera_info"),
    ),
    "camera": Rules(
        f"{GITHUB}/realsenseai/realsense-ros/blob/ros2-master/realsense2_camera/launch/rs_launch.py",
        "realsense2_camera",
        "realsense2_camera_node",
        (
            *("enable_color", "enable_depth", "enable_sync", "align_depth.enable", "rgb_camera.color_profile"),
            "depth_module.depth_profile",
        ),
    ),
    "usb_cam": Rules(
        f"{GITHUB}/ros-drivers/usb_cam/blob/ros2/config/params_1.yaml",
        "usb_cam",
        "usb_cam_node_exe",
        (
            *("video_device", "framerate", "io_method", "frame_id", "pixel_format", "av_device_format"),
            *("image_width", "image_height", "camera_name", "camera_info_url"),
        ),
    ),
    "oak": Rules(
        f"{GITHUB}/luxonis/depthai-ros/blob/humble/depthai_ros_driver/config/camera.yaml",
        "depthai_ros_driver",
        "camera_node",
        ("rgb.i_fps", "rgb.i_width", "rgb.i_height", "rgb.i_publish_topic", "stereo.i_align_depth"),
    ),
    "local_costmap": Rules(
        f"{GITHUB}/ros-navigation/navigation2/blob/main/nav2_costmap_2d/plugins/obstacle_layer.cpp, voxel_layer.cpp; "
        f"{GITHUB}/SteveMacenski/spatio_temporal_voxel_layer/blob/ros2/spatio_temporal_voxel_layer/src"
        "/spatio_temporal_voxel_layer.cpp",
        "nav2_controller",
        "controller_server",
        (
            "plugins",
            *(
                f"voxel_layer.{name}"
                for name in (
                    *("plugin", "enabled", "footprint_clearing_enabled", "min_obstacle_height", "max_obstacle_height"),
                    *("z_voxels", "origin_z", "z_resolution", "unknown_threshold", "mark_threshold"),
                    *("combination_method", "publish_voxel_map", "observation_sources"),
                )
            ),
            *(
                f"voxel_layer.*.{name}"
                for name in (
                    *SOURCE_OF_A_LAYER,
                    *("obstacle_max_range", "obstacle_min_range", "raytrace_max_range", "raytrace_min_range"),
                )
            ),
            *(
                f"stvl_layer.{name}"
                for name in (
                    *("plugin", "enabled", "observation_sources", "transform_tolerance", "publish_voxel_map"),
                    *("voxel_size", "combination_method", "mark_threshold", "update_footprint_enabled"),
                    *("track_unknown_space", "decay_model", "voxel_decay", "mapping_mode", "map_save_duration"),
                )
            ),
            *(
                f"stvl_layer.*.{name}"
                for name in (
                    *SOURCE_OF_A_LAYER,
                    *("transport_type", "obstacle_range", "min_z", "max_z", "vertical_fov_angle"),
                    *("vertical_fov_padding", "horizontal_fov_angle", "decay_acceleration", "filter"),
                    *("voxel_min_points", "clear_after_reading", "enabled", "model_type"),
                )
            ),
        ),
    ),
}
BRIDGE_KEYS = {
    *("topic_name", "ros_topic_name", "gz_topic_name", "ros_type_name", "gz_type_name"),
    *("subscriber_queue", "publisher_queue", "lazy", "direction"),
}
"""ros_gz_bridge/README.md, "Configuring the Bridge via YAML"."""
BRIDGE_TYPES = {
    ("sensor_msgs/msg/Image", "gz.msgs.Image"),
    ("sensor_msgs/msg/CameraInfo", "gz.msgs.CameraInfo"),
    ("rosgraph_msgs/msg/Clock", "gz.msgs.Clock"),
}
DRIVERS = {
    "realsense": (
        f"{GITHUB}/realsenseai/realsense-ros/blob/ros2-master/README.md, published topics",
        {
            "/camera/camera/color/image_raw": "rgb8",
            "/camera/camera/aligned_depth_to_color/image_raw": "16UC1",
            "/camera/camera/aligned_depth_to_color/camera_info": "",
        },
    ),
    "zed": (
        "https://www.stereolabs.com/docs/ros2/zed-node, published topics",
        {
            "/zed/zed_node/rgb/color/rect/image": "bgra8",
            "/zed/zed_node/depth/depth_registered": "32FC1",
            "/zed/zed_node/depth/camera_info": "",
        },
    ),
    "oak": (
        "https://docs.luxonis.com/software/ros/depthai-ros/driver",
        {"/oak/rgb/image_raw": "bgr8", "/oak/stereo/image_raw": "16UC1", "/oak/stereo/camera_info": ""},
    ),
    "usb_cam": (f"{GITHUB}/ros-drivers/usb_cam/blob/ros2/README.md", {"/camera/image_raw": "rgb8"}),
    "gazebo": (f"{GITHUB}/gazebosim/ros_gz/blob/ros2/ros_gz_bridge/README.md", {"/camera/optical/image_raw": "rgb8"}),
}
"""Topics of drivers that recipes name, with the encodings of images."""
