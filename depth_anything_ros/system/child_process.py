"""A child process that does not outlive its parent."""

from __future__ import annotations

import ctypes
import os
import platform
import signal

_PR_SET_PDEATHSIG = 1  # from Linux's prctl.h


def end_with_parent(parent: int) -> None:
    """Make the kernel send this process SIGTERM when its parent ends, even if the parent is killed.

    The child calls this: as `preexec_fn` of a process, or as the initializer of a pool. Linux only.
    ``parent`` is the parent's process id; it may have ended already.
    """
    if platform.system() == "Linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
