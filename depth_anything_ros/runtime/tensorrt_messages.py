"""TensorRT's own messages: into Python's log, its errors also into the exception that follows them."""

from __future__ import annotations

import logging

import tensorrt as trt

log = logging.getLogger(__name__)

MOST_ERRORS = 8
"""Errors that are kept; TensorRT repeats itself."""


class Messages(trt.ILogger):
    """What TensorRT says; ``errors`` are those since they were last cleared, the oldest first."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        """Called by TensorRT, from any of its threads."""
        if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
            self.errors.append(message)
            del self.errors[:-MOST_ERRORS]
        level = logging.INFO if severity == trt.ILogger.WARNING else logging.DEBUG
        log.log(level, "TensorRT: %s", message)

    def take_errors(self) -> str:
        """The errors in a line; they are cleared."""
        errors = "; ".join(self.errors)
        self.errors.clear()
        return errors or "TensorRT says no more"


MESSAGES = Messages()
"""One for the process, and never freed: TensorRT goes on using the first that it was given."""
