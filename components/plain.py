"""Dash's HTML components as a page without Dash, in the reader's language.

For pages that somebody without an account sees: nothing of the program's own pages is sent along.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

from components.catalogue import read_catalogue
from components.language import current_language, translate_tree

_VOID: Final = frozenset({"img", "br", "hr", "input", "meta", "link", "source"})
_NAMES: Final = {"className": "class", "htmlFor": "for", "tabIndex": "tabindex", "colSpan": "colspan"}
_LEFT_OUT: Final = frozenset({"children", "n_clicks", "disable_n_clicks", "key"})
_NAMESPACE: Final = "dash_html_components"


def write_html(content: Any) -> str:
    """Components of ``dash.html`` (or lists of them, or texts) as HTML, translated.

    Raises
    ------
    TypeError
        Something in it is no component of ``dash.html``: it would need Dash in the browser.
    """
    return _write(translate_tree(content, read_catalogue(current_language())))


def _write(part: Any) -> str:
    if part is None or isinstance(part, bool):
        return ""
    if isinstance(part, (list, tuple)):
        return "".join(map(_write, part))
    if hasattr(part, "to_plotly_json"):
        part = part.to_plotly_json()
    if not isinstance(part, dict):
        return escape(str(part))
    if part.get("namespace") != _NAMESPACE:
        raise TypeError(f"{part.get('type')} of {part.get('namespace')} cannot stand on a plain page")
    name = str(part["type"]).lower()
    properties = part["props"]
    attributes = "".join(_attribute(key, value) for key, value in properties.items())
    if name in _VOID:
        return f"<{name}{attributes}>"
    return f"<{name}{attributes}>{_write(properties.get('children'))}</{name}>"


def _attribute(name: str, value: Any) -> str:
    if name in _LEFT_OUT or value is None or value is False:
        return ""
    name = _NAMES.get(name, name)
    if value is True:
        return f" {name}"
    if isinstance(value, dict):  # a style
        value = "; ".join(f"{_hyphenate(key)}: {each}" for key, each in value.items())
    return f' {name}="{escape(str(value))}"'


def _hyphenate(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)
