"""What the program's cookies are called.

Where people sign in they carry the prefix ``__Host-``: a browser takes such a cookie only over TLS, for this
host alone and for all of its paths, so that neither a neighbouring host nor a page without TLS can set one.
Without sign-in there is no TLS, and the names are plain.
"""

from __future__ import annotations

from typing import Final

import flask

PREFIX: Final = "__Host-"


def name_cookie(plain: str, is_local: bool | None = None) -> str:
    """What a cookie of ours is called; by default on the server that answers the request in hand."""
    return plain if _is_local(is_local) else PREFIX + plain


def is_secure() -> bool:
    """Whether the server that answers the request in hand sends its cookies over TLS alone."""
    return not _is_local(None)


def _is_local(said: bool | None) -> bool:
    return bool(flask.current_app.extensions.get("redys_local", False)) if said is None else said
