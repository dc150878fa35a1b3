"""Check of a set on disk: the number of images, and whether samples of them decode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import reraise_disk_error, skip_reason
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.segmentation import IGNORED, SegmentationSet
from depth_anything_ros.visualization.captions import captioned, footed, legend
from depth_anything_ros.visualization.colormap import colorize, ramp
from depth_anything_ros.visualization.grid import grid

PANEL = (180, 240)
"""Height and width of a picture in the contact sheet."""
COLUMNS = 4


@dataclass(frozen=True)
class CheckedSample:
    """One checked image.

    Attributes:
        name: the image.
        problem: the reason it could not be read, or None.
        size: height and width.
        known: the share of pixels with known depth or class.
        sky: the share of sky.
        nearest: the 1st percentile of depth.
        farthest: the 99th percentile of depth.
        picture: the image next to its depth or classes, BGR uint8.
    """

    name: str
    problem: str | None = None
    size: tuple[int, int] | None = None
    known: float | None = None
    sky: float | None = None
    nearest: float | None = None
    farthest: float | None = None
    picture: np.ndarray | None = None

    @property
    def description(self) -> str:
        """Return one line about the sample."""
        if self.problem is not None:
            return f"CANNOT BE READ: {self.problem}"
        height, width = self.size
        text = f"{width}x{height}"
        if self.known is not None:
            text += f", {100 * self.known:.0f} % known"
        if self.sky:
            text += f", {100 * self.sky:.0f} % sky"
        if self.nearest is not None:
            text += f", depth {self.nearest:.3g} to {self.farthest:.3g}"
        return text

    def to_dictionary(self) -> dict[str, object]:
        """Return everything except the picture."""
        names = ("name", "problem", "size", "known", "sky", "nearest", "farthest")
        values = {name: getattr(self, name) for name in names}
        keys = {"problem": "trouble"}  # the key of earlier releases
        return {keys.get(name, name): value for name, value in values.items() if value is not None}


def evenly_spaced(items: Sequence[str], limit: int) -> list[str]:
    """Return at most ``limit`` of the items, evenly spaced from the first; 0 means all.

    Args:
        items: the items.
        limit: their maximum number.
    """
    count = min(limit, len(items)) if limit > 0 else len(items)
    return [items[index * len(items) // count] for index in range(count)]


def count_and_choose(names: Iterable[str], limit: int) -> tuple[int, list[str]]:
    """Count the names, and choose at most ``limit`` of them, evenly spaced from the first.

    Sets have tens of millions of names, so only some thousands are held. When they become too many, every second one is
    dropped.

    Args:
        names: the names.
        limit: their maximum number; 0 means all.

    Returns:
        The number of names, and the chosen ones.
    """
    kept: list[str] = []
    count, step, most = 0, 1, max(4096, 4 * limit)
    for name in names:
        if count % step == 0:
            if limit and len(kept) == most:
                kept, step = kept[::2], 2 * step
            kept.append(name)
        count += 1
    return count, evenly_spaced(kept, limit)


def check_samples(declared: ImageSet, root: Path, names: Sequence[str]) -> Iterator[CheckedSample]:
    """Decode images with their depth or classes, one by one.

    Args:
        declared: the set.
        root: its folder.
        names: the images.

    Raises:
        OSError: a disk error.
        MemoryError: the memory ran out.
        ImportError: a package is missing.
    """
    for name in names:
        try:
            sample = _check(declared, root, name)
        except (OSError, MemoryError, ImportError):
            raise
        except Exception as error:  # libraries raise errors of any kind, and the next image may be intact
            reraise_disk_error(error)
            sample = CheckedSample(name, skip_reason(name, error))
        yield sample


def _check(declared: ImageSet, root: Path, name: str) -> CheckedSample:
    if isinstance(declared, DepthSet):
        frame = declared.read(root, name)
        valid, panels = frame.valid, [panel(frame.image), _depth_panel(frame.depth)]
        nearest, farthest = np.percentile(frame.depth[valid], (1, 99)) if valid.any() else (None, None)
        return CheckedSample(
            name,
            size=frame.depth.shape,
            known=float(frame.known.mean()),
            sky=float(np.isposinf(frame.depth).mean()),
            nearest=None if nearest is None else float(nearest),
            farthest=None if farthest is None else float(farthest),
            picture=cv2.hconcat(panels),
        )
    if isinstance(declared, SegmentationSet):
        image, labels = declared.read(root, name)
        shown = cv2.resize(labels, PANEL[::-1], interpolation=cv2.INTER_NEAREST)
        panels = [panel(image), color_classes(shown, len(declared.classes))[..., ::-1]]
        return CheckedSample(
            name, size=labels.shape, known=float((labels != IGNORED).mean()), picture=cv2.hconcat(panels)
        )
    image = declared.read_image(root, name)
    return CheckedSample(name, size=image.shape[:2], picture=panel(image))


def contact_sheet(samples: Sequence[CheckedSample], title: str) -> np.ndarray | None:
    """Draw the readable samples in rows, each with its description, and a legend of the colors.

    Args:
        samples: the samples.
        title: the title of the sheet.

    Returns:
        BGR uint8; None if no sample is readable.
    """
    read = [sample for sample in samples if sample.picture is not None]
    if not read:
        return None
    pictures = [captioned(sample.picture, f"{sample.name}\n{sample.description}") for sample in read]
    rows = grid(pictures, COLUMNS)
    if all(sample.known is None for sample in read):
        return footed(rows, title)
    if any(sample.nearest is not None for sample in read):
        text = "each image next to its depth, each with its own range; black: unknown"
        return footed(rows, f"{title}; {text}", [legend(ramp()[:, ::-1], "far, sky", "near")])
    return footed(rows, f"{title}; each image next to its classes, one color each; black: none")


def panel(image: np.ndarray) -> np.ndarray:
    """Fit an RGB image into a panel of the sheet, BGR; the aspect ratio stays."""
    height, width = image.shape[:2]
    factor = min(PANEL[0] / height, PANEL[1] / width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    picture = np.zeros((*PANEL, 3), np.uint8)
    picture[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., ::-1]
    return picture


def _depth_panel(depth: np.ndarray) -> np.ndarray:
    """Draw depth in a panel: near is warm, sky is dark, unknown is black. Sparse points are drawn larger."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = (1 / depth).astype(np.float32)
    known = np.isfinite(inverse)
    spread = max(1, round(max(depth.shape[0] / PANEL[0], depth.shape[1] / PANEL[1])))
    if spread > 1:  # the nearest point in each pixel of the panel
        inverse = cv2.dilate(np.where(known, inverse, np.float32(-1)), np.ones((spread, spread), np.uint8))
        inverse[inverse < 0] = np.nan
    return panel(colorize(inverse))


def color_classes(labels: np.ndarray, classes: int) -> np.ndarray:
    """Draw each class in its own color.

    Args:
        labels: uint8 (H, W).
        classes: the number of classes.

    Returns:
        RGB uint8 (H, W, 3); pixels without a class are black.
    """
    hues = (np.arange(256) * 180 // max(classes, 1)).astype(np.uint8)
    table = cv2.cvtColor(
        np.stack([hues, np.full(256, 200, np.uint8), np.full(256, 230, np.uint8)], -1)[None], cv2.COLOR_HSV2RGB
    )[0]
    table[IGNORED] = 0
    return table[labels]
