"""The registry of all sets by name. Start here to add a dataset.

Declare a new dataset in the module of its kind:

- with depth, for training: `labeled_sets.py`
- without depth, for training with pseudo-labels: `unlabeled_sets.py`
- with a class for each pixel: `segmentation_sets.py`
- a few frames that `evaluate` scores on: `evaluation_sets.py`
- a sequence with times and poses, for scores over time: `sequence_sets.py`
- a complete benchmark, to check, pack and score on: `packable_benchmarks.py`, and a file in `evaluation/protocols`
- a benchmark that others have prepared: `moge_sets.py`, `video_benchmark.py` and `void_sets.py`

A folder of images, videos, archives or bags needs no declaration: `USER_SETS` reads any of them. CONTRIBUTING.md lists
the steps.
"""

from __future__ import annotations

from depth_anything_ros.data.archive_set import TarSet
from depth_anything_ros.data.bags import BagSet
from depth_anything_ros.data.evaluation_sets import EVALUATION_SETS
from depth_anything_ros.data.folder_sets import FolderSet, ListSet
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.labeled_sets import LABELED
from depth_anything_ros.data.moge_sets import MOGE_SETS
from depth_anything_ros.data.packable_benchmarks import PACKABLE_BENCHMARKS
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.segmentation_sets import SEGMENTATION
from depth_anything_ros.data.sequence_sets import SEQUENCES
from depth_anything_ros.data.unlabeled_sets import UNLABELED
from depth_anything_ros.data.video_benchmark import VIDEO_SETS
from depth_anything_ros.data.video_set import VideoSet
from depth_anything_ros.data.void_sets import VOID_SETS
from depth_anything_ros.system.did_you_mean import did_you_mean

USER_SETS = (FolderSet(), ListSet(), VideoSet(), TarSet(), BagSet(), RgbdSet())
"""Sets of the user's own data."""

SETS_BY_KIND: dict[str, tuple[ImageSet, ...]] = {
    "labeled": LABELED,
    "unlabeled": UNLABELED,
    "benchmark": (*PACKABLE_BENCHMARKS, *MOGE_SETS, *VOID_SETS, *VIDEO_SETS),
    "segmentation": SEGMENTATION,
    "sample": (*EVALUATION_SETS, *SEQUENCES),
    "your own": USER_SETS,
}
"""All sets by kind, as `data list` prints them."""
ALL_SETS: dict[str, ImageSet] = {declared.name: declared for sets in SETS_BY_KIND.values() for declared in sets}
"""All sets by name."""


def find_set(name: str) -> ImageSet:
    """Return the set with this name. Raises `DataError` for an unknown name, with similar names."""
    if name not in ALL_SETS:
        suggestion = did_you_mean(name, ALL_SETS) or f"; the sets are {', '.join(ALL_SETS)}"
        raise DataError(f"there is no set {name!r}{suggestion}")
    return ALL_SETS[name]
