"""Pictures to judge a model by eye: image, true depth, predicted depth, error."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.protocol import ScoredModel
from depth_anything_ros.visualization.captions import captioned

_PANEL_WIDTH = 480
_WORST = 0.5
"""Relative error that is drawn in the map's last color."""
_SPARSE = 0.4
"""Share of known pixels below which they are drawn larger than they are, to be seen at all."""


class FirstFrame:
    """Keeps what is needed to draw the first frame of a set."""

    def __init__(self) -> None:
        self._frame: LabeledImage | None = None
        self._mask: np.ndarray | None = None
        self._predictions: list[tuple[str, np.ndarray]] = []

    def add(self, frame: LabeledImage, contender: ScoredModel, depth: np.ndarray, mask: np.ndarray) -> None:
        """Takes a prediction; those of later frames are ignored."""
        if self._frame is None:
            self._frame, self._mask = frame, mask
        if frame is self._frame:
            self._predictions.append((contender.name, depth))

    def picture(self) -> np.ndarray:
        """The first frame's comparison, BGR uint8."""
        return comparison(self._frame, self._predictions, self._mask)


def comparison(frame: LabeledImage, predictions: Sequence[tuple[str, np.ndarray]], mask: np.ndarray) -> np.ndarray:
    """One row a prediction: image, true depth, predicted depth, relative error; BGR uint8, 480 pixels a panel.

    ``predictions``: names and aligned depths (H, W) in meters. ``mask``: bool (H, W), the pixels that were scored.
    Depth is colored by its inverse, bright is near, over the range of the true one; error from 0 to 50 %.
    """
    inverse_true = 1.0 / frame.depth.astype(np.float64)
    low, high = np.percentile(inverse_true[mask], (1, 99))
    known = frame.valid
    rows = []
    for name, depth in predictions:
        error = np.abs(depth - frame.depth) / frame.depth
        truth = f"true depth, {1 / high:.3g} (bright) to {1 / low:.3g} m (dark), black: not known"
        scored = f"relative error, 0 (dark) to {_WORST:.0%} (red), black: not scored"
        panels = [
            ("image", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)),
            (
                truth,
                _colored(inverse_true, low, high, cv2.COLORMAP_INFERNO, known),
            ),
            (f"{name}, on the same colors", _colored(1.0 / depth, low, high, cv2.COLORMAP_INFERNO)),
            (
                scored,
                _colored(error, 0, _WORST, cv2.COLORMAP_TURBO, mask),
            ),
        ]
        rows.append(cv2.hconcat([_titled(title, panel) for title, panel in panels]))
    return cv2.vconcat(rows)


def _colored(values: np.ndarray, low: float, high: float, colors: int, known: np.ndarray | None = None) -> np.ndarray:
    """Values (H, W) as BGR uint8 (H, W, 3); black where not ``known``; sparse points drawn larger to be seen."""
    span = max(high - low, 1e-12)
    levels = np.nan_to_num(np.clip((values - low) / span, 0, 1) * 255).astype(np.uint8)
    picture = cv2.applyColorMap(levels, colors)
    if known is not None:
        picture[~known] = 0
        if known.mean() < _SPARSE:
            spread = cv2.dilate(picture, np.ones((3, 3), np.uint8))
            picture = np.where(known[..., None], picture, spread)
    return picture


def _titled(title: str, panel: np.ndarray) -> np.ndarray:
    """The panel at its width in the picture, above a strip that bears its title."""
    height, width = panel.shape[:2]
    size = _PANEL_WIDTH, round(height * _PANEL_WIDTH / width)
    return captioned(cv2.resize(panel, size, interpolation=cv2.INTER_AREA), title)
