"""Every set that is known, by its name."""

from __future__ import annotations

from depth_anything_ros.data.bags import BagSet
from depth_anything_ros.data.benchmark_sets import BENCHMARKS
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.labeled_sets import LABELED
from depth_anything_ros.data.own_archives import TarSet
from depth_anything_ros.data.own_images import FolderSet, ListSet
from depth_anything_ros.data.own_videos import VideoSet
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.sample_sets import SAMPLES
from depth_anything_ros.data.segmentation_sets import SEGMENTATION
from depth_anything_ros.data.unlabeled_sets import UNLABELED
from depth_anything_ros.system.did_you_mean import did_you_mean

OWN = (FolderSet(), ListSet(), VideoSet(), TarSet(), BagSet(), RgbdSet())

KINDS: dict[str, tuple[ImageSet, ...]] = {
    "labeled": LABELED,
    "unlabeled": UNLABELED,
    "benchmark": BENCHMARKS,
    "segmentation": SEGMENTATION,
    "sample": SAMPLES,
    "your own": OWN,
}
SETS: dict[str, ImageSet] = {declared.name: declared for sets in KINDS.values() for declared in sets}


def find_set(name: str) -> ImageSet:
    """The set of that name. Raises `DataError`, naming those that are like it, or all there are."""
    if name not in SETS:
        meant = did_you_mean(name, SETS) or f"; known are {', '.join(SETS)}"
        raise DataError(f"there is no set {name!r}{meant}")
    return SETS[name]
