"""Lens distortion: the models, their aliases and their numbers of coefficients.

The models are those of `sensor_msgs/CameraInfo`, with coefficients in OpenCV's order. Drivers and calibration tools use
other names and other numbers of coefficients. This module converts both, or raises an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

DISTORTION_COEFFICIENTS = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
    "thin_prism_fisheye": (12,),
}
"""The distortion models of sensor_msgs, with their valid numbers of coefficients."""

POLYNOMIAL = "polynomial"
"""A pinhole camera: plumb_bob or rational_polynomial, depending on the number of coefficients."""

# Names are compared in lower case, without spaces, hyphens and underscores.
_NAMES = {
    "plumb_bob": ("plumbbob", "radtan", "radialtangential", "brownconrady", "brown"),
    "rational_polynomial": ("rationalpolynomial", "rational", "fullopencv"),
    "equidistant": (
        *("equidistant", "equi", "fisheye", "opencvfisheye", "kannalabrandt", "kannalabrandt4", "kannalabrandt8"),
        *("kb", "kb4", "kb8"),
    ),
    "thin_prism_fisheye": ("thinprismfisheye",),
    POLYNOMIAL: ("pinhole", "perspective", "opencv"),
}
_MODELS = {name: model for model, names in _NAMES.items() for name in names}
_UNNAMED = ("", "unknown")
_UNDISTORTED = ("none", "nodistortion", "undistorted")
_WIDE = ("omni", "omnidirectional", "mei", "cata", "ds", "doublesphere", "eucm", "ucm", "ftheta", "scaramuzza")
"""Unsupported wide-angle lenses: no pinhole, even with all coefficients zero."""


def model_of(name: str) -> str | None:
    """Return the model of a name: one of `DISTORTION_COEFFICIENTS` or `POLYNOMIAL`; None if the name is empty.

    Raises `ValueError` for an unsupported or unknown model.
    """
    plain = _plain(name)
    if plain in _UNNAMED:
        return None
    if plain in _UNDISTORTED:
        return POLYNOMIAL
    if plain not in _MODELS:
        raise ValueError(f"distortion_model is {name!r}, must be one of: {', '.join(DISTORTION_COEFFICIENTS)}")
    return _MODELS[plain]


def is_wide(name: str) -> bool:
    """Return whether a name means an unsupported wide-angle lens, which no coefficients make a pinhole."""
    return _plain(name) in _WIDE


def distortion_of(name: str, coefficients: Sequence[float]) -> tuple[str, tuple[float, ...]]:
    """Return the model of a lens and its coefficients, as many as the model has.

    Args:
        name: the model or an alias. If it is empty, the number of coefficients decides: 5 are plumb_bob; 8, 12 and
            14 are rational_polynomial; 4 are ambiguous (plumb_bob or equidistant) and rejected, unless all are zero.
        coefficients: trailing zeros are dropped or added.

    Raises:
        ValueError: the lens is unsupported or ambiguous; the message names the fix.
    """
    values = tuple(map(float, coefficients))
    if not all(map(math.isfinite, values)):
        raise ValueError(f"distortion coefficients are not finite: {list(values)}")
    if not any(values) and not is_wide(name) and _plain(name) not in _MODELS:
        return "plumb_bob", ()  # any lens without distortion
    model = model_of(name)
    if _plain(name) in _UNDISTORTED:
        raise ValueError(f"distortion_model is {name!r}, but the coefficients are not zero: {list(values)}")
    if model is None and len(values) <= 4:
        raise ValueError(
            f"{len(values)} distortion coefficients without a distortion_model may be plumb_bob or equidistant: set "
            "distortion_model to equidistant for a fisheye lens, else to plumb_bob"
        )
    if model in (None, POLYNOMIAL):
        model = "plumb_bob" if len(_stripped(values)) <= 5 else "rational_polynomial"
    return model, _fitted(model, values)


def _fitted(model: str, values: tuple[float, ...]) -> tuple[float, ...]:
    """Return as many coefficients as the model has, or none. Raises `ValueError` for surplus ones that are not zero."""
    counts = DISTORTION_COEFFICIENTS[model]
    if not values or len(values) in counts:
        return values
    stripped = _stripped(values)
    count = next((count for count in counts if count >= len(stripped)), None)
    if count is None:
        raise ValueError(
            f"{len(values)} distortion coefficients, {model} has {' or '.join(map(str, counts))}; coefficient "
            f"{len(stripped)} is {stripped[-1]:g}; correct the distortion model"
        )
    return (*stripped, *[0.0] * (count - len(stripped)))


def _stripped(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return the values without trailing zeros."""
    last = max((index for index, value in enumerate(values) if value), default=-1)
    return values[: last + 1]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
