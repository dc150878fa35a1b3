"""The RGB-D sets that `evaluate` knows: where their files lie, how depth is stored, what may be done with them.

Every set is a declaration: a few lines that a reader can check against the set's own documentation.
"""

from __future__ import annotations

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_anything_ros.evaluation import velodyne
from depth_anything_ros.evaluation.frame import DataError, Frame, read_depth, read_image
from depth_anything_ros.geometry.camera import Camera

Crop = Callable[[int, int], tuple[slice, slice]]


def garg_crop(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that papers score on KITTI (Garg et al., ECCV 2016): neither sky, bonnet nor borders."""
    rows = slice(int(0.40810811 * height), int(0.99189189 * height))
    return rows, slice(int(0.03594771 * width), int(0.96405229 * width))


def eigen_crop(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that papers score on NYUv2 (Eigen et al., NIPS 2014): rows 45-471, columns 41-601 of 480x640."""
    return slice(45 * height // 480, 471 * height // 480), slice(41 * width // 640, 601 * width // 640)


@dataclass(frozen=True)
class RgbdSet(ABC):
    """One set. ``name`` is also the folder that holds it. ``terms``: its licence or terms of use, in few words.

    ``published_crop`` and ``published_range`` (metres) are what papers restrict their tables to; they are used by
    the "published" protocol only, the "full" one scores every pixel whose depth is known.
    """

    name: str
    terms: str
    published_crop: Crop | None = None
    published_range: tuple[float, float] | None = None

    @abstractmethod
    def is_present(self, root: Path) -> bool:
        """Whether the set lies under ``root``."""

    @abstractmethod
    def frame_names(self, root: Path) -> list[str]:
        """Names of the set's frames under ``root``, in order. Raises `DataError` if there is none."""

    @abstractmethod
    def read(self, root: Path, frame_name: str) -> Frame:
        """Reads one frame. Raises `DataError`, naming the file that is absent or damaged."""

    def frames(self, root: Path, limit: int = 0) -> Iterator[Frame]:
        """Reads frames one by one: all, or with ``limit`` above 0 that many, evenly spaced over the set."""
        for frame_name in evenly_spaced(self.frame_names(root), limit):
            yield self.read(root, frame_name)


def evenly_spaced(items: list[str], limit: int) -> list[str]:
    """At most ``limit`` of the items, evenly spaced and starting with the first; 0 means all."""
    if limit <= 0 or limit >= len(items):
        return items
    return [items[index * len(items) // limit] for index in range(limit)]


def _matches(root: Path, folder: str, pattern: str) -> list[str]:
    """What the one ``*`` of ``pattern`` stands for in each file under ``root/folder``, sorted."""
    before, after = pattern.split("*")
    paths = (path.relative_to(root / folder).as_posix() for path in (root / folder).glob(pattern))
    found = sorted(path[len(before) : len(path) - len(after)] for path in paths if fnmatch.fnmatch(path, pattern))
    if not found:
        raise DataError(f"{root / folder} holds no {pattern}; --data must be the folder that contains {folder!r}")
    return found


@dataclass(frozen=True)
class PictureSet(RgbdSet):
    """Pictures with 16-bit depth pictures beside them and one camera for all.

    ``images`` and ``depths``: file patterns inside the folder, one ``*`` each, which stands for the frame's name.
    ``metres_per_unit`` and ``invalid``: what a stored depth value means. ``intrinsics``: fx, fy, cx, cy in pixels.
    """

    images: str = ""
    depths: str = ""
    intrinsics: tuple[float, float, float, float] = (0, 0, 0, 0)
    metres_per_unit: float = 0.001
    invalid: tuple[int, ...] = (0,)

    def is_present(self, root: Path) -> bool:
        """Whether the set's folder lies under ``root``."""
        return (root / self.name).is_dir()

    def frame_names(self, root: Path) -> list[str]:
        """What ``*`` stands for in each image's file name, in order."""
        return _matches(root, self.name, self.images)

    def read(self, root: Path, frame_name: str) -> Frame:
        """Reads the image and the depth picture of one frame."""
        image = read_image(root / self.name / self.images.replace("*", frame_name))
        depth = read_depth(root / self.name / self.depths.replace("*", frame_name), self.metres_per_unit, self.invalid)
        height, width = image.shape[:2]
        return Frame(f"{self.name}/{frame_name}", image, depth, Camera(width, height, *self.intrinsics))


@dataclass(frozen=True)
class VelodyneSet(RgbdSet):
    """KITTI object: images, velodyne scans and a calibration for each frame.

    The scan is raw: where camera and velodyne see past each other, points of the background show through the
    foreground (Uhrig et al., 3DV 2017), so the best possible score is not perfect.
    """

    def is_present(self, root: Path) -> bool:
        """Whether the set's folder lies under ``root``."""
        return (root / self.name).is_dir()

    def frame_names(self, root: Path) -> list[str]:
        """Six-digit numbers of the frames, in order."""
        return _matches(root, self.name, "image_2/*.png")

    def read(self, root: Path, frame_name: str) -> Frame:
        """Reads the image and projects the scan into it."""
        folder = root / self.name
        image = read_image(folder / "image_2" / f"{frame_name}.png")
        calibration = velodyne.read_calibration(folder / "calib" / f"{frame_name}.txt")
        points = velodyne.read_points(folder / "velodyne" / f"{frame_name}.bin")
        height, width = image.shape[:2]
        projection = calibration.projection
        camera = Camera(width, height, projection[0, 0], projection[1, 1], projection[0, 2], projection[1, 2])
        return Frame(
            f"{self.name}/{frame_name}", image, velodyne.depth_image(calibration, points, height, width), camera
        )


@dataclass(frozen=True)
class MotorcycleSet(RgbdSet):
    """Middlebury 2014 "Motorcycle" as scikit-image ships it, quarter size; needs that package, and no folder.

    depth = focal length * baseline / (disparity + offset), where the offset is the distance between the principal
    points of the two cameras (Scharstein et al., GCPR 2014; values from `skimage.data.stereo_motorcycle`).
    """

    focal: float = 994.978
    principal_point: tuple[float, float] = (311.193, 254.877)
    disparity_offset: float = 31.086
    baseline: float = 0.193001

    def is_present(self, root: Path) -> bool:
        """Whether scikit-image is installed."""
        try:
            import skimage.data  # noqa: F401
        except ImportError:
            return False
        return True

    def frame_names(self, root: Path) -> list[str]:
        """The one frame there is."""
        return ["motorcycle"]

    def read(self, root: Path, frame_name: str) -> Frame:
        """Left image, and depth from the disparity. Raises `DataError` if scikit-image is missing."""
        try:
            from skimage.data import stereo_motorcycle
        except ImportError as error:
            raise DataError(f"{self.name} comes with scikit-image, which is not installed") from error
        left, _, disparity = stereo_motorcycle()
        disparity = np.where(np.isfinite(disparity), disparity, np.nan).astype(np.float64)
        depth = (self.focal * self.baseline / (disparity + self.disparity_offset)).astype(np.float32)
        height, width = left.shape[:2]
        camera = Camera(width, height, self.focal, self.focal, *self.principal_point)
        return Frame(f"{self.name}/{frame_name}", np.ascontiguousarray(left), depth, camera)


_KITTI_RANGE = (1e-3, 80.0)

SETS: dict[str, RgbdSet] = {
    declared.name: declared
    for declared in (
        PictureSet(
            name="sevenscenes_redkitchen",
            terms="non-commercial (Microsoft 7-Scenes, Shotton et al., CVPR 2013)",
            images="frame-*.color.jpg",
            depths="frame-*.depth.png",
            intrinsics=(585.0, 585.0, 320.0, 240.0),
            invalid=(0, 65535),
        ),
        PictureSet(
            name="nyuv2",
            terms="research (NYU Depth v2, Silberman et al., ECCV 2012)",
            images="rgb/rgb_*.jpg",
            depths="depth/sync_depth_*.png",
            intrinsics=(518.858, 519.470, 325.582, 253.736),
            published_crop=eigen_crop,
            published_range=(1e-3, 10.0),
        ),
        PictureSet(
            name="kitti_depth",
            terms="CC BY-NC-SA 3.0 (KITTI, annotated depth of Uhrig et al., 3DV 2017)",
            images="rgb/*.png",
            depths="depth/*.png",
            intrinsics=(707.049, 707.049, 604.081, 180.507),
            metres_per_unit=1 / 256,
            published_crop=garg_crop,
            published_range=_KITTI_RANGE,
        ),
        VelodyneSet(
            name="kitti_object",
            terms="CC BY-NC-SA 3.0 (KITTI object, Geiger et al., CVPR 2012)",
            published_crop=garg_crop,
            published_range=_KITTI_RANGE,
        ),
        PictureSet(
            name="tum",
            terms="CC BY 4.0 (TUM RGB-D, Sturm et al., IROS 2012)",
            images="*_color.png",
            depths="*_depth.png",
            intrinsics=(525.0, 525.0, 319.5, 239.5),
            metres_per_unit=1 / 5000,
        ),
        PictureSet(
            name="realsense_shelf",
            terms="BSD-2-Clause",
            images="frame-*.color.png",
            depths="frame-*.depth.png",
            intrinsics=(615.195, 615.195, 298.443, 247.519),
        ),
        MotorcycleSet(name="middlebury_motorcycle", terms="cite Scharstein et al., GCPR 2014"),
    )
}


def find_sets(root: Path, names: list[str] | None = None) -> list[RgbdSet]:
    """The sets called ``names``, or all that are present. Raises `DataError` for an unknown name or an absent set."""
    if not root.is_dir():
        raise DataError(f"--data {root} is not a folder; give the one that holds {', '.join(SETS)}")
    if names is None:
        present = [declared for declared in SETS.values() if declared.is_present(root)]
        if not any((root / declared.name).is_dir() for declared in present):
            raise DataError(f"--data {root} holds none of {', '.join(SETS)}")
        return present
    for name in names:
        if name not in SETS:
            raise DataError(f"there is no set {name!r}; known are {', '.join(SETS)}")
        if not SETS[name].is_present(root):
            raise DataError(f"{name} is not under --data {root}")
    return [SETS[name] for name in names]
