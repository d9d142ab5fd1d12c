"""The printed report as a PDF file: the sheets of `components.sheet`, set by Typst (`print.typ`).

Vector graphics, tagged for readers (PDF/UA-1), the same bytes each time for the same report.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from html import escape, unescape
from pathlib import Path
from typing import Any, Final

import flask

from components import routes
from components.attributes import Written
from components.language import current_language, translate
from components.scores import say_scores_at
from components.security import current_actor
from components.sheet import Sheet, compose, require_summary
from components.status import STRIPED, draw_icon
from pipeline.errors import RedysError
from pipeline.measures.levels import BETWEEN, LEVELS
from records import NotFound, Records
from settings import get_settings

TEMPLATE: Final = Path(__file__).with_name("print.typ")

FONTS: Final = ("400Regular", "600SemiBold", "700Bold")
"""Weights of Source Sans 3; the machine's own fonts are left alone, or each would print another page."""

_STRIPED_MARK: Final = "striped"

Translate = Callable[[str], str]


def add_routes(server: flask.Flask, records: Records) -> None:
    """Put the route on the server; the gate of `components.security` stands before it."""

    @server.route(routes.PDF)
    def report_pdf(recording_id: str) -> flask.typing.ResponseReturnValue:
        """A recording's report as a PDF file."""
        try:
            recording = records.get_recording(recording_id)
            run_id = recording.report_run_id
            summary = require_summary(recording, records.read_summary(run_id) if run_id else None)
            run = records.get_run(run_id or "")
            sheets = compose(recording, summary, say_scores_at(recording, brief=True))
            data = make_pdf(sheets, run.finished or run.created, current_language(), translate)
        except RedysError as error:
            status = 404 if isinstance(error, NotFound) else 500
            words = f"{translate(error.what)} {translate(error.advice)}\n"
            return flask.Response(words, status, mimetype="text/plain")
        records.note(current_actor(), "report.pdf", run_id or "")
        response = flask.Response(data, mimetype="application/pdf")
        name = _file_name(recording.subject, recording.visit)
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        response.headers["Cache-Control"] = "private, no-store"
        return response


def _file_name(subject: str, visit: datetime.date | None) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", subject).strip("-.") or "report"
    return f"{plain}-{visit.isoformat() if visit else 'undated'}.pdf"


def make_pdf(
    sheets: tuple[Sheet, ...],
    finished: datetime.datetime,
    language: str = "en",
    speak: Translate = lambda text: text,
) -> bytes:
    """Set sheets as a PDF file.

    Parameters
    ----------
    sheets : tuple of Sheet
        At least one.
    finished : datetime
        When the report was made: the file's own date.
    language : str
        As in BCP 47.
    speak : callable
        Gives a text in that language; what a person wrote is not put through it.

    Raises
    ------
    RedysError
        The fonts are missing, or the page cannot be set.
    """
    plain = json.dumps(_describe(sheets, language, speak), ensure_ascii=False, sort_keys=True)
    return _set(plain, int(finished.timestamp()), get_settings().node_modules)


def _describe(sheets: tuple[Sheet, ...], language: str, speak: Translate) -> dict[str, Any]:
    """Everything that `print.typ` draws, in the language of the file."""

    def said(value: Any) -> Any:
        if isinstance(value, str):
            return str(value) if isinstance(value, Written) else speak(value)
        if isinstance(value, dict):
            return {key: entry if key in _UNSAID else said(entry) for key, entry in value.items()}
        return [said(entry) for entry in value] if isinstance(value, (list, tuple)) else value

    first, count = sheets[0], len(sheets)
    title = f"{first.subject}, {said(first.visit)}, {first.task}"
    texts = {
        "intended_use": first.notes[0],
        "report": f"Report {first.report_id}",
        "version": f"ReDys {first.version}",
        "measure": "Measure",
        "value": "Value, 95 % interval, reference",
        "simulated": "Simulated reference.",
        "signature": "Examiner and date:",
        # A sheet that is too long goes on overleaf, and the pages count on.
        "pages": {
            str(total): [f"Page {number} of {total}" for number in range(1, total + 1)]
            for total in range(count, 2 * count + 1)
        },
    }
    return {
        "language": language,
        "title": title,
        "words": said(texts) | {"program": "ReDys"},
        "marks": {level: draw_icon(level) for level in LEVELS}
        | {_STRIPED_MARK: draw_icon(BETWEEN, certain=False)},
        "legend": [[level, said(level)] for level in LEVELS] + [[_STRIPED_MARK, said(STRIPED)]],
        "sheets": [said(_redraw(sheet, speak)) | {"name": title} for sheet in sheets],
    }


def _redraw(sheet: Sheet, speak: Translate) -> dict[str, Any]:
    """A sheet as plain values, the words in its drawing in the language of the file."""
    plain = asdict(sheet)
    if sheet.hand is not None:
        words = _DRAWN_WORDS.sub(lambda word: escape(speak(unescape(word[0]))), sheet.hand.map_svg)
        plain["hand"]["map_svg"] = words
    return plain


_DRAWN_WORDS: Final = re.compile(r"(?<=>)[^<>]*\w[^<>]*(?=</text>)")

_UNSAID: Final = frozenset({"map_svg", "level", "report_id", "version"})
"""Fields of a sheet that are no text: drawings, keys and numbers."""


@functools.lru_cache(maxsize=32)
def _set(plain: str, finished_s: int, node_modules: Path) -> bytes:
    """The file; of the last reports it is kept, by all that it shows."""
    import typst

    try:
        pdf = typst.compile(
            TEMPLATE.read_bytes(),
            font_paths=_fonts(node_modules),
            ignore_system_fonts=True,
            sys_inputs={"data": plain},
            format="pdf",
            pdf_standards=["ua-1"],
            timestamp=finished_s,
        )
    except typst.TypstError as error:
        raise RedysError(
            f"The PDF file could not be made ({error.message}).",
            "Print the page from the browser instead, and report this with the recording's number.",
        ) from error
    assert pdf is not None
    return pdf


@functools.lru_cache(maxsize=2)
def _fonts(node_modules: Path) -> Any:
    import typst

    folder = node_modules / "@expo-google-fonts" / "source-sans-3"
    paths = [folder / weight for weight in FONTS]
    if missing := [path.name for path in paths if not path.is_dir()]:
        raise RedysError(
            f"The fonts of the PDF file are missing on the server ({', '.join(missing)}).",
            "Run `make setup` there.",
        )
    # The built-in ones behind it know letters that this one lacks: a pseudonym may be in any script.
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=paths)
