"""How `evaluate` finds the sets of a protocol.

`data/sets.py` lists the readers. The files in `protocols/` name the sets, their frames and their scored pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from depth_anything_ros.data.bag_paths import METADATA
from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.evaluation_sets import EVALUATION_SETS, MotorcycleSet
from depth_anything_ros.data.frame import DataError, LabeledImage, read_bytes
from depth_anything_ros.data.listed_set import ListedSet
from depth_anything_ros.data.moge_sets import MogeSet
from depth_anything_ros.data.pair_sets import PAIR_SETS, PairedImage, PairSet
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.rgbd_declaration import FILE, Declaration
from depth_anything_ros.data.segmentation import ClassImage, SegmentationSet
from depth_anything_ros.data.sequence_sets import SEQUENCES
from depth_anything_ros.data.sets import ALL_SETS
from depth_anything_ros.evaluation.bag_recording import BagTruth
from depth_anything_ros.evaluation.bag_set import BagDepthSet
from depth_anything_ros.evaluation.protocol import Protocol, Split
from depth_anything_ros.evaluation.protocol_files import find_protocol, protocol_names
from depth_anything_ros.system.did_you_mean import did_you_mean

RGBD = RgbdSet.name
"""The name of a folder of the user's own images with depth."""


@dataclass(frozen=True)
class EvaluationSet:
    """A set and the frames of it that a protocol scores.

    Attributes:
        source: the reader of the set.
        place: the folder under --data; default: the name of the set.
        split: the frames.
    """

    source: DepthSet | PairSet | SegmentationSet
    place: str | None = None
    split: Split = field(default_factory=Split)

    def folder(self, root: Path) -> Path:
        """Return the folder of the set under ``root``."""
        if self.place is None and isinstance(self.source, ListedSet):
            return self.source.folder(root)
        return root / (self.name if self.place is None else self.place)

    @property
    def name(self) -> str:
        """Return the name in reports."""
        return self.source.name

    @property
    def terms(self) -> str:
        """Return the terms of use."""
        return f"{self.source.terms} ({self.source.title})"

    @property
    def is_metric(self) -> bool:
        """Return whether its depth is in meters; otherwise meters of a model are not scored as they are."""
        return not isinstance(self.source, DepthSet) or self.source.is_metric

    def is_present(self, root: Path) -> bool:
        """Return whether the set is under ``root``. A set without a folder is present if its package is installed."""
        if isinstance(self.source, MotorcycleSet):
            return any(self.source.names(root))
        may_be_file = isinstance(self.source, (RgbdSet, BagDepthSet))
        return self.folder(root).is_dir() or (may_be_file and self.folder(root).is_file())

    def frame_names(self, root: Path) -> list[str]:
        """Return the frames under ``root``, in order. Raises `DataError` if there are none."""
        folder = self.folder(root)
        if not self.is_present(root):
            if isinstance(self.source, BagDepthSet):
                raise DataError(f"there is no bag {folder}")
            raise DataError(f"there is no {folder}: --data must be the folder that contains {self.name!r}")
        names = list(self.source.names(folder))
        if not names:
            raise DataError(self.source.empty_message(folder))
        return names if self.split.file is None else self._listed(folder, names)

    def missing(self, root: Path, names: Sequence[str]) -> list[str]:
        """Return how the frames differ from the split: frames of its list that do not exist, and a wrong number.

        Args:
            root: the folder that contains the set.
            names: `frame_names`.
        """
        texts = []
        if self.split.file is not None:
            absent = set(self._list(self.folder(root))) - set(names)
            texts = [f"{self.name}: {name} of {self.split.file} has no image with depth" for name in sorted(absent)]
        is_of_pairs = isinstance(self.source, PairSet)
        found = self.source.pair_count(self.folder(root)) if is_of_pairs else len(names)
        videos = len({name.rpartition("/")[0] for name in names})
        for unit, number, expected in (
            ("pairs" if is_of_pairs else "frames", found, self.split.count),
            ("videos", videos, self.split.sequences),
        ):
            if expected and number != expected:
                texts.append(
                    f"{self.name} has {number} {unit}, split {self.split.name!r} has {expected}: the scores are not "
                    "comparable with published ones"
                )
        return texts

    def _listed(self, folder: Path, names: Sequence[str]) -> list[str]:
        """Return the frames of the split's list that exist, in the order of the list."""
        present = set(names)
        listed = [name for name in self._list(folder) if name in present]
        if not listed:
            raise DataError(f"{folder} has none of the frames that {folder / self.split.file} lists")
        return listed

    def _list(self, folder: Path) -> list[str]:
        """Return the images of the split's list; a second word "None" says that an image has no depth."""
        path = folder / self.split.file
        if not path.is_file():
            raise DataError(
                f"{path} is missing: the protocol scores the frames that it lists, one image per line, relative to "
                f"{folder}"
            )
        lines = read_bytes(path).decode(errors="replace").splitlines()
        words = [line.split() for line in lines if line.strip()]
        return list(dict.fromkeys(first.lstrip("/") for first, *rest in words if rest[:1] != ["None"]))

    def unpaired(self, root: Path) -> list[str]:
        """Return the files that belong to no frame although they should, each with the reason."""
        return self.source.unpaired(self.folder(root))

    def read(self, root: Path, frame_name: str) -> LabeledImage | PairedImage | ClassImage:
        """Read one frame.

        Args:
            root: the folder that contains the set.
            frame_name: one of `frame_names`.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        if isinstance(self.source, SegmentationSet):
            image, labels = self.source.read(self.folder(root), frame_name)
            return ClassImage(f"{self.name}/{frame_name}", image, labels, len(self.source.classes))
        return self.source.read(self.folder(root), frame_name)


SCORED_SETS: dict[str, EvaluationSet] = {source.name: EvaluationSet(source) for source in EVALUATION_SETS}
"""The sets that open protocols score by default, if present."""
_SEQUENCES = {source.name: EvaluationSet(source) for source in SEQUENCES}
"""Sets that an open protocol scores if they are named."""
_KINDS = {"pairs": PairSet, "segmentation": SegmentationSet}
"""The kind of set by task; `DepthSet` for others."""
_PAIRS = {declared.name: declared for declared in PAIR_SETS}


def find_sets(
    root: Path,
    names: Sequence[str] | None = None,
    own: Declaration | None = None,
    protocol: Protocol | None = None,
) -> list[EvaluationSet]:
    """Return the requested sets.

    Args:
        root: the folder that contains the sets. A folder in it that has the name of no set is the user's own data.
        names: the sets; "rgbd" is ``root`` itself. None for all sets of the protocol that are present and, in open
            protocols, all folders with an rgbd.yaml.
        own: options for the user's own data.
        protocol: None for an open protocol.

    Raises:
        DataError: a name is unknown, or a set is not present.
    """
    if protocol is not None and not protocol.is_open:
        return _of_protocol(root, names, protocol)
    is_declaration = root.is_file() and names is not None and set(names) == {RGBD}
    if not root.is_dir() and not is_declaration:
        raise DataError(f"--data {root} is not a folder; give the one that contains {', '.join(SCORED_SETS)}")
    if names is None:
        return _present(root, own)
    return [_own(name, root, own) if _is_own(name, root) else _known(name, root) for name in names]


def is_bags(paths: Sequence[Path]) -> bool:
    """Return whether all paths are bags: files, or folders with the metadata of a bag.

    Args:
        paths: of bags, or of a folder with sets.
    """
    return bool(paths) and all(path.is_file() or (path / METADATA).is_file() for path in paths)


def bag_sets(bags: Sequence[Path], truth: BagTruth) -> list[EvaluationSet]:
    """Return recordings as sets.

    Args:
        bags: ROS 2 or ROS 1 bags.
        truth: their topics.

    Raises:
        DataError: two have the same name.
    """
    paths = [bag.absolute() for bag in bags]
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        raise DataError(f"two bags have the same name: {', '.join(names)}; rename one")
    return [
        EvaluationSet(BagDepthSet(name=name, truth=truth), place=str(path))
        for name, path in zip(names, paths, strict=True)
    ]


def _of_protocol(root: Path, names: Sequence[str] | None, protocol: Protocol) -> list[EvaluationSet]:
    """Return the sets of a protocol that are requested, or present if none is requested."""
    if not root.is_dir():
        raise DataError(f"--data {root} is not a folder; give the one that contains {', '.join(protocol.sets)}")
    found = []
    for name in protocol.sets if names is None else names:
        rules = protocol.rules(name)
        split, source = rules.split, _PAIRS.get(name) or ALL_SETS.get(name)
        if not isinstance(source, _KINDS.get(protocol.task, DepthSet)):
            raise DataError(f"protocol {protocol.name} scores {name}, which has no reader for {protocol.task}")
        if isinstance(source, MogeSet):
            source = replace(source, size=rules.resize)
        declared = EvaluationSet(source.select(split.fields) if split.fields else source, split=split)
        if declared.is_present(root):
            found.append(declared)
        elif names is not None:
            raise DataError(f"{name} is not under --data {root}")
    if not found:
        raise DataError(
            f"--data {root} has none of the folders of protocol {protocol.name}: {', '.join(protocol.sets)}"
        )
    return found


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


def _known(name: str, root: Path) -> EvaluationSet:
    declared = SCORED_SETS.get(name) or _SEQUENCES.get(name)
    if declared is None:
        of = [other for other in protocol_names() if name in find_protocol(other).sets]
        hint = f"give --protocol {' or '.join(of)}" if of else "no protocol scores it yet"
        problem = (
            f"{name} is not scored by the protocols full and published: {hint}"
            if name in ALL_SETS
            else f"there is no set {name!r}"
        )
        suggestion = "" if name in ALL_SETS else did_you_mean(name, SCORED_SETS)
        choices = f"; sets that can be evaluated are {', '.join(SCORED_SETS)}, and {RGBD}, a folder of your own"
        raise DataError(problem + (suggestion or choices))
    if not declared.is_present(root):
        is_package = isinstance(declared.source, MotorcycleSet)
        raise DataError(declared.source.empty_message(root) if is_package else f"{name} is not under --data {root}")
    return declared
