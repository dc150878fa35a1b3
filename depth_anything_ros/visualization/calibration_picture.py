"""The picture of a calibration: for each source its residuals by range, ln a over time, and one frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.visualization.captions import INK, PAPER, footed, legend, write_text
from depth_anything_ros.visualization.grid import titled_row

HEIGHT, WIDTH = 270, 360
"""Pixels of one panel."""
LIMIT = 0.3
"""Relative error that the colors show, up to."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 10, 24
_GRAY, _BLUE, _ORANGE = (90, 90, 90), (90, 150, 255), (255, 160, 60)
_EXPLANATION = (
    "Left: error of the depth by the distance of the references: median and 16th to 84th percentile. Middle: ln a of "
    "each frame, with the fixed pair as line. Right: references of one frame, colored by the error of the depth."
)


@dataclass(frozen=True)
class SourcePlot:
    """What the picture shows of one source.

    Attributes:
        name: of the source.
        bins: for each bin of distance: nearest and farthest in meters, then 16th percentile, median and 84th percentile
            of the relative error.
        times: float64 (F,), seconds.
        log_a: float64 (F,).
        fixed_log_a: of the fixed pair.
        image: RGB uint8 (H, W, 3), one frame.
        pixels: float64 (N, 2), u and v of its references.
        errors: float64 (N,), the relative error of depth at each.
    """

    name: str
    bins: Sequence[tuple[float, float, float, float, float]]
    times: np.ndarray
    log_a: np.ndarray
    fixed_log_a: float
    image: np.ndarray
    pixels: np.ndarray
    errors: np.ndarray


def calibration_picture(plots: Sequence[SourcePlot]) -> np.ndarray:
    """Return the picture, RGB uint8 (H, W, 3), with one row for each source.

    Args:
        plots: at least one.
    """
    rows = []
    for plot in plots:
        titles = (
            f"{plot.name}: error in % by range in m",
            f"{plot.name}: ln a over seconds",
            f"{plot.name}: one frame",
        )
        rows.append(titled_row(titles, (_by_range(plot), _over_time(plot), _one_frame(plot))))
    percent = f"{100 * LIMIT:.0f} %"
    return footed(np.vstack(rows), _EXPLANATION, [legend(_ramp(), f"too near by {percent}", f"too far by {percent}")])


def _by_range(plot: SourcePlot) -> np.ndarray:
    reach = max([0.05, *(abs(value) for part in plot.bins for value in part[2:])])
    axes = _Axes((0, max(len(plot.bins), 1)), (-100 * min(reach, 1.5), 100 * min(reach, 1.5)))
    axes.line((0, axes.x[1]), (0, 0), _GRAY)
    for number, (nearest, farthest, low, median, high) in enumerate(plot.bins):
        axes.box((number + 0.2, number + 0.8), (100 * low, 100 * high), _BLUE)
        axes.line((number + 0.2, number + 0.8), (100 * median, 100 * median), INK, 2)
        axes.label(number + 0.1, f"{nearest:g}" if math.isinf(farthest) else f"{nearest:g}-{farthest:g}")
    return axes.picture


def _over_time(plot: SourcePlot) -> np.ndarray:
    times = plot.times - plot.times[0]
    low, high = (float(bound(np.append(plot.log_a, plot.fixed_log_a))) for bound in (np.min, np.max))
    margin = max(0.1 * (high - low), 0.02)
    axes = _Axes((0, max(float(times[-1]), 1e-3)), (low - margin, high + margin))
    axes.line((0, axes.x[1]), (plot.fixed_log_a, plot.fixed_log_a), _ORANGE)
    axes.line(times, plot.log_a, _BLUE)
    for time, value in zip(times, plot.log_a, strict=True):
        axes.dot(float(time), float(value), INK)
    for share in (0, 0.5, 0.9):
        axes.label(share * axes.x[1], f"{share * axes.x[1]:.3g}")
    return axes.picture


def _one_frame(plot: SourcePlot) -> np.ndarray:
    height, width = plot.image.shape[:2]
    scale = min(HEIGHT / height, WIDTH / width)
    small = cv2.resize(
        plot.image, (max(1, round(scale * width)), max(1, round(scale * height))), interpolation=cv2.INTER_AREA
    )
    picture = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    picture[: len(small), : small.shape[1]] = small // 2  # darker, so that the references stand out
    levels = np.clip(np.nan_to_num(plot.errors, nan=1.0, posinf=1.0) / LIMIT, -1, 1)
    colors = _ramp()[np.rint(127.5 * (levels + 1)).astype(int)]
    for (u, v), color in zip(plot.pixels * scale, colors.tolist(), strict=True):
        cv2.circle(picture, (round(float(u)), round(float(v))), 2, color, -1, cv2.LINE_AA)
    return picture


def _ramp() -> np.ndarray:
    """Return the colors from too near, blue, over white to too far, red: uint8 (256, 3) RGB."""
    position = np.linspace(0, 1, 256)
    return np.stack(
        [np.interp(position, (0, 0.5, 1), stops) for stops in ((40, 255, 230), (90, 255, 40), (255, 255, 30))], 1
    ).astype(np.uint8)


class _Axes:
    """A panel with a vertical scale, in the units of the data."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.x, self.y = x, y
        self.picture = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
        cv2.rectangle(self.picture, (_LEFT, _TOP), (WIDTH - _RIGHT, HEIGHT - _BOTTOM), _GRAY)
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            value = y[0] + share * (y[1] - y[0])
            write_text(self.picture, f"{value:.3g}", 4, self._row(value) + 4)

    def _column(self, value: float) -> int:
        return round(_LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - _LEFT - _RIGHT))

    def _row(self, value: float) -> int:
        share = min(max((value - self.y[0]) / (self.y[1] - self.y[0]), 0.0), 1.0)
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM))

    def line(
        self, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, color: Sequence[int], thickness: int = 1
    ) -> None:
        points = np.array([(self._column(float(u)), self._row(float(v))) for u, v in zip(x, y, strict=True)], np.int32)
        cv2.polylines(self.picture, [points], False, tuple(color), thickness, cv2.LINE_AA)

    def box(self, x: tuple[float, float], y: tuple[float, float], color: Sequence[int]) -> None:
        corners = (self._column(x[0]), self._row(y[1])), (self._column(x[1]), self._row(y[0]))
        cv2.rectangle(self.picture, *corners, tuple(color), -1)

    def dot(self, x: float, y: float, color: Sequence[int]) -> None:
        cv2.circle(self.picture, (self._column(x), self._row(y)), 2, tuple(color), -1, cv2.LINE_AA)

    def label(self, x: float, text: str) -> None:
        write_text(self.picture, text, self._column(x), HEIGHT - 8)
