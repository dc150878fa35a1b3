"""Advice about clouds that do not fit into the shared memory of the middleware."""

from __future__ import annotations

from depth_anything_ros.postprocessing.point_cloud import organized_size


def large_cloud_advice(size: tuple[int, int], stride: int, point_step: int, memory: int | None) -> str:
    """Return advice for a cloud that does not fit, with a stride at which two clouds fit; "" if it fits.

    Args:
        size: (height, width) of the depth map.
        stride: every ``stride``-th row and column becomes a point.
        point_step: bytes per point.
        memory: bytes of shared memory; None for no limit.
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
        "shared memory that Fast DDS has: it is sent in fragments, and a busy subscriber loses it; set "
        f"points.stride to {fitting} ({nbytes(fitting) / 1e6:.1f} MB) or a smaller output.width, or raise segment_size "
        "in a copy of the profile (docs/middleware.md)"
    )
