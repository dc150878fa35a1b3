"""camera_info as cameras send it; for images see `encoded_images`."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header


def camera_info(width: int = 640, height: int = 480, **fields: object) -> CameraInfo:
    info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.1, -0.2, 0.0, 0.0, 0.0])
    info.header = Header(frame_id="lens")
    info.k = [500.5, 0.0, 321.25, 0.0, 502.5, 239.75, 0.0, 0.0, 1.0]
    info.r = np.eye(3).ravel()
    info.p = [480.0, 0.0, 318.0, -24.0, 0.0, 481.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def ideal_camera_info(width: int, height: int) -> CameraInfo:
    """A camera_info without distortion that gives no doubts."""
    k = [float(width), 0.0, (width - 1) / 2, 0.0, float(width), (height - 1) / 2, 0.0, 0.0, 1.0]
    p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
    return camera_info(width, height, d=[0.0] * 5, k=k, p=p)
