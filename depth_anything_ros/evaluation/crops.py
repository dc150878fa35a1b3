"""Crops of papers: the rows and columns that are scored, and the part of an image that a model sees.

Each takes height and width of an image in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

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


def eigen_kitti_crop(height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns that Eigen et al. and Marigold score on KITTI.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
    """
    rows = slice(int(0.3324324 * height), int(0.91351351 * height))
    return rows, slice(int(0.0359477 * width), int(0.96405229 * width))


def kitti_benchmark_crop(height: int, width: int) -> tuple[slice, slice]:
    """Return the bottom center of 352x1216 that KITTI's benchmark uses; the whole image if it is smaller.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
    """
    if height < 352 or width < 1216:
        return slice(0, height), slice(0, width)
    left = (width - 1216) // 2
    return slice(height - 352, height), slice(left, left + 1216)


def scannet_crop(height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns that DepthCrafter and Video Depth Anything score on ScanNet: no black border.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
    """
    return slice(8, height - 8), slice(11, width - 11)


CROPS: dict[str, Crop] = {
    "garg": garg_crop,
    "eigen": eigen_crop,
    "eigen_kitti": eigen_kitti_crop,
    "scannet": scannet_crop,
}
"""Crops of the scored pixels by their names in protocol files."""
INPUT_CROPS: dict[str, Crop] = {"kitti_benchmark": kitti_benchmark_crop}
"""Crops of image and truth, before the model sees the image."""
