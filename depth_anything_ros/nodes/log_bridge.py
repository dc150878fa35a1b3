"""What the package says through Python's logging, in the node's own log: engines built, refused, not available."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger

PACKAGE = "depth_anything_ros"


class LogBridge(logging.Handler):
    """Hands on what the package says, from INFO up, until it is detached."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__(logging.INFO)
        self._logger = logger
        package = logging.getLogger(PACKAGE)
        package.setLevel(logging.INFO)
        package.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging. A line for each severity: rclpy lets no line of code change its own."""
        message = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._logger.error(message)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(message)
        else:
            self._logger.info(message)

    def detach(self) -> None:
        """Ends it; may be called again."""
        logging.getLogger(PACKAGE).removeHandler(self)
