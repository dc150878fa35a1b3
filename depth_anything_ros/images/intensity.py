"""Map 16 bits to the 8 bits of networks: one rule for the black and white levels of cameras, files and bags.

A camera of 10, 12 or 14 bits uses the low end of a 16-bit word, a thermal camera a narrow band in the middle. The high
byte alone would be a dark, banded image, from which a network reads noise.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

log = logging.getLogger(__name__)

FULL_RANGE = (0, 65535)
CHOICES = "auto, full, percentile or LOW,HIGH, such as 7000,9000"
"""Valid input ranges, as text."""

_BIT_DEPTHS = (8, 10, 12, 14, 16)
_PERCENTILES = (1, 99)
_HOT = 10_000
"""One value in this many may exceed the bits in use: a hot pixel gives no information about the others."""
_SAMPLES_A_SIDE = 96
"""Rows and columns to sample for percentiles: about 10 000 pixels determine them to a few tenths of a percent."""
_STRETCHED_BELOW = {16: 1 / 16}
_STRETCHED_BELOW_OTHERWISE = 1 / 4
"""Fraction of the full range of its bits below which an image is stretched: 64 of 256 gray levels cost little. An image
that uses all 16 bits comes from a camera that shifts its values up, so only a far narrower band is worth it, such as
that of a thermal camera in hundredths of a kelvin."""
_STAYS_STRETCHED = 2
"""Factor on that fraction up to which a stretched image stays stretched."""
_MARGIN = 0.1
"""Margin of the range at both ends, as a fraction of the band of values, so that it need not move with each image."""
_MIN_FILLED = 1 / 2
"""Fraction of the range that the values must fill for it to stay."""
_PACE = 0.1
"""Fraction of the distance that a moving range covers with each image."""
_ARRIVED = 0.02
"""Fraction of the range within which a moving range has reached its target."""
_NARROWEST_VALUES, _NARROWEST_SHARE = 256, 1 / 64
"""The narrowest range: more stretching would amplify sensor noise to texture."""


@dataclass(frozen=True)
class InputRange:
    """The rule that determines the range.

    Attributes:
        mode: "auto" uses the full range of the bits in use, or the band of values if that is much narrower; "full" uses
            16 bits; "percentile" always uses the band of values; "fixed" uses ``low`` to ``high``.
        low: value that becomes black.
        high: value that becomes white.
    """

    mode: str = "auto"
    low: int = FULL_RANGE[0]
    high: int = FULL_RANGE[1]

    @classmethod
    def of(cls, text: str) -> InputRange:
        """Parse one of `CHOICES`. Raises `ValueError`, whose message lists them."""
        if text in ("auto", "full", "percentile"):
            return cls(text)
        try:
            low, high = (int(number) for number in text.split(","))
        except ValueError:
            raise ValueError(f"{text!r} is not an input range; give {CHOICES}") from None
        if not FULL_RANGE[0] <= low < high <= FULL_RANGE[1]:
            raise ValueError(f"input range {text} must be 0 <= LOW < HIGH <= 65535")
        return cls("fixed", low, high)


AUTO = InputRange()


class IntensityMapper:
    """A map from one camera's 16-bit images to 8 bits. Not thread-safe.

    The range persists between images, or depth would flicker with it. The number of bits in use only grows. A band of
    values moves if an image exceeds it or fills less than half of it, by a tenth of the distance with each image.

    Args:
        requested: the rule that determines the range.

    Attributes:
        requested: as given.
        note: a warning about the images and their range: they use few of their bits, or do not fit the requested range.
            None without a warning, and while the images are black.
    """

    def __init__(self, requested: InputRange = AUTO) -> None:
        self.note: str | None = None
        self.requested = requested
        self._bits = 0
        self._band: tuple[float, float] | None = None
        self._is_moving = False
        self._above_low: np.ndarray | None = None

    def __call__(self, pixels: np.ndarray, out: np.ndarray) -> None:
        """Map an image into ``out``.

        The range is divided into 256 equal steps: 12 bits are shifted by 4, and 16 bits give the high byte. Values
        outside become black or white.

        Args:
            pixels: uint16 (H, W) or (H, W, C); only rows can be padded.
            out: contiguous uint8 of the same shape.
        """
        flat, target = pixels.reshape(len(pixels), -1), out.reshape(len(pixels), -1)
        low, high = self._range(pixels, flat)
        if low:
            if self._above_low is None or self._above_low.shape != flat.shape:
                self._above_low = np.empty(flat.shape, np.uint16)
            flat = _subtract(flat, low, self._above_low)
        step = 256 / (high - low + 1)
        cv2.convertScaleAbs(flat, dst=target, alpha=step, beta=step / 2 - 0.5)  # it rounds, while a shift truncates

    def _range(self, pixels: np.ndarray, flat: np.ndarray) -> tuple[int, int]:
        """Return the black and white levels, given the image and the same with its channels side by side."""
        requested = self.requested
        is_given = requested.mode in ("full", "fixed")
        if is_given and self._bits:
            return requested.low, requested.high
        lowest, highest, *_ = cv2.minMaxLoc(flat)
        if not highest:  # a black image has no information: a thermal camera's shutter may be closed
            return requested.low, requested.high
        rows, columns = (-(-side // _SAMPLES_A_SIDE) for side in pixels.shape[:2])
        band = tuple(np.percentile(pixels[::rows, ::columns], _PERCENTILES))
        bits = next(bits for bits in _BIT_DEPTHS if bits >= self._bits and _fits(flat, highest, bits))
        has_grown = bits > self._bits
        if has_grown:
            self._bits, self._band = bits, None
        low, high = (requested.low, requested.high) if is_given else self._follow(band)
        if has_grown:
            self.note = self._note((lowest, highest), band, (low, high))
        return low, high

    def _follow(self, band: tuple[float, float]) -> tuple[int, int]:
        """Return the range for "auto" and "percentile", given the percentiles of this image."""
        full, width = (1 << self._bits) - 1, band[1] - band[0]
        limit = self._stretched_below() * (1 if self._band is None else _STAYS_STRETCHED)
        if self.requested.mode == "auto" and width >= limit * full:
            self._band = None
            return 0, full
        narrowest = max(_NARROWEST_VALUES, _NARROWEST_SHARE * full)
        target = _widened(band, narrowest)
        if self._band is None:
            self._band, self._is_moving = target, False
        low, high = self._band
        is_outgrown = band[0] < low or band[1] > high
        is_too_wide = high - low > narrowest and width < _MIN_FILLED * (high - low)
        if self._is_moving or is_outgrown or is_too_wide:
            distance = max(abs(target[0] - low), abs(target[1] - high))
            self._is_moving = distance > _ARRIVED * (high - low)
            self._band = low + _PACE * (target[0] - low), high + _PACE * (target[1] - high)
        low, high = self._band
        return max(FULL_RANGE[0], round(low)), min(FULL_RANGE[1], round(high))

    def _stretched_below(self) -> float:
        return _STRETCHED_BELOW.get(self._bits, _STRETCHED_BELOW_OTHERWISE)

    def _note(self, values: tuple[float, float], band: tuple[float, float], taken: tuple[int, int]) -> str | None:
        is_worth_it = {
            "auto": taken != FULL_RANGE,
            "full": self._bits < 16 or band[1] - band[0] < self._stretched_below() * FULL_RANGE[1],
            "fixed": band[1] <= taken[0] or band[0] >= taken[1],
            "percentile": False,
        }
        if not is_worth_it[self.requested.mode]:
            return None
        exception = ", except hot pixels" if values[1] >= 1 << self._bits else ""
        return (
            f"16-bit images use {self._bits} bits{exception}: values are {values[0]:.0f} to {values[1]:.0f}, "
            f"98 % of them {band[0]:.0f} to {band[1]:.0f}; {taken[0]} becomes black and {taken[1]} white"
        )


def _fits(values: np.ndarray, highest: float, bits: int) -> bool:
    """Return whether this many bits can store the values, except hot pixels."""
    return bool(highest < 1 << bits or np.count_nonzero(values >= 1 << bits) <= values.size // _HOT)


def _subtract(values: np.ndarray, low: int, out: np.ndarray) -> np.ndarray:
    """Return max(values - low, 0) for uint16 (H, W)."""
    if values.size <= 4:  # OpenCV takes a column of four values for a scalar
        return np.subtract(np.maximum(values, np.uint16(low)), np.uint16(low), out=out)
    scalar: Any = float(low)  # OpenCV's type hints omit scalars
    return cv2.subtract(values, scalar, dst=out)


def _widened(band: tuple[float, float], narrowest: float) -> tuple[float, float]:
    """Return the range for a band of values: the band and its margin, at least ``narrowest`` wide, within 16 bits."""
    half = max((1 + 2 * _MARGIN) * (band[1] - band[0]), narrowest - 1) / 2
    center = (band[0] + band[1]) / 2
    return max(center - half, FULL_RANGE[0]), min(center + half, FULL_RANGE[1])


_reported: set[str] = set()


def warn_of_file(name: str, note: str | None) -> None:
    """Log the note on a file's 16 bits, for the first file in this process with this bit depth.

    Args:
        name: of the file, for the log.
        note: `IntensityMapper.note`.
    """
    if note is None or (kind := note.partition(":")[0]) in _reported:
        return
    _reported.add(kind)
    log.warning("%s: %s (reported once for all such images; --input-range LOW,HIGH sets the range)", name, note)
