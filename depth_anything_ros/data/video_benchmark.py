"""Videos as the benchmark of Video Depth Anything lists them in JSON, after its extraction scripts.

{SET: [{SEQUENCE: [{image, gt_depth, factor, K, pose}]}]}: paths are relative to the folder, depth is value / factor in
meters. K, 3x3 or 4x4, and pose, camera to world, are in the list for the temporal alignment error alone. Layout:
benchmark/dataset_extract and benchmark/eval of DepthAnything/Video-Depth-Anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_anything_ros.data.depth_files import one_channel, read_array
from depth_anything_ros.data.file_metadata import stamp_of
from depth_anything_ros.data.frame import DataError, LabeledImage, read_bytes
from depth_anything_ros.data.listed_set import ListedSet
from depth_anything_ros.data.sequence_sets import checked_pose
from depth_anything_ros.data.splits import TEST, OneSplit
from depth_anything_ros.geometry.camera import Camera

Window = tuple[slice, slice]
WHOLE: Window = (slice(None), slice(None))
_SMALL = 4
"""Pixels by which an image and its depth may differ; the rest of the larger one is cut off."""
_ASPECT = 0.02
"""Relative difference of aspect ratio up to which an image is reduced to the size of its depth."""


@dataclass(frozen=True)
class _Entry:
    """A frame of a list; ``number`` counts the frames of its sequence."""

    number: int
    depth: str
    factor: float
    k: np.ndarray | None
    pose: np.ndarray | None


@dataclass(frozen=True)
class VideoBenchmarkSet(ListedSet):
    """The sequences of a list.

    Attributes:
        key: the name of the set in the list.
        frames: the first frame of each sequence, and the one after the last.
        sequences: the number of sequences, from the first; None for all.
        window: rows and columns of the depth that the extracted images show.
        rate: frames per second.
    """

    key: str = ""
    frames: tuple[int, int] = (0, 500)
    sequences: int | None = None
    window: Window = WHOLE
    rate: float = 30.0

    def listed(self, root: Path) -> Iterable[str]:
        """Return the images. Raises `DataError` if the list is missing or invalid."""
        return list(self._entries(root))

    def _entries(self, root: Path) -> Mapping[str, _Entry]:
        path = root / self.listing
        return _read_list(path, stamp_of(path), self.key, self.frames, self.sequences)

    def read(self, root: Path, name: str) -> LabeledImage:
        """Read an image with depth and time, and with camera and pose if the list has them.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        entry = self._entry(root, name)
        path = root / entry.depth
        depth, camera = _read_depth(path, entry.factor), None
        if entry.k is not None:
            height, width = depth.shape
            camera = _camera(root / self.listing, name, entry.k, width, height)
        rows, columns = (range(side)[part] for side, part in zip(depth.shape, self.window, strict=True))
        if not rows or not columns:
            raise DataError(f"{path} is {depth.shape[1]}x{depth.shape[0]}, smaller than the window of {self.name}")
        image = _fitting(self.read_image(root, name), path, (len(rows), len(columns)))
        height, width = min(image.shape[0], len(rows)), min(image.shape[1], len(columns))
        depth = depth[rows[0] : rows[0] + height, columns[0] : columns[0] + width]
        camera = camera and camera.cropped(columns[0], rows[0], width, height)
        image = np.ascontiguousarray(image[:height, :width])
        time = entry.number / self.rate
        return LabeledImage(f"{self.name}/{name}", image, np.ascontiguousarray(depth), camera, time, entry.pose)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return image, depth and list.

        Args:
            root: the set's folder.
            name: the image.
        """
        return root / name, root / self._entry(root, name).depth, root / self.listing

    def _entry(self, root: Path, name: str) -> _Entry:
        entry = self._entries(root).get(name)
        if entry is None:
            raise DataError(f"{root / self.listing} does not list {name}")
        return entry


@lru_cache(maxsize=4)
def _read_list(
    path: Path, stamp: str, key: str, frames: tuple[int, int], sequences: int | None
) -> Mapping[str, _Entry]:
    """Read the frames by image. ``stamp`` changes with the file, so that a changed one is read again."""
    content = read_bytes(path)
    found: dict[str, _Entry] = {}
    try:
        listed = [one for entry in json.loads(content)[key] for one in entry.items()]
        for _, items in listed[:sequences]:
            for number, item in enumerate(items[slice(*frames)]):
                found[str(item["image"])] = _entry_of(number, item)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a list of {key!r} as Video Depth Anything writes it: {error!r}") from error
    return found


def _entry_of(number: int, item: Mapping[str, Any]) -> _Entry:
    factor = float(item["factor"])
    if not factor > 0:
        raise ValueError(f"factor is {factor}")
    k, pose = item.get("K"), item.get("pose")
    return _Entry(
        number,
        str(item["gt_depth"]),
        factor,
        None if k is None else np.asarray(k, np.float64)[:3, :3],
        None if pose is None else checked_pose(np.asarray(pose, np.float64)),
    )


def _read_depth(path: Path, factor: float) -> np.ndarray:
    """Read depth in meters, float32 (H, W); 0 is unknown."""
    stored = read_array(path) if path.suffix == ".npy" else one_channel(path, np.uint16)
    with np.errstate(invalid="ignore"):
        return np.where(stored > 0, stored / factor, np.nan).astype(np.float32)


def _camera(path: Path, name: str, k: np.ndarray, width: int, height: int) -> Camera:
    try:
        return Camera(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} has no valid K of {name}: {error}") from error


def _fitting(image: np.ndarray, path: Path, size: tuple[int, int]) -> np.ndarray:
    """Return the image in the resolution of its depth, which has ``size`` (height, width). The depth stays."""
    height, width = image.shape[:2]
    if abs(height - size[0]) < _SMALL and abs(width - size[1]) < _SMALL:
        return image
    if abs(width * size[0] / (height * size[1]) - 1) > _ASPECT:
        raise DataError(f"{path} shows {size[1]}x{size[0]} pixels, its image is {width}x{height}, another aspect ratio")
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)


def _video_set(folder: str, title: str, terms: str, homepage: str, listing: str, **options: Any) -> VideoBenchmarkSet:
    return VideoBenchmarkSet(
        name=options.pop("name", f"video_{folder}"),
        title=f"{title}, in the benchmark of Video Depth Anything (Chen et al., CVPR 2025)",
        terms=terms,
        homepage=homepage,
        images="{folder*}/{frame}.{ending}",
        fields={"ending": "jpg|png"},
        splits=OneSplit(TEST),
        listing=listing,
        owners_folder=folder,
        key=folder,
        pitfalls="Made by the extraction scripts of Video Depth Anything, which crop images but not depth.",
        **options,
    )


_KITTI, _SCANNET = "https://www.cvlibs.net/datasets/kitti", "http://www.scan-net.org"
VIDEO_SETS = (
    _video_set(
        *("kitti", "KITTI, validation drives with annotated depth", "CC BY-NC-SA 3.0", _KITTI, "kitti_video_500.json"),
        window=(slice(0, 374), slice(0, 1242)),
        rate=10.0,
        count=2806,
    ),
    _video_set(
        *("sintel", "MPI Sintel, clean pass", "film CC BY 3.0, data for research", "http://sintel.is.tue.mpg.de/depth"),
        "sintel_video.json",
        rate=24.0,
        count=1064,
    ),
    _video_set(
        *("nyuv2", "NYUv2, eight videos", "research"),
        *("https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html", "nyuv2_video_500.json"),
        window=(slice(45, 471), slice(41, 601)),
    ),
    _video_set(
        *("bonn", "Bonn RGB-D Dynamic (Palazzolo et al., IROS 2019)", "research"),
        *("https://www.ipb.uni-bonn.de/data/rgbd-dynamic-dataset", "bonn_video_500.json"),
    ),
    _video_set(
        *("scannet", "ScanNet, 100 test scenes", "ScanNet terms of use, non-commercial", _SCANNET),
        "scannet_video_500.json",
        window=(slice(8, -8), slice(11, -11)),
    ),
    _video_set(
        *("scannet", "ScanNet, 20 test scenes with poses", "ScanNet terms of use, non-commercial", _SCANNET),
        "scannet_video_tae.json",
        name="video_scannet_tae",
        frames=(10, 180),
        sequences=20,
    ),
)
"""The five datasets; ScanNet has a second list, with poses, for the temporal alignment error."""
