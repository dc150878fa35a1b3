"""The declaration of a folder of images with depth: from options, or from its rgbd.yaml."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.system.did_you_mean import did_you_mean

FILE = "rgbd.yaml"
MATCHES = ("name", "number", "time")
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Declaration:
    """Where images and depth are, how they are paired, and what depth means. None means automatic.

    Attributes:
        images: a folder, a glob such as ``rgb/*.png``, or a pattern with fields such as ``{scene}/rgb/{frame}.png``.
        depths: the same for depth; both must have fields, or neither.
        match: "name", "number" or "time".
        pairs: a text file with an image and its depth, or only the name of an image, per line.
        depth_scale: meters per stored unit.
        camera: fx, fy, cx, cy in pixels, optionally with width and height of their image, or a file.
        depth_key: see `StoredDepth`.
        invalid: see `StoredDepth`.
        resize_depth: see `StoredDepth`.
    """

    images: str | None = None
    depths: str | None = None
    match: str | None = None
    pairs: str | None = None
    depth_scale: float | None = None
    camera: Numbers | str | None = None
    depth_key: str | None = None
    invalid: tuple[float, ...] = ()
    resize_depth: bool = False

    def __post_init__(self) -> None:
        """Check what does not depend on the files. Raises `DataError`."""
        if self.match is not None and self.match not in MATCHES:
            raise DataError(f"match is {self.match!r}, must be {', '.join(MATCHES)}")
        if self.pairs is not None and (self.match or self.images or self.depths):
            raise DataError("pairs already lists images and depth: leave out images, depths and match")
        if (self.images is None) != (self.depths is None):
            raise DataError("images needs depths, and the reverse: give both, or neither")
        if self.images is not None and ("{" in self.images) != ("{" in self.depths):
            raise DataError(f"images is {self.images}, depths is {self.depths}: both must have {{fields}}, or neither")

    def over(self, other: Declaration) -> Declaration:
        """Return the other declaration with the values of this one on top."""
        values = {item.name: (getattr(self, item.name), item.default) for item in fields(self)}
        given = {name: value for name, (value, default) in values.items() if value != default}
        if "images" in given or "pairs" in given:  # these replace each other
            given = {"images": None, "depths": None, "pairs": None, "match": None, **given}
        elif "match" in given:
            given["pairs"] = None
        return replace(other, **given)


def located(path: str) -> str:
    """Return the absolute path of an existing file; otherwise the path is relative to the folder of the images."""
    return str(Path(path).absolute()) if Path(path).is_file() else path


def read_declaration(root: Path) -> tuple[Path, Declaration]:
    """Return a folder and the declaration in its rgbd.yaml, if any.

    ``root`` is the folder, or a file like rgbd.yaml elsewhere. The ``folder`` of such a file is relative to the file.
    Raises `DataError`, naming the file and the problem.
    """
    file = root / FILE if root.is_dir() else root
    if root.is_dir() and not file.exists():
        return root, Declaration()
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8-sig")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"cannot read {file}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise DataError(f"{file} must contain names and values, such as depth_scale: 0.001")
    try:
        folder = file.parent / str(values.pop("folder", "."))
        declaration = Declaration(**{name: _value(name, value) for name, value in values.items()})
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    if not folder.is_dir():
        raise DataError(f"{file}: folder: there is no folder {folder}")
    return folder, declaration


def _value(name: str, value: Any) -> Any:
    """Return a value of the file in the form of `Declaration`. Raises `DataError`, naming it."""
    known = [item.name for item in fields(Declaration)]
    if name not in known:
        meant = did_you_mean(str(name), known) or f"; settings are folder, {', '.join(known)}"
        raise DataError(f"there is no setting {name!r}{meant}")
    parsers = {"depth_scale": scale_of, "camera": camera_of, "invalid": _numbers, "resize_depth": _truth}
    try:
        return parsers.get(name, _text)(value)
    except DataError as error:
        raise DataError(f"{name} {error}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise DataError(f"is {value!r}, must be text")
    return value


def _numbers(value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(number, (int, float)) for number in values):
        raise DataError(f"is {value!r}, must be stored numbers that mean unknown")
    return tuple(float(number) for number in values)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise DataError(f"is {value!r}, must be true or false")
    return value


def scale_of(value: Any) -> float:
    """Return meters per unit of a number, or of text such as "0.001" and "1/5000". Numbers above 1 are units per meter.

    Raises `DataError`, "is …", for anything but a positive number.
    """
    try:
        number = float(Fraction(value)) if isinstance(value, str) else float(value)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise DataError(f"is {value!r}, must be a number such as 0.001, 1/5000 or 5000") from error
    if isinstance(value, bool) or not math.isfinite(number) or number <= 0:
        raise DataError(f"is {value!r}, must be a positive number such as 0.001, 1/5000 or 5000")
    return 1 / number if number > 1 else number


def camera_of(value: Any) -> Numbers | str:
    """Return fx, fy, cx, cy, optionally width and height, from a list, a mapping or text with commas.

    Other text is the name of a file.

    Raises `DataError`, "is …", for anything else.
    """
    names = ("fx", "fy", "cx", "cy", "width", "height")
    if isinstance(value, dict) and set(names[:4]) <= value.keys() <= set(names):
        numbers = [value[name] for name in names if name in value]
    else:
        numbers = value.split(",") if isinstance(value, str) else value
    if isinstance(value, str) and not _is_number(numbers[0]):
        return value
    if not isinstance(numbers, list) or len(numbers) not in (4, 6) or not all(map(_is_number, numbers)):
        raise DataError(f"is {value!r}, must be fx, fy, cx and cy in pixels, or the name of a file")
    camera = tuple(map(float, numbers))
    sides = camera[4:]
    if not all(map(math.isfinite, camera)) or min(camera[:2]) <= 0 or any(side < 1 or side % 1 for side in sides):
        raise DataError(f"is {value!r}: fx and fy must be positive, width and height whole numbers, all of them finite")
    return camera


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
