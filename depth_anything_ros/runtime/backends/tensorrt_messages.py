"""Forward TensorRT's messages to Python's log, and its errors also to the exception that follows."""

from __future__ import annotations

import logging

import tensorrt as trt

log = logging.getLogger(__name__)

MAX_ERRORS = 8
"""Most errors that are kept, since TensorRT repeats itself."""


DEFECTIVE = ("10.3", "10.4")
"""Releases that give wrong depth for vision transformers."""


def warn_of_known_defects(version: str, vision_transformer: bool) -> None:
    """Log a warning if this TensorRT is known to give wrong depth for the network.

    Args:
        version: of TensorRT.
        vision_transformer: whether the network is one.
    """
    if vision_transformer and ".".join(version.split(".")[:2]) in DEFECTIVE:
        log.warning(
            "TensorRT %s computes vision transformers wrongly without an error (NVIDIA/TensorRT#4723, #4742, #4558): "
            "upgrade to 10.12 or later, or use 8.6",
            version,
        )


class Messages(trt.ILogger):
    """A logger for TensorRT. ``errors`` are those since the last clearing, oldest first."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        """Log a message. TensorRT calls this from any of its threads.

        Args:
            severity: errors are also kept in ``errors``.
            message: from TensorRT.
        """
        if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
            self.errors.append(message)
            del self.errors[:-MAX_ERRORS]
        level = logging.INFO if severity == trt.ILogger.WARNING else logging.DEBUG
        log.log(level, "TensorRT: %s", message)

    def take_errors(self) -> str:
        """Return the errors in one line, and clear them."""
        errors = "; ".join(self.errors)
        self.errors.clear()
        return errors or "TensorRT gives no reason"


MESSAGES = Messages()
"""The process's only logger, never freed: TensorRT keeps using the first one."""
