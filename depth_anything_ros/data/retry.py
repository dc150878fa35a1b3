"""Errors of disks and networks that pass: what is read is tried again, with growing waits, before it counts as lost.

One rule for packing, labeling and training, so that a server that restarts costs none of them an image, or the run.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from depth_anything_ros.system.atomic_file import describe_error

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

WAITS = tuple(0.1 * 2**turn for turn in range(9))
"""Seconds before each further try, together 51."""

_NAMES = (
    *("EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EINTR", "EBUSY", "EREMOTEIO", "EPROTO", "ENOLINK", "EMFILE", "ENFILE"),
    *("ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN", "EHOSTUNREACH", "ECONNABORTED", "ECONNRESET"),
    *("ECONNREFUSED", "ENOTCONN", "ESHUTDOWN"),
)
TRANSIENT_ERRNOS = frozenset(getattr(errno, name) for name in _NAMES if hasattr(errno, name))
"""Numbers of an `OSError` that may be gone a moment later, with no word on what the file holds."""

_log = logging.getLogger(__name__)


def is_transient(error: BaseException) -> bool:
    """Whether an error, or one that it was made from, is a disk's or a network's that may be gone a moment later."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in TRANSIENT_ERRNOS:
            return True
        cause = cause.__cause__
    return False


def with_retries(read: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """What ``read`` gives for these arguments, called again as long as it raises what `is_transient`, up to `WAITS`.

    The log tells of the first failure, and of the end of it. Raises what ``read`` raised last.
    """
    failure = None
    for wait in WAITS:
        try:
            result = read(*arguments, **named)
        except Exception as error:
            if not is_transient(error):
                raise
            if failure is None:
                _log.warning("%s; it is tried again for %.0f s", _said(error), sum(WAITS))
            failure = _said(error)
            time.sleep(wait)
        else:
            if failure is not None:
                _log.warning("it has passed: %s", failure)
            return result
    return read(*arguments, **named)


def _said(error: Exception) -> str:
    return describe_error(error) if isinstance(error, OSError) else str(error)
