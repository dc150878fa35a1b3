"""How `evaluate` finds its sets, and which of their pixels papers score.

`data/evaluation_sets.py` declares the sets themselves. `_PUBLISHED` contains the crop and the depth range of papers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.evaluation_sets import EVALUATION_SETS, MotorcycleSet
from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.rgbd_declaration import FILE, Declaration
from depth_anything_ros.data.sets import ALL_SETS
from depth_anything_ros.system.did_you_mean import did_you_mean

RGBD = RgbdSet.name
"""The name of a folder of the user's own images with depth."""
Crop = Callable[[int, int], tuple[slice, slice]]


def garg_crop(height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns that papers score on KITTI (Garg et al., ECCV 2016): no sky, hood or borders.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
    """
    rows = slice(int(0.40810811 * height), int(0.99189189 * height))
    return rows, slice(int(0.03594771 * width), int(0.96405229 * width))


def eigen_crop(height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns that papers score on NYUv2 (Eigen et al., NIPS 2014).

    They are rows 45-471 and columns 41-601 of 480x640, in proportion for other sizes.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
    """
    return slice(45 * height // 480, 471 * height // 480), slice(41 * width // 640, 601 * width // 640)


@dataclass(frozen=True)
class EvaluationSet:
    """A set and the pixels that papers score.

    The "published" protocol uses ``published_crop`` and ``published_range``. The "full" protocol scores every pixel
    with known depth.

    Attributes:
        source: the reader of the set.
        published_crop: the crop that papers apply.
        published_range: the range of true depth that papers score, meters.
        place: the folder under --data; default: the name of the set.
    """

    source: DepthSet
    published_crop: Crop | None = None
    published_range: tuple[float, float] | None = None
    place: str | None = None

    def folder(self, root: Path) -> Path:
        """Return the folder of the set under ``root``."""
        return root / (self.name if self.place is None else self.place)

    @property
    def name(self) -> str:
        """Return the name in reports."""
        return self.source.name

    @property
    def terms(self) -> str:
        """Return the terms of use."""
        return f"{self.source.terms} ({self.source.title})"

    def is_present(self, root: Path) -> bool:
        """Return whether the set is under ``root``. A set without a folder is present if its package is installed."""
        if isinstance(self.source, MotorcycleSet):
            return any(self.source.names(root))
        return self.folder(root).is_dir() or (isinstance(self.source, RgbdSet) and self.folder(root).is_file())

    def frame_names(self, root: Path) -> list[str]:
        """Return the frames under ``root``, in order. Raises `DataError` if there are none."""
        folder = self.folder(root)
        if not self.is_present(root):
            raise DataError(f"there is no {folder}: --data must be the folder that contains {self.name!r}")
        names = list(self.source.names(folder))
        if not names:
            raise DataError(self.source.empty_message(folder))
        return names

    def unpaired(self, root: Path) -> list[str]:
        """Return the files that belong to no frame although they should, each with the reason."""
        return self.source.unpaired(self.folder(root))

    def read(self, root: Path, frame_name: str) -> LabeledImage:
        """Read one frame.

        Args:
            root: the folder that contains the set.
            frame_name: one of `frame_names`.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        return self.source.read(self.folder(root), frame_name)


_KITTI = garg_crop, (1e-3, 80.0)
_PUBLISHED = {"nyuv2": (eigen_crop, (1e-3, 10.0)), "kitti_depth": _KITTI, "kitti_object": _KITTI}

SCORED_SETS: dict[str, EvaluationSet] = {
    source.name: EvaluationSet(source, *_PUBLISHED.get(source.name, ())) for source in EVALUATION_SETS
}
"""The sets that `evaluate` knows by name."""


def find_sets(root: Path, names: Sequence[str] | None = None, own: Declaration | None = None) -> list[EvaluationSet]:
    """Return the requested sets.

    Args:
        root: the folder that contains the sets. A folder in it that has the name of no set is the user's own data.
        names: the sets; "rgbd" is ``root`` itself. None for all known sets that are present and all folders with an
            rgbd.yaml.
        own: options for the user's own data.

    Raises:
        DataError: a name is unknown, or a set is not present.
    """
    is_declaration = root.is_file() and names is not None and set(names) == {RGBD}
    if not root.is_dir() and not is_declaration:
        raise DataError(f"--data {root} is not a folder; give the one that contains {', '.join(SCORED_SETS)}")
    if names is None:
        return _present(root, own)
    return [_own(name, root, own) if _is_own(name, root) else _published(name, root) for name in names]


def _present(root: Path, own: Declaration | None) -> list[EvaluationSet]:
    present = [declared for declared in SCORED_SETS.values() if declared.is_present(root)]
    present += [_own(folder.name, root, own) for folder in sorted(root.iterdir()) if (folder / FILE).is_file()]
    if (root / FILE).is_file():
        present.append(_own(RGBD, root, own))
    if not any(declared.folder(root).is_dir() for declared in present):
        raise DataError(
            f"--data {root} has none of the folders {', '.join(SCORED_SETS)}; for your own images with depth give "
            f"--sets {RGBD}"
        )
    return present


def _is_own(name: str, root: Path) -> bool:
    is_present = (root / name).is_dir() or (name.endswith((".yaml", ".yml")) and (root / name).is_file())
    return name == RGBD or (is_present and name not in SCORED_SETS and name not in ALL_SETS)


def _own(name: str, root: Path, declared: Declaration | None) -> EvaluationSet:
    """Return the user's own data under ``root``: the folder or YAML file ``name``, or ``root`` itself for "rgbd"."""
    place = name if name != RGBD or (root / RGBD).is_dir() else "."
    title = Path(name).stem if name.endswith((".yaml", ".yml")) else name
    source = RgbdSet(name=title.strip("./").replace("/", "_") or RGBD, declared=declared or Declaration())
    return EvaluationSet(source, place=place)


def _published(name: str, root: Path) -> EvaluationSet:
    if name not in SCORED_SETS:
        no_protocol = f"{name} has no evaluation protocol yet (benchmark sets get theirs in a later release)"
        problem = no_protocol if name in ALL_SETS else f"there is no set {name!r}"
        suggestion = "" if name in ALL_SETS else did_you_mean(name, SCORED_SETS)
        choices = f"; sets that can be evaluated are {', '.join(SCORED_SETS)}, and {RGBD}, a folder of your own"
        raise DataError(problem + (suggestion or choices))
    declared = SCORED_SETS[name]
    if not declared.is_present(root):
        is_package = isinstance(declared.source, MotorcycleSet)
        raise DataError(declared.source.empty_message(root) if is_package else f"{name} is not under --data {root}")
    return declared
