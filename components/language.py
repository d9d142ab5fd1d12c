"""Everything that leaves for the browser, in the reader's language.

The code speaks English. Its words are translated at one place, on their way out: components as Dash writes
them down (layouts, answers of callbacks, progress), the page around them, and plain answers. Not where they
are made, because many are made long before anybody reads them: a run works alone, without a reader, and
what it found (reasons, warnings, advice, how far it has come) stands in its files and in the database. What
is stored stays English, and each reader gets it in a language of their own.

A translation is one file, ``locales/<language>.po``; the languages that have one are those offered.

    python -m components.language --missing de     # what has no translation yet
    python -m components.language --update de      # write these into the file, to be filled in
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
import sys
from collections.abc import Callable
from html import escape, unescape
from typing import Any, Final

import dash
import flask
from dash.development.base_component import Component

from components import routes
from components.attributes import NOT_TRANSLATED, Written
from components.catalogue import SOURCE, Catalogue, list_languages, read_catalogue
from components.cookies import PREFIX, is_secure, name_cookie

LANGUAGE_COOKIE: Final = "redys_language"
THEME_COOKIE: Final = "redys_theme"
THEMES: Final = ("dark-video", "light")
"""What the pictures stand in; the first is what a reader gets who chose none."""

YEAR_S: Final = 365 * 86_400

_TEXT: Final = frozenset(
    {"children", "title", "label", "placeholder", "alt", "header", "summary", "aria-label"}
    | {"aria-description", "aria-valuetext", "aria-roledescription", "data-label"}
)
"""Properties of components that a person reads or hears."""

_AS_IS: Final = frozenset({"Code", "Pre", "Samp", "Kbd", "Script", "Style", "Store", "Time"})
"""Components whose content is nothing to translate."""

_FIGURE_TEXT: Final = frozenset({"text", "name", "hovertemplate", "texttemplate", "ticktext", "ticksuffix"})
_FIGURE_DATA: Final = frozenset({"z", "meta", "customdata", "ids", "colorscale", "line", "marker", "error_y"})
_AXIS_DATA: Final = frozenset({"x", "y"})
_SVG: Final = "data:image/svg+xml;base64,"
_SVG_TEXT: Final = re.compile(r"(?<=>)([^<>]*\w[^<>]*)(?=</)")
_PLOT_WORDS: Final = ("Download plot as a PNG", "Zoom", "Pan", "Reset axes", "Double-click to zoom back out")
_PAGES_STORE: Final = "_pages_store"


def current_language() -> str:
    """The language of who asks: the one chosen, else the browser's best of those there are, else English."""
    if not flask.has_request_context():
        return SOURCE
    language: str | None = flask.g.get("language")
    if language is None:
        languages = list_languages()
        chosen = flask.request.cookies.get(name_cookie(LANGUAGE_COOKIE), "")
        accepted = flask.request.accept_languages.best_match(languages, SOURCE)
        language = flask.g.language = chosen if chosen in languages else str(accepted)
    return language


def current_theme() -> str:
    """What the pictures stand in for who asks: "dark-video" or "light"."""
    chosen = flask.request.cookies.get(name_cookie(THEME_COOKIE), "") if flask.has_request_context() else ""
    return chosen if chosen in THEMES else THEMES[0]


def translate(text: str, language: str | None = None) -> str:
    """A text in ``language``, by default in that of who asks; what has no translation stays English."""
    return read_catalogue(language or current_language()).translate(text)


# --- what Dash sends ------------------------------------------------------------------------------


def translate_tree(value: Any, words: Catalogue) -> Any:
    """What a component or a list of them is written down as, its texts in another language.

    Parameters
    ----------
    value : Any
        Component, text, number, or a list of these. It is not changed: pages keep parts of theirs.
    words : Catalogue
        Whose language.

    Returns
    -------
    Any
        Dicts and lists as JSON has them.
    """
    if isinstance(value, str):
        return value if isinstance(value, Written) else words.translate(value)
    if isinstance(value, (list, tuple)):
        return [translate_tree(part, words) for part in value]
    if isinstance(value, Component):
        return _translate_component(value, words)
    if isinstance(value, float):
        return words.write_numbers(str(value))
    return value


def _translate_component(component: Component, words: Catalogue) -> dict[str, Any]:
    written = component.to_plotly_json()
    properties = written["props"]
    is_own = NOT_TRANSLATED in str(properties.get("className", "")).split()
    if is_own or written["type"] in _AS_IS:
        return written
    written["props"] = {name: translate_property(name, value, words) for name, value in properties.items()}
    if written["type"] == "Graph":
        config = properties.get("config") or {}
        written["props"]["config"] = config | _plot_locale(words)
    return written


def translate_property(name: str, value: Any, words: Catalogue) -> Any:
    """A component's property by its name; those that nobody reads come back as they are."""
    if name in _TEXT:
        return translate_tree(value, words)
    if name == "figure":
        return translate_figure(value, words)
    if name == "options" and isinstance(value, (list, tuple)):
        return [_translate_option(option, words) for option in value]
    if name == "src" and isinstance(value, str) and value.startswith(_SVG):
        return _translate_drawing(value, words)
    return value


def _translate_option(option: Any, words: Catalogue) -> Any:
    if not isinstance(option, dict):
        return {"label": translate_tree(option, words), "value": option}
    return {name: translate_tree(part, words) if name in _TEXT else part for name, part in option.items()}


def _translate_drawing(source: str, words: Catalogue) -> str:
    """The words in an SVG picture that stands in its own address."""
    return _drawings(source, words.language) if words.misses is None else _redraw(source, words)


@functools.lru_cache(maxsize=512)
def _drawings(source: str, language: str) -> str:
    return _redraw(source, read_catalogue(language))


def _redraw(source: str, words: Catalogue) -> str:
    try:
        drawing = base64.b64decode(source[len(_SVG) :], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return source
    redrawn = _SVG_TEXT.sub(lambda text: escape(words.translate(unescape(text[1])), quote=False), drawing)
    return source if redrawn == drawing else _SVG + base64.b64encode(redrawn.encode()).decode()


def translate_figure(figure: Any, words: Catalogue) -> Any:
    """A Plotly figure with its titles, names, labels and hover texts in another language."""
    plain = figure.to_plotly_json() if hasattr(figure, "to_plotly_json") else figure
    return _translate_part(plain, words) if isinstance(plain, dict) else plain


def _translate_part(part: dict[str, Any], words: Catalogue) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in part.items():
        if name in _FIGURE_DATA and name != "marker":
            found[name] = value
        elif (name in _FIGURE_TEXT and not isinstance(value, dict)) or (
            name in _AXIS_DATA and isinstance(value, (list, tuple))
        ):
            found[name] = _translate_words(value, words)
        elif name == "title" and isinstance(value, str):
            found[name] = words.translate(value)
        elif isinstance(value, dict):
            found[name] = _translate_part(value, words)
        elif isinstance(value, (list, tuple)) and any(isinstance(entry, dict) for entry in value):
            found[name] = [_translate_part(entry, words) for entry in value if isinstance(entry, dict)]
        else:
            found[name] = value
    return found


def _translate_words(value: Any, words: Catalogue) -> Any:
    """A label or a row of labels; a row of figures comes back as it is."""
    if isinstance(value, str):
        return value if isinstance(value, Written) else words.translate(value)
    if isinstance(value, (list, tuple)) and any(isinstance(entry, str) for entry in value):
        return [_translate_words(entry, words) for entry in value]
    return value


def _plot_locale(words: Catalogue) -> dict[str, Any]:
    """What plotly.js writes by itself: figures on axes, and the words of its buttons."""
    thousands = "." if words.decimal_sign == "," else ","
    return {
        "locale": words.language,
        "locales": {
            words.language: {
                "dictionary": {word: words.translate(word) for word in _PLOT_WORDS},
                "format": {"decimal": words.decimal_sign, "thousands": thousands},
            }
        },
    }


def translate_answer(answer: Any, words: Catalogue) -> Any:
    """What Dash is about to write down: a layout, or what a callback answers, sets, or has come to."""
    if not isinstance(answer, dict):
        return translate_tree(answer, words)
    found = dict(answer)
    for part in ("response", "sideUpdate", "progress"):
        if isinstance(answer.get(part), dict):
            found[part] = {
                component: _translate_updates(component, updates, words)
                for component, updates in answer[part].items()
            }
    return found


def _translate_updates(component: str, updates: Any, words: Catalogue) -> Any:
    if component == _PAGES_STORE:  # the title of the page that opens
        return {"data": {**updates["data"], "title": words.translate(updates["data"]["title"])}}
    if not isinstance(updates, dict):
        # One property of a component, by "id.property".
        return translate_property(component.rpartition(".")[2], updates, words)
    return {name: translate_property(name, value, words) for name, value in updates.items()}


def _speaking(write: Callable[[Any], str]) -> Callable[[Any], str]:
    """Dash's writer of JSON, in the language of who asks."""

    @functools.wraps(write)
    def write_translated(value: Any) -> str:
        language = current_language()
        if language == SOURCE or flask.request.endpoint is None:
            return write(value)
        return write(translate_answer(value, read_catalogue(language)))

    return write_translated


# --- the page around it, and plain answers --------------------------------------------------------


def attach(app: dash.Dash) -> None:
    """Give an application its languages.

    Raises
    ------
    RedysError
        A file of ``locales`` cannot be read.
    """
    list_languages()
    _teach_dash()
    index = app.interpolate_index

    def interpolate(**parts: Any) -> str:
        parts["title"] = translate(parts.get("title", ""))
        parts["app_entry"] = parts.get("app_entry", "").replace("Loading...", translate("Loading..."))
        return translate_page(str(index(**parts)))

    setattr(app, "interpolate_index", interpolate)  # noqa: B010 (as Dash says, a subclass would override it)
    server = app.server

    @server.route(routes.WORDS)
    def words(language: str) -> flask.typing.ResponseReturnValue:
        """The words of the browser modules; they are in the program, so everybody may have them."""
        if language not in list_languages():
            return flask.Response("There is no such language.\n", 404, mimetype="text/plain")
        text = app_json(read_catalogue(language).browser)
        response = flask.Response(text, mimetype="application/json")
        response.set_etag(hashlib.sha256(text.encode()).hexdigest()[:16])
        return response.make_conditional(flask.request)

    @server.after_request
    def translate_plain(response: flask.Response) -> flask.Response:
        plain = response.mimetype == "text/plain" and response.content_encoding is None
        if plain and response.status_code >= 400 and not response.is_streamed:
            response.set_data(translate(response.get_data(as_text=True)))
        return response


def app_json(words: dict[str, str]) -> str:
    """Words as the browser modules read them."""
    return flask.json.dumps(words, ensure_ascii=False, separators=(",", ":"))


def translate_page(page: str) -> str:
    """A page of HTML that is no component: its language, its theme, and the texts of its elements."""
    cookies = f' data-cookies="{PREFIX}"' if is_secure() else ""
    opening = f'<html lang="{current_language()}" data-theme="{current_theme()}"{cookies}>'
    page = page.replace('<html lang="en">', opening, 1)
    return page.replace("Skip to the page", translate("Skip to the page"), 1)


def _teach_dash() -> None:
    """Dash has no hook between a callback's value and its JSON, so its writer is wrapped where it is used."""
    modules: tuple[Any, ...] = (sys.modules["dash.dash"], sys.modules["dash._callback"])
    for module in modules:
        if not hasattr(module.to_json, "__wrapped__"):
            module.to_json = _speaking(module.to_json)


if __name__ == "__main__":
    from components import messages

    sys.exit(messages.main())
