"""Messages as cameras send them."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

CHANNEL_ORDERS = {
    "rgb8": (0, 1, 2),
    "bgr8": (2, 1, 0),
    "8UC3": (2, 1, 0),
    "rgba8": (0, 1, 2, 3),
    "bgra8": (2, 1, 0, 3),
}


def image_message(rgb: np.ndarray, encoding: str, padding: int = 0, whole_last_row: bool = True) -> Image:
    """An Image of these pixels, with so many stray bytes after each row."""
    height, width = rgb.shape[:2]
    if encoding == "mono8":
        rows = rgb[..., 0]
    else:
        rgba = np.concatenate([rgb, np.full((height, width, 1), 77, np.uint8)], axis=2)
        rows = rgba[..., CHANNEL_ORDERS[encoding]].reshape(height, -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    data = padded.tobytes()
    message = Image(height=height, width=width, encoding=encoding, step=padded.shape[1])
    message.data.frombytes(data if whole_last_row else data[: len(data) - padding])
    return message


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
    """Of a lens without distortion that nobody has anything to say against."""
    k = [float(width), 0.0, (width - 1) / 2, 0.0, float(width), (height - 1) / 2, 0.0, 0.0, 1.0]
    p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
    return camera_info(width, height, d=[0.0] * 5, k=k, p=p)
