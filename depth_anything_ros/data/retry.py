"""Retries of reads after transient disk and network errors, with growing waits.

Packing, labeling and training share this rule, so a server that restarts costs no image and no run.
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
"""Seconds before each retry, 51 in total."""

_NAMES = (
    *("EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EINTR", "EBUSY", "EREMOTEIO", "EPROTO", "ENOLINK", "EMFILE", "ENFILE"),
    *("ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN", "EHOSTUNREACH", "ECONNABORTED", "ECONNRESET"),
    *("ECONNREFUSED", "ENOTCONN", "ESHUTDOWN"),
)
TRANSIENT_ERRNOS = frozenset(getattr(errno, name) for name in _NAMES if hasattr(errno, name))
"""`OSError` numbers that may disappear shortly and do not concern the content of the file."""

_log = logging.getLogger(__name__)


def is_transient(error: BaseException) -> bool:
    """Return whether an error or one of its causes is a transient disk or network error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in TRANSIENT_ERRNOS:
            return True
        cause = cause.__cause__
    return False


def with_retries(read: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """Call a function, and repeat the call after each `is_transient` error, up to the length of `WAITS`.

    The log contains the first failure and the recovery.

    Args:
        read: the function.
        arguments: its positional arguments.
        named: its keyword arguments.

    Returns:
        Its result.

    Raises:
        Exception: the last error of ``read``.
    """
    failure = None
    for wait in WAITS:
        try:
            result = read(*arguments, **named)
        except Exception as error:
            if not is_transient(error):
                raise
            if failure is None:
                _log.warning("%s; retrying for %.0f s", _message(error), sum(WAITS))
            failure = _message(error)
            time.sleep(wait)
        else:
            if failure is not None:
                _log.warning("recovered from: %s", failure)
            return result
    return read(*arguments, **named)


def _message(error: Exception) -> str:
    return describe_error(error) if isinstance(error, OSError) else str(error)
