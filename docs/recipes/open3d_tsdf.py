"""Fuse the depth of a recording into a mesh with Open3D's TSDF volume.

`depth_anything_ros bag IN OUT.mcap` writes depth/image_rect and depth/camera_info beside the images. POSES.txt has the
pose of the camera's optical frame for each image, in the format of TUM's RGB-D benchmark: time x y z qx qy qz qw.

python docs/recipes/open3d_tsdf.py OUT.mcap POSES.txt mesh.ply --image /camera/image_rect
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open3d
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

VOXEL = 0.03
"""Meters. Smaller voxels show the network's own texture, not that of the scene."""
TRUNCATION = 0.15
"""Meters; five voxels. It must be larger than the error of depth, or each frame adds a surface of its own."""
FARTHEST = 4.0
"""Meters; a monocular error grows with distance."""
FRAMES = 1.5
"""A surface must have been seen by more frames than this: what a single frame invented is left out."""
TOLERANCE = 0.02
"""Seconds between an image and its pose."""


@dataclass(frozen=True)
class Frame:
    """One image: seconds, color uint8 (H, W, 3) RGB, depth float32 (H, W) in meters, and K (3, 3)."""

    time: float
    color: np.ndarray
    depth: np.ndarray
    matrix: np.ndarray


def frames(
    bag: Path, image: str, depth: str = "/depth/image_rect", info: str = "/depth/camera_info"
) -> Iterator[Frame]:
    """Yield the frames whose color, depth and camera_info have the same stamp."""
    waiting: dict[int, dict[str, object]] = {}
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
        chosen = [connection for connection in reader.connections if connection.topic in (image, depth, info)]
        for connection, _, content in reader.messages(chosen):
            message = reader.deserialize(content, connection.msgtype)
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            found = waiting.setdefault(stamp, {})
            found[connection.topic] = message
            if len(found) == 3:
                del waiting[stamp]
                yield Frame(stamp / 1e9, _color(found[image]), _depth(found[depth]), found[info].k.reshape(3, 3))


def _color(message: object) -> np.ndarray:
    if message.encoding not in ("rgb8", "bgr8"):
        raise SystemExit(f"the images are {message.encoding}; this script reads rgb8 and bgr8")
    rows = message.data.reshape(message.height, message.step)[:, : 3 * message.width]
    pixels = rows.reshape(message.height, message.width, 3)
    return np.ascontiguousarray(pixels if message.encoding == "rgb8" else pixels[..., ::-1])


def _depth(message: object) -> np.ndarray:
    meters = message.data.view(np.float32).reshape(message.height, message.width)
    return np.where(np.isfinite(meters), meters, np.float32(0))  # 0 is no measurement; NaN would be one


def poses(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the times (N,) and the poses (N, 4, 4), from the camera to the world, of a TUM trajectory."""
    rows = np.loadtxt(path, ndmin=2)
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    for matrix, (x, y, z, w) in zip(matrices, rows[:, 4:8], strict=True):
        matrix[:3, :3] = open3d.geometry.get_rotation_matrix_from_quaternion((w, x, y, z))
    matrices[:, :3, 3] = rows[:, 1:4]
    return rows[:, 0], matrices


def fuse(seen: Iterator[Frame], times: np.ndarray, matrices: np.ndarray) -> tuple[open3d.geometry.TriangleMesh, int]:
    """Return the mesh, and the number of frames in it: those that have a pose."""
    core, geometry = open3d.core, open3d.t.geometry
    grid = geometry.VoxelBlockGrid(
        attr_names=("tsdf", "weight", "color"),
        attr_dtypes=(core.float32, core.float32, core.float32),
        attr_channels=((1,), (1,), (3,)),
        voxel_size=VOXEL,
        block_resolution=16,
        block_count=20_000,  # grows when needed
    )
    count = 0
    for frame in seen:
        nearest = int(np.argmin(np.abs(times - frame.time)))
        if abs(times[nearest] - frame.time) > TOLERANCE:
            continue
        depth, color = geometry.Image(frame.depth), geometry.Image(frame.color.astype(np.float32) / 255)
        lens = core.Tensor(np.ascontiguousarray(frame.matrix, np.float64))
        to_camera = core.Tensor(np.linalg.inv(matrices[nearest]))
        limits = (1.0, FARTHEST, TRUNCATION / VOXEL)  # depth is in meters
        blocks = grid.compute_unique_block_coordinates(depth, lens, to_camera, *limits)
        grid.integrate(blocks, depth, color, lens, lens, to_camera, *limits)
        count += 1
    if not count:
        return open3d.geometry.TriangleMesh(), 0
    mesh = grid.extract_triangle_mesh(weight_threshold=FRAMES).to_legacy()
    return mesh, count


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the mesh."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path, help="output of `depth_anything_ros bag`")
    parser.add_argument("poses", type=Path, help="trajectory of the camera, in TUM's format")
    parser.add_argument("mesh", type=Path, help="mesh to write, such as mesh.ply")
    parser.add_argument("--image", default="/camera/image_rect", help="topic of the color images")
    args = parser.parse_args(arguments)
    mesh, count = fuse(frames(args.bag, args.image), *poses(args.poses))
    if not count:
        raise SystemExit(f"no frame of {args.bag} has a pose within {TOLERANCE} s in {args.poses}")
    open3d.io.write_triangle_mesh(str(args.mesh), mesh)
    print(f"{count} frames, {len(mesh.vertices)} vertices: {args.mesh}")


if __name__ == "__main__":
    main()
