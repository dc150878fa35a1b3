"""Clouds that are larger than the shared memory that they are sent through."""

from __future__ import annotations

from depth_anything_ros.postprocessing.point_cloud import organized_size


def large_cloud_advice(size: tuple[int, int], stride: int, point_step: int, memory: int | None) -> str:
    """What to say of a cloud that does not fit, with a stride of which two do; "" where it fits.

    Args:
        size: (height, width) of the depth that it is made of.
        stride: every ``stride``-th row and column of which is taken.
        point_step: bytes of a point.
        memory: bytes of shared memory; None where nothing bounds it.
    """

    def nbytes(stride: int) -> int:
        rows, columns = organized_size(*size, stride)
        return rows * columns * point_step

    if memory is None or nbytes(stride) <= memory:
        return ""
    rows, columns = organized_size(*size, stride)
    fitting = next((larger for larger in range(stride + 1, max(size) + 1) if 2 * nbytes(larger) <= memory), max(size))
    return (
        f"a cloud of {columns}x{rows} points has {nbytes(stride) / 1e6:.1f} MB, more than the {memory / 1e6:.1f} MB of "
        "shared memory that Fast DDS has for it: it goes in pieces, and a listener that is busy loses it; set "
        f"points.stride to {fitting} ({nbytes(fitting) / 1e6:.1f} MB) or a smaller output.width, or raise segment_size "
        "in a copy of the profile (docs/middleware.md)"
    )
