"""Captions and legends, in strips below a picture, never over it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

PAPER, INK = (28, 28, 28), (235, 235, 235)
"""Gray, so that they are equal in RGB and BGR."""
LINE, MARGIN = 18, 6
"""Pixels: height of a line, and margin next to the text."""
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
RULE = 1
"""Pixels: height of the line between a picture and its explanation."""
RAMP = (160, 10)
"""Width and height in pixels of a legend's color ramp."""


def strip(text: str, width: int) -> np.ndarray:
    """Return a strip uint8 (H, ``width``, 3) with text.

    Args:
        text: one or more lines; the middle of a long line is cut.
        width: in pixels.
    """
    lines = text.split("\n")
    picture = np.full((LINE * len(lines), width, 3), PAPER, np.uint8)
    for number, line in enumerate(lines, start=1):
        write_text(picture, _fitted(line, width - 2 * MARGIN), MARGIN, LINE * number - 5)
    return picture


def captioned(picture: np.ndarray, text: str) -> np.ndarray:
    """Return a picture with a caption below.

    Args:
        picture: uint8 (H, W, 3), RGB or BGR.
        text: one or more lines; the middle of a long line is cut.
    """
    return np.vstack([picture, strip(text, picture.shape[1])])


def footed(picture: np.ndarray, text: str, legends: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Return a picture with an explanation and legends below, padded if it is too narrow for them.

    Args:
        picture: uint8 (H, W, 3), RGB or BGR.
        text: wrapped to the picture's width.
        legends: from `legend`.
    """
    width = max([picture.shape[1], *(legend.shape[1] for legend in legends)])
    rule = np.full((RULE, 1, 3), INK, np.uint8).repeat(width, axis=1)
    rows = [picture, rule, strip("\n".join(_wrapped(text, width - 2 * MARGIN)), width), *legends]
    return np.vstack([_widened(row, width) for row in rows])


def legend(colors: np.ndarray, low: str, high: str) -> np.ndarray:
    """Return a strip that explains colors: ``low``, the color ramp, ``high``.

    Args:
        colors: uint8 (N, 3), from the lowest value's to the highest's, in the picture's color order.
        low: label of the lowest value.
        high: label of the highest value.
    """
    before, after = _width(low), _width(high)
    picture = np.full((LINE, before + RAMP[0] + after + 4 * MARGIN, 3), PAPER, np.uint8)
    write_text(picture, low, MARGIN, LINE - 5)
    left, top = before + 2 * MARGIN, (LINE - RAMP[1]) // 2
    chosen = np.linspace(0, len(colors) - 1, RAMP[0]).round().astype(int)
    picture[top : top + RAMP[1], left : left + RAMP[0]] = colors[chosen]
    write_text(picture, high, left + RAMP[0] + MARGIN, LINE - 5)
    return picture


def write_text(picture: np.ndarray, text: str, left: int, baseline: int) -> None:
    """Write one line of text into a picture.

    Args:
        picture: uint8 (H, W, 3), changed in place.
        text: characters other than ASCII become "?".
        left: column of the text's left edge.
        baseline: row of the text's baseline.
    """
    cv2.putText(picture, _ascii(text), (left, baseline), _FONT, _SCALE, INK, 1, cv2.LINE_AA)


def _ascii(text: str) -> str:
    """Replace other characters, which OpenCV's font does not have."""
    return text.encode("ascii", "replace").decode()


def _width(text: str) -> int:
    return cv2.getTextSize(_ascii(text), _FONT, _SCALE, 1)[0][0]


def _fitted(text: str, width: int) -> str:
    """Return the text, or as much of its beginning and end as fits."""
    if _width(text) <= width:
        return text
    kept = next((count for count in range(len(text) - 1, 1, -1) if _width(_shortened(text, count)) <= width), 1)
    return _shortened(text, kept)


def _shortened(text: str, count: int) -> str:
    end = count // 2
    return f"{text[: count - end]}...{text[len(text) - end :]}"


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _widened(picture: np.ndarray, width: int) -> np.ndarray:
    missing = width - picture.shape[1]
    if missing <= 0:
        return picture
    return np.hstack([picture, np.full((len(picture), missing, 3), PAPER, np.uint8)])
