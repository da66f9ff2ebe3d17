"""A child that does not outlive its parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
# Loaded here: between fork and exec only the call itself is safe.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int | None = None) -> None:
    """Have the system kill this process when its parent ends, even by SIGKILL. Linux only; elsewhere it does nothing.

    For a child that is about to start: `Popen(..., preexec_fn=partial(die_with_parent, os.getpid()))`. Linux counts the
    *thread* that started the child as the parent, so start children from a thread that lasts, best the main thread.

    Args:
        parent: process id of the parent, where it is known: one that ended before this call is then noticed as well.

    Raises:
        OSError: the system refuses.
    """
    if _libc is None:
        return
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
