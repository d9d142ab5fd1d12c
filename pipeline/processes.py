"""Starting worker processes that leave Ctrl-C to the process that started them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def leave_interrupts_to_parent() -> Iterator[None]:
    """Processes started inside are born with SIGINT blocked.

    A terminal sends Ctrl-C to the whole group; the parent alone answers it, by asking its workers to stop.
    Blocked signals are inherited, so this holds from a worker's first moment on, before it has read any code.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
