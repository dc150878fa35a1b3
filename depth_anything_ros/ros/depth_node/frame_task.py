"""What travels with a frame from preparation to publication; `worker` has the way itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.postprocessing.depth_products import DepthBuffers, DepthSettings
from depth_anything_ros.ros.depth_node.parameters import StreamParameters
from depth_anything_ros.ros.depth_node.scale_choice import ScaleChoice
from depth_anything_ros.ros.io.image_input import CameraFrame
from depth_anything_ros.ros.io.messages import OutputMessages


@dataclass(frozen=True)
class FrameSettings:
    """Everything that a frame depends on, chosen at one moment: parameters, scale and depth settings."""

    parameters: StreamParameters
    scale: ScaleChoice
    depth: DepthSettings


@dataclass(frozen=True)
class Task:
    """A frame that is ready for the model.

    Attributes:
        frame: the frame as it was received.
        rgb: uint8 (h, w, 3), of any strides; rectified if necessary.
        size: (H, W) of the outputs.
        values: float32 (H, W), where the model writes its map.
        camera: intrinsics of the outputs; None without camera_info.
        valid: bool (H, W), False where a rectified image has no pixel; None if all are valid.
        info: camera_info to publish, if it has a subscriber.
        messages: the messages to publish.
        outputs: which of them to fill.
        settings: the settings of the frame.
    """

    frame: CameraFrame
    rgb: np.ndarray
    size: tuple[int, int]
    values: np.ndarray
    camera: Camera | None
    valid: np.ndarray | None
    info: CameraInfo | None
    messages: OutputMessages
    outputs: DepthBuffers
    settings: FrameSettings
