"""A camera's lines in the node's log, each reported once."""

from __future__ import annotations

from typing import Any

MAX_REPORTED = 100
"""Different warnings per camera. The text of an error may be anything, so there must be a limit."""


class StreamLog:
    """The node's logger for one camera: adds the camera's name and reports each warning once.

    Args:
        logger: the node's logger.
        camera: the camera's name; "" for a single camera.
    """

    def __init__(self, logger: Any, camera: str) -> None:
        self._logger = logger
        self._prefix = f"{camera}: " if camera else ""
        self._reported: set[str] = set()

    def info(self, text: str) -> None:
        """Log a line."""
        self._logger.info(self._prefix + text)

    def warning(self, text: str) -> None:
        """Log a warning."""
        self._logger.warning(self._prefix + text)

    def error(self, text: str) -> None:
        """Log an error."""
        self._logger.error(self._prefix + text)

    def info_once(self, text: str) -> None:
        """Log a line that has not been logged before."""
        if self._is_new(text):
            self.info(text)

    def warn_once(self, topic: str, text: str) -> None:
        """Log a warning, if there was none on this topic before."""
        if self._is_new(topic):
            self.warning(text)

    def error_once(self, topic: str, text: str) -> None:
        """Log an error, if there was none on this topic before."""
        if self._is_new(topic):
            self.error(text)

    def _is_new(self, topic: str) -> bool:
        if topic in self._reported or len(self._reported) >= MAX_REPORTED:
            return False
        self._reported.add(topic)
        return True
