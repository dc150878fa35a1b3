"""What the package says through Python's logging, in the node's own log: engines built, refused, not available."""

from __future__ import annotations

import logging

from rclpy.impl.logging_severity import LoggingSeverity
from rclpy.impl.rcutils_logger import RcutilsLogger

PACKAGE = "depth_anything_ros"


class LogBridge(logging.Handler):
    """Hands on what the package says until it is detached: from INFO up, or DEBUG where the node's log shows that."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger
        package = logging.getLogger(PACKAGE)
        package.setLevel(logging.DEBUG if logger.is_enabled_for(LoggingSeverity.DEBUG) else logging.INFO)
        package.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging. A line for each severity: rclpy lets no line of code change its own."""
        message = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._logger.error(message)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(message)
        elif record.levelno >= logging.INFO:
            self._logger.info(message)
        else:
            self._logger.debug(message)

    def detach(self) -> None:
        """Ends it, and what it made the package say; may be called again."""
        package = logging.getLogger(PACKAGE)
        if self in package.handlers:
            package.removeHandler(self)
            if not any(isinstance(handler, LogBridge) for handler in package.handlers):
                package.setLevel(logging.NOTSET)
