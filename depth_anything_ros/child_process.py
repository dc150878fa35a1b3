"""A child process that does not outlive its parent."""

from __future__ import annotations

import ctypes
import platform
import signal

_PR_SET_PDEATHSIG = 1  # from Linux's prctl.h


def end_with_parent() -> None:
    """Has the kernel send this process SIGTERM when its parent is gone, even if that was killed and could not clean up.

    To be called by the child: as `preexec_fn` of a process, or as the initializer of a pool's. Linux alone offers it.
    """
    if platform.system() == "Linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
