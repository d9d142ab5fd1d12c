"""What a collaborator sees: a page of its own, made by the server from the link's own folder alone.

The token stands in the address's fragment, which browsers send to nobody; a small page posts it and gets a
cookie that goes back to these addresses only. Every request asks anew whether the link still stands, and what
does not open is answered the same way whatever the reason.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import flask
from dash import html

from components import ids, routes, security
from components.attributes import as_written, data
from components.comparison import NO_STUDY
from components.cookies import is_secure, name_cookie
from components.headlines import provenance_list
from components.language import current_language, list_languages, translate, translate_page
from components.nameless import Part, draw_one, draw_two
from components.plain import write_html
from components.report import LIMITS
from components.shell import INTENDED_USE
from components.states import failed
from components.status import panel
from pipeline.errors import RedysError
from pipeline.files import read_json
from pipeline.measures.change import SideChange
from pipeline.measures.summary import Summary
from pipeline.measures.summary_types import from_plain, read_summary
from pipeline.results import RunFolder
from pipeline.share_files import NOTES_FILE, PARTS, SHARE_FILE
from records import Records
from records.shares import SESSION_MINUTES, Opened, OpenShare
from settings import ROOT

COOKIE: Final = "redys_shared"
CLOSED: Final = "There is nothing to see here. A link may be mistyped, past its end, used up, or taken back."

_NAME: Final = re.compile(r"[a-z0-9_]+\.(json|mp4|u8|i16|i32|u32|f32)")
_TYPES: Final = {".json": "application/json", ".mp4": "video/mp4"}
_HEADERS: Final = {
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Cache-Control": "private, no-store",
}


@dataclass(frozen=True)
class Shared:
    """One recording of a share, and its day from the first of them."""

    part: Part
    day: int | None

    @property
    def summary(self) -> Summary:
        """Its numbers."""
        return self.part.summary


# --- routes --------------------------------------------------------------------------------------


def add_routes(server: flask.Flask, records: Records) -> None:
    """Put the routes on the server."""

    @server.route(routes.SHARED)
    def shared() -> flask.typing.ResponseReturnValue:
        """The page that a link leads to: it takes the token out of the address and asks before it opens."""
        return _answer(_entry_page(_find(records) is not None))

    @server.route(routes.SHARED_OPEN, methods=["POST"])
    def shared_open() -> flask.typing.ResponseReturnValue:
        """A token, and a password if there is one, for a cookie."""
        asked = flask.request.get_json(silent=True)
        token, password = (_text(asked, name) for name in ("token", "password"))
        found = records.shares.open(token, password, flask.request.remote_addr or "")
        if isinstance(found, Opened):
            return _give_cookie(found)
        if found.why == "password":
            words = "The password is not right." if password else "This link has a password."
            return _refuse(403, words, "password")
        if found.why == "wait":
            answer = _refuse(429, f"Too many tries. Wait {found.wait_s:.0f} s and try again.", "wait")
            answer.headers["Retry-After"] = str(int(found.wait_s) + 1)
            return answer
        return _refuse(404, CLOSED, "closed")

    @server.route(routes.SHARED_VIEW)
    def shared_view() -> flask.typing.ResponseReturnValue:
        """What is shared."""
        share = _find(records)
        if share is None:
            return _answer(_closed_page(), 404)
        return _answer(_page(share))

    @server.route(routes.SHARED_DATA)
    def shared_data(part: str, name: str) -> flask.typing.ResponseReturnValue:
        """A file of the moving hand, whole or a byte range."""
        share = _find(records)
        path = None if share is None else _find_file(share, part, name)
        if share is None or path is None:
            return _refuse(404, CLOSED, "closed")
        if name == "mosaic.mp4":
            records.shares.note_play(share)
        kind = _TYPES.get(path.suffix, "application/octet-stream")
        response = flask.send_file(path, mimetype=kind, conditional=True, etag=False, last_modified=None)
        del response.headers["Last-Modified"]
        return _seal(response)

    @server.route(routes.SHARED_CLOSE, methods=["POST"])
    def shared_close() -> flask.typing.ResponseReturnValue:
        """Forget the cookie: whoever uses this browser next sees nothing."""
        answer = flask.make_response("", 204)
        answer.delete_cookie(name_cookie(COOKIE), path=_cookie_path(), secure=is_secure())
        return _seal(answer)


def _text(asked: Any, name: str) -> str:
    value = asked.get(name) if isinstance(asked, dict) else None
    return value[:2000] if isinstance(value, str) else ""


def _find(records: Records) -> OpenShare | None:
    key = flask.request.cookies.get(name_cookie(COOKIE), "")
    return records.shares.check(key) if key else None


def _find_file(share: OpenShare, part: str, name: str) -> Path | None:
    """A file of the share's own folder, by its plain name."""
    if part not in PARTS or not _NAME.fullmatch(name):
        return None
    path = share.folder / part / "web" / name
    return path if path.is_file() and not path.is_symlink() else None


def _give_cookie(opened: Opened) -> flask.Response:
    answer = flask.jsonify(address=routes.SHARED_VIEW)
    left = opened.expires - datetime.datetime.now(datetime.UTC)
    answer.set_cookie(
        name_cookie(COOKIE),
        opened.key,
        max_age=min(max(int(left.total_seconds()), 1), SESSION_MINUTES * 60),
        path=_cookie_path(),
        httponly=True,
        samesite="Strict",
        secure=is_secure(),
    )
    return _seal(answer)


def _cookie_path() -> str:
    """Every path, where the cookie's name demands it (`components.cookies`)."""
    return "/" if is_secure() else routes.SHARED


def _refuse(status: int, words: str, why: str) -> flask.Response:
    answer = flask.jsonify(why=why, words=translate(words))
    answer.status_code = status
    return _seal(answer)


def _answer(page: str, status: int = 200) -> flask.Response:
    return _seal(flask.Response(translate_page(page), status, mimetype="text/html"))


def _seal(response: flask.Response) -> flask.Response:
    for name, value in _HEADERS.items():
        response.headers[name] = value
    return response


# --- pages ---------------------------------------------------------------------------------------


def _frame(title: str, body: str, address: str) -> str:
    """The page around: style sheets and modules of the program, its languages, and nothing of anybody's."""
    sheets = sorted(path.name for path in (ROOT / "assets" / "css").glob("*.css"))
    return flask.render_template_string(
        _FRAME,
        t=translate,
        title=title,
        body=body,
        address=address,
        import_map=security.IMPORT_MAP,
        bootstrap=routes.vendor_url("bootstrap.min.css"),
        sheets=sheets,
        main=ids.MAIN,
        live=ids.LIVE_REGION,
        languages=list_languages(),
        language=current_language(),
        intended=INTENDED_USE,
    )


def _entry_page(is_open: bool) -> str:
    body = flask.render_template_string(_ENTRY, t=translate, view=routes.SHARED_VIEW if is_open else "")
    return _frame("Shared recording - ReDys", body, routes.SHARED)


def _closed_page() -> str:
    title = translate("Shared recording")
    notice = write_html(
        failed(RedysError(CLOSED, "Open the link again; a page that was opened lasts half an hour."))
    )
    return _frame("Shared recording - ReDys", f"<h1>{title}</h1>{notice}", routes.SHARED_VIEW)


def _page(share: OpenShare) -> str:
    try:
        body = write_html(draw(share))
    except RedysError as error:
        title = translate("Shared recording")
        body = f"<h1>{title}</h1>" + write_html(failed(error))
    return _frame("Shared recording - ReDys", body, routes.SHARED_VIEW)


def draw(share: OpenShare) -> html.Article:
    """Everything that a share's folder has, as components.

    Raises
    ------
    RedysError
        The folder cannot be read.
    """
    about = read_json(share.folder / SHARE_FILE)
    parts = _read_parts(share, about)
    drawn = [part.part for part in parts]
    if len(parts) == 1:
        content = draw_one(drawn[0], "Shared recording")
    else:
        changes = {side: _read_change(value) for side, value in about["changes"].items()}
        content = draw_two(drawn, changes, about["warnings"], _say_study(about))
    return html.Article(
        [_head(share, parts, about), *content, _limits(share, parts)], className="report shared"
    )


def _read_parts(share: OpenShare, about: dict[str, Any]) -> list[Shared]:
    notes_file = share.folder / NOTES_FILE
    notes = read_json(notes_file) if notes_file.is_file() else [[] for _ in PARTS]
    parts = []
    for key, day, of_part in zip(about["parts"], about["days"], notes, strict=False):
        folder = RunFolder(share.folder / key)
        summary = read_summary(folder.summary_json)
        parts.append(Shared(Part(routes.shared_data_url(key), summary, folder, of_part), day))
    return parts


def _head(share: OpenShare, parts: list[Shared], about: dict[str, Any]) -> html.Header:
    summary = parts[0].summary
    named = "pseudonym" in about["choices"]
    found: list[tuple[str, Any]] = [("Person", as_written(summary.subject) if named else "not named")]
    if len(parts) > 1:
        found.append(("Visits", _say_days(parts)))
    found += [
        ("Task", summary.task or "not told"),
        ("Hand", " and ".join(summary.sides) or "none"),
        ("Length", " and ".join(f"{part.summary.recording.duration_s:.1f} s" for part in parts)),
        ("Link", f"{share.code}, until {share.expires:%Y-%m-%d %H:%M} UTC"),
        ("This page", f"open until {share.until:%H:%M} UTC"),
    ]
    title = "Shared recording" if len(parts) == 1 else "Two visits, shared"
    close = html.Button(
        "Close", type="button", className="btn btn-outline-secondary", **data(module="shared", part="close")
    )
    return html.Header(
        [
            html.Div([html.H1(title), html.Div(close, className="actions")], className="report-title"),
            html.Dl(
                [html.Div([html.Dt(term), html.Dd(text)]) for term, text in found], className="figures who"
            ),
            html.P(_say_shape(about), className="plot-note"),
        ],
        className="report-head",
    )


def _say_days(parts: list[Shared]) -> str:
    later = parts[-1].day
    if later is None or parts[0].day is None:
        return "two; the days between them are not known"
    return f"two, {later} days apart"


def _say_shape(about: dict[str, Any]) -> str:
    if "shape" in about["choices"]:
        return "The 3D hand has the person's own proportions. Sound is not shared."
    return (
        "The 3D hand is a mean hand in the measured pose, so that its proportions do not tell whose it is; "
        "angles, speeds and accelerations are as measured. Sound is not shared."
    )


def _read_change(value: dict[str, Any]) -> SideChange:
    return from_plain(SideChange, value)


def _say_study(about: dict[str, Any]) -> str:
    if not about["study"]:
        return NO_STUDY.partition(" (")[0] + "."
    if not about["study_fits"]:
        return "The reliability study does not hold for these recordings, so there is no verdict."
    return "Verdicts rest on a reliability study of the clinic that shared this."


def _limits(share: OpenShare, parts: list[Shared]) -> html.Section:
    notes = [note for part in parts for note in part.summary.notes]
    return panel(
        "Limits and origin",
        html.Ul([html.Li(text) for text in dict.fromkeys((*LIMITS, *notes))], className="limits"),
        provenance_list(parts[0].summary.provenance),
        html.P(f"Shared view {share.code}", className="plot-note"),
    )


_FRAME = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ t(title) }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex, nofollow, noarchive">
<script type="importmap">{{ import_map | safe }}</script>
<link rel="icon" href="data:,"><link rel="stylesheet" href="{{ bootstrap }}">
{% for sheet in sheets %}<link rel="stylesheet" href="/assets/css/{{ sheet }}">
{% endfor %}<script src="/assets/00_bridge.js"></script></head>
<body><a class="skip-link" href="#{{ main }}">{{ t("Skip to the page") }}</a>
<div class="shell"><header class="site-header"><span class="brand">ReDys</span>
<nav class="shared-languages" aria-label="{{ t("Language") }}">
{% for code, word in languages.items() %}{% if languages | length > 1 %}<button type="button"
 class="btn btn-sm btn-outline-light notranslate" lang="{{ code }}" data-module="shared" data-part="language"
 data-code="{{ code }}"{% if code == language %} aria-current="true"{% endif %}>{{ word }}</button>
{% endif %}{% endfor %}</nav></header>
<main id="{{ main }}" tabindex="-1">{{ body | safe }}</main>
<div id="{{ live }}" class="visually-hidden" aria-live="polite"></div>
<footer class="site-footer"><span>{{ t(intended) }}</span></footer></div>
</body></html>"""

_ENTRY = """<section class="shared-entry"><h1>{{ t("Shared recording") }}</h1>
<p>{{ t("Somebody shares measurements of a hand's movement with you. Opening it is counted and noted.") }}</p>
<form data-module="shared" data-part="entry">
<p class="notice notice-failed" role="alert" hidden></p>
<div class="shared-password" hidden>
<label class="form-label" for="shared-password">{{ t("Password") }}</label>
<input class="form-control" id="shared-password" type="password" autocomplete="off" maxlength="1024"></div>
<button class="btn btn-primary" type="submit">{{ t("Open") }}</button>
{% if view %}<a class="btn btn-outline-secondary" href="{{ view }}">{{ t("Go on with what is open") }}</a>
{% endif %}</form>
<noscript><p class="notice notice-failed">{{ t("This page needs JavaScript.") }}</p></noscript></section>"""
