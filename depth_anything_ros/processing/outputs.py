"""The outputs of a frame: their topics, their encodings, and which of them need meters."""

from __future__ import annotations

TOPICS = {
    "info": "depth/camera_info",
    "depth": "depth/image_rect",
    "millimeters": "depth/image_raw",
    "sigma": "depth/sigma",
    "points": "points",
    "inverse_depth": "inverse_depth/image",
    "confidence": "confidence/image",
    "color": "depth/image_color",
}
"""By the fields of `DepthBuffers`, in the order of publication: camera_info first, because consumers wait for it."""
SCALE = "scale"
"""Topic of the scale from sensors."""
NEEDS_DEPTH = ("depth", "millimeters", "points", "sigma")
ENCODINGS = {
    "depth": "32FC1",
    "millimeters": "16UC1",
    "sigma": "32FC1",
    "inverse_depth": "32FC1",
    "confidence": "32FC1",
    "color": "bgr8",
}
"""Of the outputs that are images."""
PIXELS = {"32FC1": ("float32", 1), "16UC1": ("uint16", 1), "bgr8": ("uint8", 3)}
"""The dtype and the number of channels of each encoding."""


def absent_outputs(predicts_depth: bool, gives_confidence: bool, gives_sigma: bool) -> set[str]:
    """Return the outputs that a model cannot give.

    Args:
        predicts_depth: whether the model predicts depth, not inverse depth.
        gives_confidence: whether it predicts confidence.
        gives_sigma: whether sensors measure the scale, so that the error of depth is known.
    """
    absent = {"inverse_depth"} if predicts_depth else set()
    absent |= set() if gives_confidence else {"confidence"}
    return absent | (set() if gives_sigma else {"sigma"})
