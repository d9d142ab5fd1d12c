"""The log as lines of JSON that hold identifiers and numbers, and nothing that a person wrote.

What is logged is a constant sentence with values in it. Here only those values stay that say nothing about
anybody: numbers, identifiers of this program, and single words of a short list. Of an exception its kind and
place stay; its message may quote a file's name.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
import sys
import traceback
from pathlib import Path
from typing import Any, Final

from settings import ROOT

OWN: Final = ("components", "pages", "pipeline", "records", "settings", "__main__")
"""First parts of the names of this program's loggers; "app" is Flask's too, which writes addresses."""

FIELDS: Final = ("request", "endpoint", "method", "status", "seconds", "size_bytes", "actor")
"""What a line may carry besides its sentence (``extra=``)."""

WORDS: Final = frozenset(
    [
        *("queued", "running", "done", "failed", "cancelled", "lost", "passed", "limited"),
        *("local", "nobody", "system", "command"),
    ]
)
LEFT_OUT: Final = "[left out]"

_IDENTIFIER = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{64}")
_ENDPOINT = re.compile(r"[A-Za-z0-9_./<>:-]{1,80}")
_FRAMES = 12


def set_up_logs(as_json: bool, level: int = logging.INFO) -> None:
    """Send the log to standard error: as lines of JSON, or as plain text for who sits before it."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s")
    handler.setFormatter(JsonLines() if as_json else plain)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("components.operations").setLevel(level if as_json else logging.WARNING)


class JsonLines(logging.Formatter):
    """One event a line: when, how grave, who says it, what, and of which request."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; any of its values that is not known to be harmless is left out."""
        said: dict[str, Any] = {
            "at": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _say(record),
        }
        for name in FIELDS:
            value = record.__dict__.get(name)
            if value is not None:
                said[name] = _keep(value, of_request=name in ("endpoint", "method", "actor"))
        if record.exc_info and record.exc_info[1] is not None:
            said["error"] = type(record.exc_info[1]).__name__
            said["where"] = _list_frames(record.exc_info[1])
        return json.dumps(said, ensure_ascii=True)


def _say(record: logging.LogRecord) -> str:
    own = record.name.partition(".")[0] in OWN
    if not isinstance(record.msg, str) or (not own and not record.args):
        return LEFT_OUT  # another library's finished sentence may quote anything
    try:
        if isinstance(record.args, dict):
            return record.msg % {key: _keep(value) for key, value in record.args.items()}
        return record.msg % tuple(_keep(value) for value in record.args) if record.args else record.msg
    except (TypeError, ValueError, KeyError):
        return record.msg  # "%d" of what was left out


def _keep(value: Any, of_request: bool = False) -> Any:
    """A value that says nothing about anybody, or the words that it was left out."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, BaseException):
        return type(value).__name__
    text = value if isinstance(value, str) else ""
    if text == "" or text in WORDS or _IDENTIFIER.fullmatch(text):
        return text
    return text if of_request and _ENDPOINT.fullmatch(text) else LEFT_OUT


def _list_frames(error: BaseException) -> list[str]:
    """Where it happened, the innermost last: files of the program and of its packages, by their own names."""
    return [
        f"{_place(frame.filename)}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    ]


def _place(filename: str) -> str:
    path = Path(filename)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
