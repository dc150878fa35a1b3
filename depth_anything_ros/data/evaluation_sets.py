"""The sets that `evaluate` scores on: a few real frames of well-known datasets, each set in one folder.

To add a set for evaluation, declare it here and add it to `EVALUATION_SETS`. If papers crop its images or limit its
depth, also add it to `_PUBLISHED` in `evaluation/scored_sets.py`. `data check`, `data pack` and `train` read these sets
too. Complete datasets are declared elsewhere; `data/sets.py` lists the modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_anything_ros.data import velodyne
from depth_anything_ros.data.depth_files import Picture
from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import DataError, LabeledImage, as_png
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.system.extras import advice, import_problem, is_installed

_PART_OF = f"is part of scikit-image, which is not installed; {advice('skimage')}"


@dataclass(frozen=True)
class VelodyneSet(DepthSet):
    """KITTI object: images, velodyne scans and a calibration per frame.

    The scan is raw. Where camera and velodyne see different things, background points appear in the foreground (Uhrig
    et al., 3DV 2017). So the best possible score is not perfect.
    """

    def read(self, root: Path, name: str) -> LabeledImage:
        """Read the image, and project the scan into it.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        image = self.read_image(root, name)
        _, calibration_file, scan = self.sources(root, name)
        calibration, points = velodyne.read_calibration(calibration_file), velodyne.read_points(scan)
        height, width = image.shape[:2]
        projection = calibration.projection
        camera = Camera(width, height, projection[0, 0], projection[1, 1], projection[0, 2], projection[1, 2])
        depth = velodyne.depth_image(calibration, points, height, width)
        return LabeledImage(f"{self.name}/{name}", image, depth, camera)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return image, calibration and scan.

        Args:
            root: the set's folder.
            name: the image.
        """
        frame = Path(name).stem
        return root / name, root / "calib" / f"{frame}.txt", root / "velodyne" / f"{frame}.bin"


@dataclass(frozen=True)
class MotorcycleSet(DepthSet):
    """Middlebury 2014 "Motorcycle" at quarter size, from scikit-image. It needs that package, but no folder.

    depth = focal length * baseline / (disparity + offset). The offset is the distance between the principal points of
    the two cameras (Scharstein et al., GCPR 2014; values from `skimage.data.stereo_motorcycle`).
    """

    disparity_offset: float = 31.086
    baseline: float = 0.193001

    def names(self, root: Path) -> Iterator[str]:
        """Yield the only frame if scikit-image is installed."""
        if is_installed("skimage"):
            yield "motorcycle"

    def empty_message(self, root: Path) -> str:
        """Return the error message about the missing package."""
        return f"{self.name} {_PART_OF}"

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """Return the left image.

        Args:
            root: not used.
            name: not used.

        Raises:
            DataError: scikit-image is missing.
        """
        return np.ascontiguousarray(self._load()[0])

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """Return the left image as PNG.

        Args:
            root: not used.
            name: not used.

        Raises:
            DataError: scikit-image is missing.
        """
        return "png", as_png(self.read_image(root, name))

    def read(self, root: Path, name: str) -> LabeledImage:
        """Return the left image, with depth from the disparity.

        Args:
            root: not used.
            name: the name in the frame.

        Raises:
            DataError: scikit-image is missing.
        """
        left, _, disparity = self._load()
        disparity = np.where(np.isfinite(disparity), disparity, np.nan).astype(np.float64)
        depth = (self.camera[0] * self.baseline / (disparity + self.disparity_offset)).astype(np.float32)
        camera = self._camera(root, {}, left.shape[:2])
        return LabeledImage(f"{self.name}/{name}", np.ascontiguousarray(left), depth, camera)

    def file_size(self, root: Path, name: str) -> int:
        """Return the size of the PNG, which is encoded for this.

        Args:
            root: not used.
            name: not used.
        """
        return len(self.read_file(root, name)[1])

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return no files: the images are part of scikit-image.

        Args:
            root: not used.
            name: not used.
        """
        return ()

    def _load(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        try:
            from skimage.data import stereo_motorcycle
        except ImportError as error:
            raise DataError(f"{self.name} is part of scikit-image: {import_problem(error)}") from error
        return stereo_motorcycle()


EVALUATION_SETS = (
    DepthSet(
        name="sevenscenes_redkitchen",
        title="7-Scenes, red kitchen (Shotton et al., CVPR 2013)",
        terms="non-commercial",
        homepage="https://www.microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes",
        images="frame-{frame}.color.jpg",
        depths="frame-{frame}.depth.png",
        read_depth=Picture(0.001, invalid=(0, 65535)),
        camera=(585.0, 585.0, 320.0, 240.0),
        is_complete=True,
    ),
    DepthSet(
        name="nyuv2",
        title="frames of NYUv2 (Silberman et al., ECCV 2012)",
        terms="research",
        homepage="https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html",
        images="rgb/rgb_{frame}.jpg",
        depths="depth/sync_depth_{frame}.png",
        read_depth=Picture(0.001),
        camera=(518.858, 519.470, 325.582, 253.736),
        is_complete=True,
    ),
    DepthSet(
        name="kitti_depth",
        title="frames of KITTI with annotated depth (Uhrig et al., 3DV 2017)",
        terms="CC BY-NC-SA 3.0",
        homepage="https://www.cvlibs.net/datasets/kitti",
        images="rgb/{frame}.png",
        depths="depth/{frame}.png",
        read_depth=Picture(1 / 256),
        camera=(707.049, 707.049, 604.081, 180.507),
        is_complete=True,
    ),
    VelodyneSet(
        name="kitti_object",
        title="frames of KITTI object (Geiger et al., CVPR 2012)",
        terms="CC BY-NC-SA 3.0",
        homepage="https://www.cvlibs.net/datasets/kitti",
        images="image_2/{frame}.png",
        depths="velodyne/{frame}.bin",
        is_complete=True,
    ),
    DepthSet(
        name="tum",
        title="frames of TUM RGB-D (Sturm et al., IROS 2012)",
        terms="CC BY 4.0",
        homepage="https://cvg.cit.tum.de/data/datasets/rgbd-dataset",
        images="{frame}_color.png",
        depths="{frame}_depth.png",
        read_depth=Picture(1 / 5000),
        camera=(525.0, 525.0, 319.5, 239.5),
        is_complete=True,
    ),
    DepthSet(
        name="realsense_shelf",
        title="shelves, from near, by a RealSense",
        terms="BSD-2-Clause",
        homepage="",
        images="frame-{frame}.color.png",
        depths="frame-{frame}.depth.png",
        read_depth=Picture(0.001),
        camera=(615.195, 615.195, 298.443, 247.519),
        is_complete=True,
    ),
    MotorcycleSet(
        name="middlebury_motorcycle",
        title="Middlebury 2014, motorcycle (Scharstein et al., GCPR 2014)",
        terms="cite it",
        homepage="https://vision.middlebury.edu/stereo/data/scenes2014",
        images="",
        camera=(994.978, 994.978, 311.193, 254.877),
    ),
)
"""The sets that `evaluate` scores on."""
