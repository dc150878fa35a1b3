"""A picture in a terminal: two pixels for each character, in 24-bit colors."""

from __future__ import annotations

import cv2
import numpy as np

UPPER_HALF = "▀"
RESET = "\x1b[0m"


def terminal_picture(rgb: np.ndarray, columns: int, rows: int) -> str:
    """Return a picture as lines for a terminal, as large as fits, with its proportions.

    Args:
        rgb: uint8 (H, W, 3).
        columns: width of the terminal in characters.
        rows: maximum height in characters; each is two pixels high.
    """
    height, width = rgb.shape[:2]
    scale = min(columns / width, 2 * rows / height)
    size = max(int(width * scale), 1), max(int(height * scale) // 2 * 2, 2)
    small = cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA)
    return "\n".join(_line(upper, lower) + RESET for upper, lower in zip(small[::2], small[1::2], strict=True))


def _line(upper: np.ndarray, lower: np.ndarray) -> str:
    """Return one line: the foreground is the upper pixel, the background the lower one."""
    return "".join(
        f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m{UPPER_HALF}"
        for a, b in zip(upper.tolist(), lower.tolist(), strict=True)
    )
