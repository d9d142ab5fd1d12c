"""A worker as `records.worker` makes it, whose pipeline only waits for a file ``go`` in the data folder."""

import sys

from records import get_records
from records.worker import celery_app

_SCRIPT = """
import json, pathlib, signal, sys, time
def say(**line): print(json.dumps(line), flush=True)
signal.signal(signal.SIGTERM, lambda *_: (say(type="cancelled"), sys.exit(130)))
while not pathlib.Path(sys.argv[1]).exists():
    say(type="progress", stage="pose", fraction=0.5, overall=0.25, message="At work", eta_s=None)
    time.sleep(0.05)
say(type="done")
"""

get_records().command = lambda session, out: [
    sys.executable, "-c", _SCRIPT, str(get_records().settings.data_dir / "go"),
]  # fmt: skip

__all__ = ["celery_app"]
