"""TensorRT's own messages: into Python's log, its errors also into the exception that follows them."""

from __future__ import annotations

import logging

import tensorrt as trt

log = logging.getLogger(__name__)

MAX_ERRORS = 8
"""Errors that are kept; TensorRT repeats itself."""


DEFECTIVE = ("10.3", "10.4")
"""Releases that give wrong depth for vision transformers."""


def warn_of_known_defects(version: str, vision_transformer: bool) -> None:
    """Logs a warning when this version of TensorRT is known to give wrong depth for such a network."""
    if vision_transformer and ".".join(version.split(".")[:2]) in DEFECTIVE:
        log.warning(
            "TensorRT %s computes vision transformers wrongly without an error (NVIDIA/TensorRT#4723, #4742, #4558): "
            "upgrade to 10.12 or later, or use 8.6",
            version,
        )


class Messages(trt.ILogger):
    """What TensorRT says; ``errors`` are those since they were last cleared, the oldest first."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        """Called by TensorRT, from any of its threads."""
        if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
            self.errors.append(message)
            del self.errors[:-MAX_ERRORS]
        level = logging.INFO if severity == trt.ILogger.WARNING else logging.DEBUG
        log.log(level, "TensorRT: %s", message)

    def take_errors(self) -> str:
        """The errors in a line; they are cleared."""
        errors = "; ".join(self.errors)
        self.errors.clear()
        return errors or "TensorRT says no more"


MESSAGES = Messages()
"""One for the process, and never freed: TensorRT goes on using the first that it was given."""
