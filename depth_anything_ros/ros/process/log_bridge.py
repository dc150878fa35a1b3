"""Forward the package's Python logging to the node's log: engines built, rejected or unavailable."""

from __future__ import annotations

import logging

from rclpy.impl.logging_severity import LoggingSeverity
from rclpy.impl.rcutils_logger import RcutilsLogger

PACKAGE = "depth_anything_ros"


class LogBridge(logging.Handler):
    """Forwards the package's log records until it is detached: from INFO, or from DEBUG if the node logs at DEBUG."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger
        package = logging.getLogger(PACKAGE)
        package.setLevel(logging.DEBUG if logger.is_enabled_for(LoggingSeverity.DEBUG) else logging.INFO)
        package.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Forward a record. Each severity has its own line, because rclpy fixes the severity of a line of code."""
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
        """Stop forwarding and reset the package's log level. May be called again."""
        package = logging.getLogger(PACKAGE)
        if self in package.handlers:
            package.removeHandler(self)
            if not any(isinstance(handler, LogBridge) for handler in package.handlers):
                package.setLevel(logging.NOTSET)
