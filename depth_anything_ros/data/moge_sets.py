"""The sets of MoGe's evaluation bundle: a folder with image, depth and intrinsics for each sample.

SET/.index.txt lists the folders. Layout: moge/test/dataloader.py and moge/utils/io.py of microsoft/MoGe.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.data.camera_files import NormalizedCamera
from depth_anything_ros.data.centered_view import centered_view
from depth_anything_ros.data.depth_files import import_for
from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.data.listed_set import ListedSet, lines_of
from depth_anything_ros.data.moge_files import LogPicture
from depth_anything_ros.data.splits import TEST, OneSplit

IMAGE = "image.jpg"


@dataclass(frozen=True)
class MogeSet(ListedSet):
    """A set of the bundle.

    Attributes:
        size: (width, height) of the centered view that frames are read as; None to read them as stored.
    """

    size: tuple[int, int] | None = None

    def listed(self, root: Path) -> Iterable[str]:
        """Yield the image of each listed folder. Raises `DataError` if the list is missing."""
        for line in lines_of(root / self.listing):
            yield f"{line.strip('/')}/{IMAGE}"

    def unpaired(self, root: Path) -> list[str]:
        """Return the images that are not listed."""
        listed = set(self.listed(root))
        found = (self._images.path(fields) for fields in self._images.find(root))
        return [f"{name} is not in {self.listing}" for name in found if name not in listed]

    def read(self, root: Path, name: str) -> LabeledImage:
        """Read a frame, as stored or as its centered view.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        frame = super().read(root, name)
        return frame if self.size is None else centered_view(frame, self.size, import_for("PIL.Image", root / name))


def _moge_set(folder: str, title: str, terms: str, count: int = 0, is_metric: bool = True) -> MogeSet:
    return MogeSet(
        name=f"moge_{folder.lower().replace('-', '')}",
        title=f"{title}, in MoGe's bundle (Wang et al., CVPR 2025)",
        terms=terms,
        homepage="https://huggingface.co/datasets/Ruicheng/monocular-geometry-evaluation",
        images="{sample*}/" + IMAGE,
        depths="{sample*}/depth.png",
        read_depth=LogPicture(),
        is_metric=is_metric,
        camera=NormalizedCamera("{sample*}/meta.json"),
        splits=OneSplit(TEST),
        count=count,
        listing=".index.txt",
        owners_folder=folder,
        is_complete=True,
        pitfalls="Made for evaluation: no training. `evaluate` scores the centered view that MoGe makes of each image.",
    )


MOGE_SETS = (
    _moge_set("NYUv2", "NYUv2, the Eigen test split", "research", 654),
    _moge_set("KITTI", "KITTI, the Eigen test split with annotated depth", "CC BY-NC-SA 3.0", 652),
    _moge_set("ETH3D", "ETH3D, undistorted", "CC BY-NC-SA 4.0", 454),
    _moge_set("iBims-1", "iBims-1", "CC BY-NC-SA 4.0", 100),
    _moge_set("GSO", "renderings of Google Scanned Objects", "CC BY 4.0", 1030, is_metric=False),
    _moge_set("Sintel", "MPI Sintel", "film CC BY 3.0, data for research", 1064, is_metric=False),
    _moge_set("DDAD", "frames of DDAD", "CC BY-NC-SA 4.0", 1000),
    _moge_set("DIODE", "DIODE, validation", "MIT", 771),
    _moge_set("Spring", "frames of Spring", "CC BY 4.0", is_metric=False),
    _moge_set("HAMMER", "frames of HAMMER", "research"),
)
"""The bundle. The owners publish no number of frames for Spring and HAMMER apart from the lists."""
