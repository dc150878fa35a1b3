"""A child process that does not outlive its parent."""

from __future__ import annotations

import ctypes
import os
import platform
import signal

_PR_SET_PDEATHSIG = 1  # from Linux's prctl.h


def end_with_parent(parent: int) -> None:
    """Has the kernel send this process SIGTERM when its parent is gone, even if that was killed and could not clean up.

    To be called by the child: as `preexec_fn` of a process, or as the initializer of a pool's. Linux alone offers it.
    ``parent``: the parent's process id, which may be gone by now.
    """
    if platform.system() == "Linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
