"""From 16 bits to the 8 that networks see: which values become black and white. One rule for cameras, files and bags.

Of a 16-bit word a camera of 10, 12 or 14 bits uses the low end, a thermal one a narrow band in the middle. Taking the
high byte gives a dark, banded image, from which a network reads noise.
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
"""What an input range may be, in words."""

_BIT_DEPTHS = (8, 10, 12, 14, 16)
_PERCENTILES = (1, 99)
_HOT = 10_000
"""Of so many values one may be beyond the bits in use: a hot pixel says nothing of the others."""
_SAMPLES_A_SIDE = 96
"""Percentiles are taken of so many rows and columns: some 10 000 pixels tell them to a few tenths of a per cent."""
_STRETCHED_BELOW = {16: 1 / 16}
_STRETCHED_BELOW_OTHERWISE = 1 / 4
"""Share of the range of its bits below which an image is stretched: 64 of 256 gray levels cost little. That all 16 bits
are used says already that the camera shifts its values up, so that only a far narrower band is worth it: a thermal
camera of hundredths of a kelvin has one."""
_STAYS_STRETCHED = 2
"""Times that share up to which it stays stretched once it is."""
_MARGIN = 0.1
"""Part of the band of values that the range is wider by at both ends, so that it need not move with each of them."""
_MIN_FILLED = 1 / 2
"""Share of the range that values must fill for it to stay as it is."""
_PACE = 0.1
"""Part of the way that a range which has to move goes with each image."""
_ARRIVED = 0.02
"""Share of the range that is near enough to where it is to go."""
_NARROWEST_VALUES, _NARROWEST_SHARE = 256, 1 / 64
"""The narrowest range: stretching farther makes a texture of the sensor's noise."""


@dataclass(frozen=True)
class InputRange:
    """How the range is found.

    ``mode``: "auto" takes all that the bits in use can hold, or the band of values where that is much narrower; "full"
    all of 16 bits; "percentile" always the band of values; "fixed" ``low`` … ``high``.
    """

    mode: str = "auto"
    low: int = FULL_RANGE[0]
    high: int = FULL_RANGE[1]

    @classmethod
    def of(cls, text: str) -> InputRange:
        """From one of `CHOICES`. Raises `ValueError`, saying what it may be."""
        if text in ("auto", "full", "percentile"):
            return cls(text)
        try:
            low, high = (int(number) for number in text.split(","))
        except ValueError:
            raise ValueError(f"{text!r} is no input range; give {CHOICES}") from None
        if not FULL_RANGE[0] <= low < high <= FULL_RANGE[1]:
            raise ValueError(f"input range {text} must be 0 <= LOW < HIGH <= 65535")
        return cls("fixed", low, high)


AUTO = InputRange()


class IntensityMapper:
    """Maps one camera's 16-bit images to 8 bits. For one thread.

    The range holds from image to image, or depth would breathe with it. Bits in use only ever become more. A band of
    values is left when an image outgrows it, or fills less than half of it, and then moved a tenth of the way with each
    image.

    Attributes:
        wanted: how the range is found.
        note: what the images are like and what is made of them, where that is worth a warning: they use few of their
            bits, or do not fit the range that was asked for. None else, and while they are black.
    """

    def __init__(self, requested: InputRange = AUTO) -> None:
        self.note: str | None = None
        self.requested = requested
        self._bits = 0
        self._band: tuple[float, float] | None = None
        self._is_moving = False
        self._above_low: np.ndarray | None = None

    def __call__(self, pixels: np.ndarray, out: np.ndarray) -> None:
        """Writes ``pixels`` uint16 (H, W) or (H, W, C), whose rows alone may be padded, into contiguous uint8 ``out``.

        The range is divided into 256 equal steps: 12 bits are shifted by 4, and all of 16 give the high byte. What lies
        outside is black or white.
        """
        flat, target = pixels.reshape(len(pixels), -1), out.reshape(len(pixels), -1)
        low, high = self._range(pixels, flat)
        if low:
            if self._above_low is None or self._above_low.shape != flat.shape:
                self._above_low = np.empty(flat.shape, np.uint16)
            flat = _subtract(flat, low, self._above_low)
        step = 256 / (high - low + 1)
        cv2.convertScaleAbs(flat, dst=target, alpha=step, beta=step / 2 - 0.5)  # it rounds, where a shift cuts off

    def _range(self, pixels: np.ndarray, flat: np.ndarray) -> tuple[int, int]:
        """Which values become black and white, given the image and the same with its channels side by side."""
        requested = self.requested
        is_given = requested.mode in ("full", "fixed")
        if is_given and self._bits:
            return requested.low, requested.high
        lowest, highest, *_ = cv2.minMaxLoc(flat)
        if not highest:  # black, as while a thermal camera's shutter is closed: nothing is to be learned
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
        """The range by "auto" and "percentile", given the percentiles of this image."""
        whole, width = (1 << self._bits) - 1, band[1] - band[0]
        limit = self._stretched_below() * (1 if self._band is None else _STAYS_STRETCHED)
        if self.requested.mode == "auto" and width >= limit * whole:
            self._band = None
            return 0, whole
        narrowest = max(_NARROWEST_VALUES, _NARROWEST_SHARE * whole)
        requested = _widened(band, narrowest)
        if self._band is None:
            self._band, self._is_moving = requested, False
        low, high = self._band
        is_outgrown = band[0] < low or band[1] > high
        is_too_wide = high - low > narrowest and width < _MIN_FILLED * (high - low)
        if self._is_moving or is_outgrown or is_too_wide:
            distance = max(abs(requested[0] - low), abs(requested[1] - high))
            self._is_moving = distance > _ARRIVED * (high - low)
            self._band = low + _PACE * (requested[0] - low), high + _PACE * (requested[1] - high)
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
        but_for = ", but for hot pixels" if values[1] >= 1 << self._bits else ""
        return (
            f"16-bit images use {self._bits} bits{but_for}: values are {values[0]:.0f} to {values[1]:.0f}, "
            f"98 % of them {band[0]:.0f} to {band[1]:.0f}; {taken[0]} becomes black and {taken[1]} white"
        )


def _fits(values: np.ndarray, highest: float, bits: int) -> bool:
    """Whether so many bits hold the values, the highest of which is known, but for hot pixels."""
    return bool(highest < 1 << bits or np.count_nonzero(values >= 1 << bits) <= values.size // _HOT)


def _subtract(values: np.ndarray, low: int, out: np.ndarray) -> np.ndarray:
    """Values above ``low``, uint16 (H, W), 0 where they are below."""
    if values.size <= 4:  # four values in a column are what OpenCV takes for a scalar
        return np.subtract(np.maximum(values, np.uint16(low)), np.uint16(low), out=out)
    scalar: Any = float(low)  # OpenCV takes it, which its type hints do not say
    return cv2.subtract(values, scalar, dst=out)


def _widened(band: tuple[float, float], narrowest: float) -> tuple[float, float]:
    """The range for a band of values: a little wider than it, no narrower than that, within 16 bits."""
    half = max((1 + 2 * _MARGIN) * (band[1] - band[0]), narrowest - 1) / 2
    center = (band[0] + band[1]) / 2
    return max(center - half, FULL_RANGE[0]), min(center + half, FULL_RANGE[1])


_said: set[str] = set()


def warn_of_file(name: str, note: str | None) -> None:
    """Says in the log what a file's 16 bits are like, of the first file in this process that uses so many of them."""
    if note is None or (kind := note.partition(":")[0]) in _said:
        return
    _said.add(kind)
    log.warning("%s: %s (said once for all such images; --input-range LOW,HIGH sets the range)", name, note)
