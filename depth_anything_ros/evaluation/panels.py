"""Pictures to inspect a model: image, true depth, predicted depth, error."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.visualization.grid import titled_row

_PANEL_WIDTH = 480
_WORST = 0.5
"""Relative error of the color map's last color."""
_SPARSE = 0.4
"""If a smaller share of pixels is known, they are drawn larger to be visible."""


class FirstFrame:
    """The first frame of a set with its predictions, to draw them."""

    def __init__(self) -> None:
        self._frame: LabeledImage | None = None
        self._mask: np.ndarray | None = None
        self._predictions: list[tuple[str, np.ndarray]] = []

    def add(self, frame: LabeledImage, model: ScoredModel, depth: np.ndarray, mask: np.ndarray) -> None:
        """Store a prediction for the first frame; ignore predictions for later frames.

        Args:
            frame: the frame with its true depth.
            model: the model that predicts.
            depth: aligned depth (H, W), meters.
            mask: bool (H, W), the pixels that are scored.
        """
        if self._frame is None:
            self._frame, self._mask = frame, mask
        if frame is self._frame:
            self._predictions.append((model.name, depth))

    @property
    def is_known(self) -> bool:
        """Return whether a frame has been added."""
        return self._frame is not None

    def picture(self) -> np.ndarray:
        """Return the comparison of the first frame, BGR uint8."""
        return comparison(self._frame, self._predictions, self._mask)


def comparison(frame: LabeledImage, predictions: Sequence[tuple[str, np.ndarray]], mask: np.ndarray) -> np.ndarray:
    """Draw one row per prediction: image, true depth, predicted depth, relative error.

    Depth is colored by its inverse over the range of the true depth; near is bright. Error is colored from 0 to 50 %.

    Args:
        frame: the frame with its true depth.
        predictions: names and aligned depths (H, W) in meters.
        mask: bool (H, W), the pixels that are scored.

    Returns:
        BGR uint8; a panel is 480 pixels wide.
    """
    inverse_true = 1.0 / frame.depth.astype(np.float64)
    low, high = np.percentile(inverse_true[mask], (1, 99))
    known = frame.valid
    rows = []
    for name, depth in predictions:
        error = np.abs(depth - frame.depth) / frame.depth
        truth = f"true depth, {1 / high:.3g} (bright) to {1 / low:.3g} m (dark), black: unknown"
        scored = f"relative error, 0 (dark) to {_WORST:.0%} (red), black: not scored"
        panels = [
            cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR),
            _colored(inverse_true, low, high, cv2.COLORMAP_INFERNO, known),
            _colored(1.0 / depth, low, high, cv2.COLORMAP_INFERNO),
            _colored(error, 0, _WORST, cv2.COLORMAP_TURBO, mask),
        ]
        rows.append(titled_row(["image", truth, f"{name}, on the same colors", scored], list(map(_resized, panels))))
    return np.vstack(rows)


def _colored(values: np.ndarray, low: float, high: float, colors: int, known: np.ndarray | None = None) -> np.ndarray:
    """Color values (H, W) as BGR uint8 (H, W, 3): black where not ``known``; sparse points are drawn larger."""
    span = max(high - low, 1e-12)
    levels = np.nan_to_num(np.clip((values - low) / span, 0, 1) * 255).astype(np.uint8)
    picture = cv2.applyColorMap(levels, colors)
    if known is not None:
        picture[~known] = 0
        if known.mean() < _SPARSE:
            spread = cv2.dilate(picture, np.ones((3, 3), np.uint8))
            picture = np.where(known[..., None], picture, spread)
    return picture


def _resized(panel: np.ndarray) -> np.ndarray:
    """Return the panel at its final width."""
    height, width = panel.shape[:2]
    size = _PANEL_WIDTH, round(height * _PANEL_WIDTH / width)
    return cv2.resize(panel, size, interpolation=cv2.INTER_AREA)
