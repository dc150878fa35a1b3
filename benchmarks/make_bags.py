"""Makes two bags of real recordings, for `bag` and `evaluate`, from the folder of shared data.

    python benchmarks/make_bags.py OUT [--data ../shared/data] [--frames N]

    OUT/kitti_drive                   1242x375 JPEG at 10 Hz, lidar (PointCloud2), /tf_static of the sensors, /tf
    OUT/sevenscenes_redkitchen_30hz   640x480 JPEG at 30 Hz, registered depth (16UC1), /tf

The data may not be passed on, so the bags are not in this repository.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.convert.converter import LATCH
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_anything_ros.geometry.transform import Transform

TYPES = get_typestore(Stores.ROS2_HUMBLE)
START = 1_700_000_000.0
"""Seconds: the first stamp; the files have none."""
QUALITY = 95
"""Of JPEG, as image_transport writes it by default."""
KITCHEN_K = np.array([[585.0, 0.0, 320.0], [0.0, 585.0, 240.0], [0.0, 0.0, 1.0]])
Timed = tuple[str, float, Any]
"""Topic, seconds and message."""


def header(time: float, frame: str) -> Any:
    """Return a std_msgs/Header."""
    stamp = TYPES.types["builtin_interfaces/msg/Time"](*divmod(round(1e9 * time), 10**9))
    return TYPES.types["std_msgs/msg/Header"](stamp, frame)


def compressed(time: float, frame: str, jpeg: bytes) -> Any:
    """Return a sensor_msgs/CompressedImage."""
    content = np.frombuffer(jpeg, np.uint8)
    return TYPES.types["sensor_msgs/msg/CompressedImage"](header(time, frame), "bgr8; jpeg compressed bgr8", content)


def depth_image(time: float, frame: str, millimeters: np.ndarray) -> Any:
    """Return a sensor_msgs/Image, 16UC1."""
    height, width = millimeters.shape
    content = np.ascontiguousarray(millimeters).view(np.uint8).ravel()
    return TYPES.types["sensor_msgs/msg/Image"](header(time, frame), height, width, "16UC1", 0, 2 * width, content)


def camera_info(time: float, frame: str, size: tuple[int, int], projection: np.ndarray) -> Any:
    """Return the sensor_msgs/CameraInfo of rectified images of a size (height, width) with P, (3, 4)."""
    region = TYPES.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    matrices = np.zeros(5), projection[:, :3].ravel(), np.eye(3).ravel(), projection.ravel()
    return TYPES.types["sensor_msgs/msg/CameraInfo"](header(time, frame), *size, "plumb_bob", *matrices, 0, 0, region)


def cloud(time: float, frame: str, points: np.ndarray) -> Any:
    """Return a sensor_msgs/PointCloud2 of x, y, z and intensity, (N, 4)."""
    field = TYPES.types["sensor_msgs/msg/PointField"]
    fields = [field(name, 4 * index, 7, 1) for index, name in enumerate(("x", "y", "z", "intensity"))]
    content = np.ascontiguousarray(points, np.float32).view(np.uint8).ravel()
    return TYPES.types["sensor_msgs/msg/PointCloud2"](
        header(time, frame), 1, len(points), fields, False, 16, content.size, content, True
    )


def transforms(time: float, parent: str, child: str, transform: Transform) -> Any:
    """Return a tf2_msgs/TFMessage of one transform, from the child's frame to the parent's."""
    types = TYPES.types
    translation = types["geometry_msgs/msg/Vector3"](*map(float, transform.translation))
    rotation = types["geometry_msgs/msg/Quaternion"](*transform.quaternion)
    moved = types["geometry_msgs/msg/Transform"](translation, rotation)
    stamped = types["geometry_msgs/msg/TransformStamped"](header(time, parent), child, moved)
    return types["tf2_msgs/msg/TFMessage"]([stamped])


def drive(folder: Path, frames: int) -> Iterator[Timed]:
    """Yield the messages of a drive with a lidar; the camera's frame belongs to the rectified image (P2 without Tx)."""
    rows = {name: np.array(numbers.split(), float) for name, _, numbers in _lines(folder / "calib.txt")}
    projection, rotation = rows["P2"].reshape(3, 4), np.eye(4)
    rotation[:3, :3] = rows["R0_rect"].reshape(3, 3)
    lidar = rotation @ np.vstack([rows["Tr_velo_to_cam"].reshape(3, 4), [0, 0, 0, 1]])
    lidar[:3, 3] += np.linalg.solve(projection[:, :3], projection[:, 3])  # from camera 0 to camera 2
    projection = np.column_stack([projection[:, :3], np.zeros(3)])
    yield "/tf_static", START, transforms(START, "velodyne", "camera", Transform.from_matrix(np.linalg.inv(lidar)))
    poses = np.loadtxt(folder / "poses.txt").reshape(-1, 3, 4)
    for number in range(min(frames, len(poses))):
        time = START + 0.1 * number
        points = np.fromfile(folder / f"velodyne/{number:010d}.bin", np.float32).reshape(-1, 4)
        image = cv2.imread(str(folder / f"image_02/{number:010d}.png"))
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        pose = np.vstack([poses[number], [0, 0, 0, 1]])
        yield "/tf", time, transforms(time, "odom", "velodyne", Transform.from_matrix(pose))
        yield "/velodyne/points", time, cloud(time, "velodyne", points)
        yield "/camera/camera_info", time, camera_info(time, "camera", image.shape[:2], projection)
        yield "/camera/image_rect/compressed", time, compressed(time, "camera", jpeg)


def kitchen(folder: Path, frames: int) -> Iterator[Timed]:
    """Yield the messages of a depth camera that is carried through a kitchen."""
    projection = np.column_stack([KITCHEN_K, np.zeros(3)])
    frame = "camera_color_optical_frame"
    for number, path in enumerate(sorted(folder.glob("*.color.jpg"))[:frames]):
        time = START + number / 30
        stem = path.name.removesuffix(".color.jpg")
        millimeters = cv2.imread(str(folder / f"{stem}.depth.png"), cv2.IMREAD_UNCHANGED)
        millimeters[millimeters == 65535] = 0
        pose = Transform.from_matrix(np.loadtxt(folder / f"{stem}.pose.txt"))
        yield "/tf", time, transforms(time, "odom", frame, pose)
        yield "/camera/aligned_depth_to_color/image_raw", time, depth_image(time, frame, millimeters)
        yield "/camera/color/camera_info", time, camera_info(time, frame, millimeters.shape, projection)
        yield "/camera/color/image_rect/compressed", time, compressed(time, frame, path.read_bytes())


RECORDINGS = {"kitti_drive": drive, "sevenscenes_redkitchen_30hz": kitchen}


def write_bag(path: Path, messages: Iterator[Timed]) -> int:
    """Write a bag, and return the number of its messages."""
    connections: dict[str, Any] = {}
    count = 0
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, time, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                qos = LATCH if topic == "/tf_static" else ()
                connections[topic] = writer.add_connection(topic, kind, typestore=TYPES, offered_qos_profiles=qos)
            writer.write(connections[topic], round(1e9 * time), TYPES.serialize_cdr(message, kind))
            count += 1
    return count


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    return (line.partition(":") for line in path.read_text().splitlines() if line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the bags whose data is there. Return 1 if one is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUT", help="folder for the bags")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of shared data")
    parser.add_argument("--frames", type=int, default=1000, metavar="N", help="most frames of each (default: all)")
    args = parser.parse_args(arguments)
    missing = [name for name in RECORDINGS if not (args.data / name).is_dir()]
    for name, read in RECORDINGS.items():
        if name not in missing:
            args.output.mkdir(parents=True, exist_ok=True)
            count = write_bag(args.output / name, read(args.data / name, args.frames))
            print(f"{args.output / name}: {count} messages")
    for name in missing:
        print(f"{args.data / name} is missing", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
