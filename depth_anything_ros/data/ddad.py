"""DDAD: images and lidar scans in the DGP layout of TRI, read without TRI's library.

ddad.json lists the scenes of each split. The JSON of a scene lists its data: images and scans, each with a pose at its
own time. It also lists samples: which data belong together, with their calibration. Layout: dgp/proto of TRI-ML/dgp.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import DataError, LabeledImage, read_bytes
from depth_anything_ros.data.splits import TRAIN, VALIDATION
from depth_anything_ros.geometry.camera import Camera

SPLITS = {TRAIN: "0", VALIDATION: "1"}
"""The splits by their numbers in ddad.json. Papers score the second one."""
_LIDAR = "lidar"


@dataclass(frozen=True)
class DdadSet(DepthSet):
    """The frames of one camera, called by the paths of their images. The default is the validation split.

    ``camera_name`` is the camera.
    """

    camera_name: str = "CAMERA_01"

    split_names = tuple(SPLITS)

    def names(self, root: Path) -> Iterator[str]:
        """Yield the images scene by scene, in the order of the samples."""
        path = root / self.images
        requested = [SPLITS[name] for name in SPLITS if self.is_selected(name)] if "split" in self.selection else ["1"]
        try:
            splits = json.loads(read_bytes(path))["scene_splits"]
            scenes = [scene for number in requested for scene in splits[number]["filenames"]]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} lists no scenes of split {' and '.join(requested)}: {error}") from error
        for scene in scenes:
            for sample in _scene(root / scene).samples:
                image = sample.get(self.camera_name.lower())
                if image is not None and _LIDAR in sample:
                    yield f"{Path(scene).parent.as_posix()}/{image['datum']['image']['filename']}"

    def empty_message(self, root: Path) -> str:
        """Return the error message for scenes without samples."""
        return f"{root / self.images} lists no sample with both {self.camera_name} and a lidar scan in its scenes"

    def read(self, root: Path, name: str) -> LabeledImage:
        """Read the image, and project the scan into it. The nearest point wins a pixel.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        scene, sample = self._sample(root, name)
        inside = name.partition("/")[2]
        image = self.read_image(root, name)
        height, width = image.shape[:2]
        camera = scene.camera(sample["calibration"], self.camera_name, width, height)
        try:
            datum, scan = sample[self.camera_name.lower()]["datum"]["image"], sample[_LIDAR]["datum"]["point_cloud"]
            from_lidar, from_camera = _matrix(scan["pose"]), _matrix(datum["pose"])
            to_camera, scan_file = np.linalg.inv(from_camera) @ from_lidar, scene.folder / scan["filename"]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"{scene.path} has no pose of {inside} or of its scan: {error!r}") from error
        points = _read_points(scan_file)
        in_camera = (to_camera @ np.column_stack([points, np.ones(len(points))]).T)[:3].T
        return LabeledImage(f"{self.name}/{name}", image, _depth_image(in_camera, camera), camera)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the image, the scene's JSON with the poses, the calibration and the scan.

        Args:
            root: the set's folder.
            name: the image.
        """
        scene, sample = self._sample(root, name)
        scan = scene.folder / sample[_LIDAR]["datum"]["point_cloud"]["filename"]
        return root / name, scene.path, scene.calibration_file(sample["calibration"]), scan

    def _sample(self, root: Path, name: str) -> tuple[_Scene, dict[str, Any]]:
        folder, inside = root / name.partition("/")[0], name.partition("/")[2]
        scene = _scene(_only_scene(folder))
        if inside not in scene.sample_of:
            raise DataError(f"{folder} has no sample with the image {inside}")
        return scene, scene.sample_of[inside]


class _Scene:
    """The JSON of a scene.

    Attributes:
        samples: data by sensor name in lower case.
        sample_of: samples by the path of their image in ``folder``.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path.parent
        try:
            content = json.loads(read_bytes(path))
            data = {datum["key"]: datum for datum in content["data"]}
            self.samples = [
                {"calibration": sample["calibration_key"]}
                | {data[key]["id"]["name"].lower(): data[key] for key in sample["datum_keys"]}
                for sample in content["samples"]
            ]
            self.sample_of = {
                datum["datum"]["image"]["filename"]: sample
                for sample in self.samples
                for datum in sample.values()
                if isinstance(datum, dict) and "image" in datum["datum"]
            }
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not a scene in the DGP layout: {error!r}") from error

    def calibration_file(self, calibration: str) -> Path:
        """Return the path of a calibration."""
        return self.folder / "calibration" / f"{calibration}.json"

    def camera(self, calibration: str, name: str, width: int, height: int) -> Camera:
        """Read the intrinsics of a camera.

        Args:
            calibration: the key of the calibration.
            name: the camera.
            width: of the image, pixels.
            height: of the image, pixels.

        Raises:
            DataError: the calibration is missing or invalid; the message names the file.
        """
        path = self.calibration_file(calibration)
        try:
            content = json.loads(read_bytes(path))
            index = [camera.lower() for camera in content["names"]].index(name.lower())
            values = content["intrinsics"][index]
            return Camera(width, height, values["fx"], values["fy"], values["cx"], values["cy"])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError(f"{path} has no calibration of {name}: {error!r}") from error


@lru_cache(maxsize=4)
def _scene(path: Path) -> _Scene:
    return _Scene(path)


def _only_scene(folder: Path) -> Path:
    found = sorted(folder.glob("scene_*.json"))
    if len(found) != 1:
        raise DataError(f"{folder} contains {len(found)} files scene_*.json, must be one")
    return found[0]


def _read_points(path: Path) -> np.ndarray:
    """Read the points of a scan, float64 (N, 3), in the lidar frame."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["data"][:, :3].astype(np.float64)
    except (OSError, ValueError, KeyError, EOFError, IndexError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"cannot read the points of {path}: {error}") from error


def _matrix(pose: Mapping[str, Any]) -> np.ndarray:
    """Return a pose, unit quaternion and translation, as a matrix (4, 4). Missing values are 0, as in proto3."""
    rotation, translation = pose["rotation"], pose.get("translation", {})
    w, x, y, z = (rotation.get(name, 0.0) for name in ("qw", "qx", "qy", "qz"))
    if not math.isclose(math.hypot(w, x, y, z), 1, abs_tol=1e-3):
        raise ValueError(f"{rotation} is not a unit quaternion")
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = [translation.get(name, 0.0) for name in ("x", "y", "z")]
    return matrix


def _depth_image(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Draw points (N, 3) of the camera frame as depth float32 (H, W); NaN where there is no point."""
    points = points[points[:, 2] > 0]
    points = points[np.argsort(-points[:, 2])]  # the nearest point is written last
    pixels = camera.project(points)
    inside = (pixels >= 0).all(axis=1) & (pixels < (camera.width, camera.height)).all(axis=1)
    columns, rows = pixels[inside].astype(np.int64).T
    depth = np.full((camera.height, camera.width), np.nan, np.float32)
    depth[rows, columns] = points[inside, 2]
    return depth
