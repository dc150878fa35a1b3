"""What travels with a frame from preparation to publication; `worker` has the way itself."""

from __future__ import annotations

from dataclasses import dataclass

from sensor_msgs.msg import CameraInfo

from depth_anything_ros.processing.frame_steps import PreparedFrame
from depth_anything_ros.ros.io.image_input import CameraFrame
from depth_anything_ros.ros.io.messages import OutputMessages


@dataclass(frozen=True)
class Task:
    """A frame that is ready for the model, with what is published of it.

    Attributes:
        frame: the frame as it was received.
        prepared: what the model and the steps after it need.
        info: camera_info to publish, if it has a subscriber.
        messages: the messages to publish.
    """

    frame: CameraFrame
    prepared: PreparedFrame
    info: CameraInfo | None
    messages: OutputMessages
