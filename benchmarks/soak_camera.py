"""The camera of `soak.py`: a process that publishes images which encode their stamp, and all faults of a camera.

A JSON object per line on standard input changes its `Behavior`; the end of the input ends it. Before it publishes an
image, it appends a `RECORD` to the file of its first argument.
"""

from __future__ import annotations

import json
import struct
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from soak_pattern import image_row

from depth_anything_ros.system.malloc import keep_freed_memory
from depth_anything_ros.system.package_share import use_fast_dds_profile

RECORD = struct.Struct("<qBBB")
"""Stamp in nanoseconds; whether the image is valid, its stamp is the send time, and the node should process it."""
JUMP = 10_000_000_000  # nanoseconds by which a backward stamp is in the past
SOUND = ""


@dataclass(frozen=True)
class Behavior:
    """The behavior of the camera.

    ``image``: "" for valid images, or the fault: "encoding", "step", "size" or "data". ``stamps``: "now", "duplicate",
    "disorder", "backward" or "zero". ``info``: "pairs", "missing" or "other size". ``focal``: in pixels.
    """

    rate: float = 30.0
    width: int = 640
    height: int = 480
    image: str = SOUND
    stamps: str = "now"
    info: str = "pairs"
    focal: float = 570.0


class Camera(Node):
    """Publishes image and camera_info."""

    def __init__(self, record_file: Path) -> None:
        super().__init__("soak_camera")
        self.behavior = Behavior()
        self._images = self.create_publisher(Image, "image", 5)
        self._infos = self.create_publisher(CameraInfo, "camera_info", 5)
        self._record = record_file.open("ab", buffering=0)
        self._held: int | None = None

    def send(self) -> None:
        """Publish one image by the present behavior; for "disorder" two images at every second call."""
        now, kind = self.get_clock().now().nanoseconds, self.behavior.stamps
        if kind == "disorder":
            if self._held is None:
                self._held = now
            else:
                self._publish(now, due=True)
                self._publish(self._held, due=False)
                self._held = None
            return
        self._held = None
        if kind == "duplicate":
            self._publish(now, due=True)
            self._publish(now, due=False)
        else:
            self._publish({"backward": now - JUMP, "zero": 0}.get(kind, now), due=kind == "now")

    def _publish(self, stamp: int, due: bool) -> None:
        behavior = self.behavior
        if behavior.info != "missing":
            info = make_info(behavior)
            info.header.stamp.sec, info.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
            self._infos.publish(info)
        image = make_image(stamp, behavior)
        is_sound = behavior.image == SOUND
        self._record.write(RECORD.pack(stamp, is_sound, behavior.stamps in ("now", "duplicate"), due and is_sound))
        self._images.publish(image)


def make_image(stamp: int, behavior: Behavior) -> Image:
    """Return an image, with the fault of the behavior.

    Args:
        stamp: in nanoseconds.
        behavior: Behavior of the camera.
    """
    height, width = behavior.height, behavior.width
    image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    image.header.frame_id = "camera_optical_frame"
    image.header.stamp.sec, image.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[...] = image_row(stamp, width)
    kept = pixels.nbytes // 3 if behavior.image == "data" else pixels.nbytes
    image.data.frombytes(memoryview(pixels).cast("B")[:kept])
    if behavior.image == "encoding":
        image.encoding = "no such encoding"
    elif behavior.image == "step":
        image.step = width
    elif behavior.image == "size":
        image.height = 0
    return image


def make_info(behavior: Behavior) -> CameraInfo:
    """Return the camera_info of a behavior."""
    height, width, focal = behavior.height, behavior.width, behavior.focal
    if behavior.info == "other size":
        height, width = height // 2 + 1, width // 2 + 1
    x, y = (width - 1) / 2, (height - 1) / 2
    info = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5)
    info.header.frame_id = "camera_optical_frame"
    info.k = [focal, 0.0, x, 0.0, focal, y, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, x, 0.0, 0.0, focal, y, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def main() -> int:
    """Send images at the requested rate until the standard input ends."""
    use_fast_dds_profile()
    keep_freed_memory()
    rclpy.init(args=sys.argv[2:])
    camera = Camera(Path(sys.argv[1]))
    ended = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            camera.behavior = replace(camera.behavior, **json.loads(line))
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    due = time.monotonic()
    while not ended.is_set():
        rate = camera.behavior.rate
        if rate <= 0:
            ended.wait(0.02)
            due = time.monotonic()
            continue
        due = max(due + 1 / rate, time.monotonic() - 0.1)  # images missed long ago are not sent later
        ended.wait(max(0.0, due - time.monotonic()))
        camera.send()
    camera.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
