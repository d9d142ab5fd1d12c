"""What commands share: signals, progress as text, and JSON lines."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable

from pipeline.progress import Progress


def listen_for_signals() -> threading.Event:
    """An event that Ctrl-C and a polite kill set; a second Ctrl-C stops at once."""
    cancelled = threading.Event()

    def stop(number: int, frame: object) -> None:
        if cancelled.is_set():
            raise KeyboardInterrupt
        cancelled.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return cancelled


def print_json(**fields: object) -> None:
    """Print one JSON object as one line, at once."""
    print(json.dumps(fields, ensure_ascii=False), flush=True)


def make_plain_listener() -> Callable[[Progress], None]:
    """Prints warnings, and progress by tenths."""
    last = -1

    def hear(progress: Progress) -> None:
        nonlocal last
        if progress.warning:
            print(f"Note: {progress.message}", flush=True)
        elif (tenth := int(progress.fraction * 10)) != last:
            last = tenth
            print(f"{10 * tenth:3d}% {progress.message}", flush=True)

    return hear
