"""One language's words: the file they are in, and how a sentence with figures in it finds its translation.

A message of ``locales/<language>.po`` is English as the code has it, with a name in braces where a value
goes: "waiting, place {position} in the queue". A text that is looked for is, in this order, such a message
as it stands, figures with units, a message whose values can be read out of it, or a row of those ("a; b").
The values are looked for in their turn, for they may be words ("right"), and figures get the decimal comma.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polib

from pipeline.errors import RedysError
from settings import ROOT

LOCALES: Final = ROOT / "locales"
SOURCE: Final = "en"
"""The language of the code itself; it needs no file."""

SOURCE_NAME: Final = "English"

BROWSER_MODULES: Final = "assets/modules/"

_OWN_NAMES: Final = """
subject subject2 task task2 name name2 name3 names pseudonym author rater person name_recording run_title
use_title last_title recording_title pair pair2 file files folder path out camera cameras stem reference
base a b b2
accused first second first2 second2 run_id recording_id filename actor earlier later recording parent error
detector estimator model module code baseline_task baseline_digest
report_id digest
"""
OWN_WORDS: Final = frozenset(_OWN_NAMES.split())
"""Placeholders whose value is a person's own words or the name of a thing: never looked up."""

_NEUTRAL_TEXT: Final = """
mm cm m s ms min h Hz kHz px ppm dB SD CI MB GB kB KB MiB GiB B n z x y p a k fps bit rad kg N V W
DIP PIP MCP IP CMC TMC ICC SEM SPARC LDLJ MDC TCS ADDS FAM TAPS BFMDRS UDRS GDS GDRS
SHA HaMeR WiLoR Hamba MediaPipe mediapipe LiteRT Apache MIT AGPL CC BY NC ND ICC SARA
CSV JSON MP YAML TOML NPZ GLB FHIR NWB BIDS PDF PNG SVG WebGL OpenCV MANO ReDys Celery Redis ID UTC
"""
NEUTRAL: Final = frozenset(_NEUTRAL_TEXT.split())
"""Units and names that are the same in every language."""

_PLACE = re.compile(r"(?<![%$])\{(\w*)\}")
_WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ]+")
_MARKUP = re.compile(r"<[^<>]*>|%\{[^}]*\}|[\w./-]*_[\w./-]*")
_DECIMAL = re.compile(r"(?<![\w.])(\d+)\.(\d+)(?![\d]*\.\d)(?![\d]*[-_]?[A-Za-z]{3})")
_LISTED = re.compile(r"(\d,\d+), (?=[−+-]?\d)")
"""Figures in a row: where the comma is the decimal sign, it cannot part them as well."""

_JOINTS: Final = ("\n", "; ", " · ", ". ", ": ", ", ")
_ENDINGS: Final = ".:,"
_DEEPEST: Final = 4
"""Values within values, and rows within those, are looked for so deep."""

_LONGEST: Final = 2_000
"""Letters of a text that may be taken apart; a longer one is no sentence."""

_LONGEST_NAME: Final = 80
_WEIGHTY: Final = 8
"""Letters of a message past which it is not mistaken for another."""

_NEIGHBOURS: Final = 4
_KEPT_MOST: Final = 20_000
"""Texts whose translation is remembered; past it the store starts anew."""


@dataclass(frozen=True)
class Template:
    """A message with values in it, and how it is read and written."""

    source: re.Pattern[str]
    names: tuple[str, ...]
    weight: int
    """Letters that are the message's own: of two that fit, the one with more of them."""
    target: str

    def takes(self, own: str) -> bool:
        """Whether a value can be somebody's own words: a short message would else fit half of all texts."""
        return len(own) <= _LONGEST_NAME and (self.weight >= _WEIGHTY or " " not in own)

    def write(self, values: dict[str, str]) -> str:
        """The translation with its values."""
        return _PLACE.sub(lambda found: values.get(found[1], found[0]), self.target)


class Catalogue:
    """The words of one language.

    Parameters
    ----------
    language : str
        As in ``<html lang>``: "de".
    messages : dict of str
        Translation by English message; an empty one counts as missing.
    decimal_sign : str
        What stands between the units and the tenths.
    name : str
        What the language calls itself.
    browser : frozenset of str
        Messages of the browser modules.
    """

    def __init__(
        self,
        language: str,
        messages: dict[str, str],
        decimal_sign: str = ".",
        name: str = "",
        browser: frozenset[str] = frozenset(),
    ) -> None:
        self.language = language
        self.name = name or language
        self.decimal_sign = decimal_sign
        self.messages = {source: target for source, target in messages.items() if target}
        for source, target in tuple(self.messages.items()):
            self._keep_sentences(source, target)
        self.browser = {source: target for source, target in self.messages.items() if source in browser}
        self.misses: set[str] | None = None
        """Where a set stands here, texts that were not found are noted in it."""
        self._kept: dict[str, str] = {}
        self._known: dict[tuple[str, int], str | None] = {}
        self._by_first: dict[str, list[Template]] = {}
        self._by_last: dict[str, list[Template]] = {}
        self._loose: list[Template] = []
        for source, target in self.messages.items():
            self._keep_template(source, target)
        for group in (*self._by_first.values(), *self._by_last.values(), self._loose):
            group.sort(key=lambda template: -template.weight)

    def _keep_sentences(self, source: str, target: str) -> None:
        """Know the sentences of a message by themselves as well: a sheet of paper has room for the first."""
        sources, targets = _split(source, ". "), _split(target, ". ")
        if len(sources) == len(targets) > 1:
            for one, other in zip(sources, targets, strict=True):
                if sorted(_PLACE.findall(one)) == sorted(_PLACE.findall(other)):
                    self.messages.setdefault(one, other)

    def _keep_template(self, source: str, target: str) -> None:
        """File a message with values under its first whole word, else its last one: few are then tried."""
        parts = _PLACE.split(source)
        literals, names = parts[::2], parts[1::2]
        weight = sum(len(_letters(literal)) for literal in literals)
        if not names or weight < 2:
            return
        pattern = re.escape(literals[0])
        for literal in literals[1:]:
            pattern += "(.*?)" + re.escape(literal)
        template = Template(re.compile(pattern, re.DOTALL), tuple(names), weight, target)
        if first := _first_word(literals[0]):
            self._by_first.setdefault(first, []).append(template)
        elif last := _last_word(literals[-1]):
            self._by_last.setdefault(last, []).append(template)
        else:
            self._loose.append(template)

    def translate(self, text: str) -> str:
        """A text in this language; what is not known stays as it is."""
        if self.misses is not None:
            return self._translate(text)
        found = self._kept.get(text)
        if found is None:
            if len(self._kept) >= _KEPT_MOST:
                self._kept.clear()
            found = self._kept[text] = self._translate(text)
        return found

    def _translate(self, text: str) -> str:
        found = self._find(text)
        if found is not None:
            return found
        if self.misses is not None:
            self.misses.add(text)
        return self._find_weakly(text) or text

    def _find(self, text: str, depth: int = 0) -> str | None:
        """The translation of a text that is known whole, down to every value in it; None of any other."""
        core = text.strip()
        if not core:
            return text
        if core != text:
            found = self._find(core, depth)
            return None if found is None else text.replace(core, found, 1)
        if core in self.messages:
            return self.messages[core]
        small = core[0].lower() + core[1:]
        if small in self.messages:  # the same words at the start of a line
            found = self.messages[small]
            return found[0].upper() + found[1:]
        if is_neutral(core):
            return self.write_numbers(core)
        if core[-1] in _ENDINGS and (found := self._find(core[:-1], depth)) is not None:
            return found + core[-1]
        if depth >= _DEEPEST or len(core) > _LONGEST:
            return None
        key = (core, depth)
        if key not in self._known:
            if len(self._known) >= _KEPT_MOST:
                self._known.clear()
            self._known[key] = None  # while it is looked for, and if it is not found
            ways = (self._find_template, self._find_beside, self._find_row)
            tries = (way(core, depth) for way in ways)
            self._known[key] = next((found for found in tries if found is not None), None)
        return self._known[key]

    def _list_templates(self, text: str) -> list[Template]:
        candidates = [
            *self._by_first.get(_first_word(text + " "), ()),
            *self._by_last.get(_last_word(" " + text), ()),
            *self._loose,
        ]
        return sorted(candidates, key=lambda template: -template.weight)

    def _find_template(self, text: str, depth: int) -> str | None:
        for template in self._list_templates(text):
            if match := template.source.fullmatch(text):
                values = {}
                for name, value in zip(template.names, match.groups(), strict=True):
                    is_own = name in OWN_WORDS and template.takes(value)
                    found = value if is_own else self._find(value, depth + 1)
                    if found is None:
                        break
                    values[name] = found
                else:
                    return template.write(values)
        return None

    def _find_beside(self, text: str, depth: int) -> str | None:
        """Of words beside figures ("8 cannot tell", "open 81 %") or with brackets ("a joint (3 mm)"): all."""
        if text.endswith(")") and " (" in text:
            head, _, inner = text[:-1].rpartition(" (")
            first, second = self._find(head, depth + 1), self._find(inner, depth + 1)
            return None if first is None or second is None else f"{first} ({second})"
        words = text.split(" ")
        figures = [bool(re.search(r"[\d–]", word)) and is_neutral(word) for word in words]
        start = next((n for n, figure in enumerate(figures) if not figure), 0)
        end = len(words)
        while end > start and is_neutral(words[end - 1]):
            end -= 1
        if (start, end) == (0, len(words)) or start >= end or not any(figures):
            return None
        found = self._find(" ".join(words[start:end]), depth + 1)
        if found is None:
            return None
        return self.write_numbers(" ".join([*words[:start], found, *words[end:]]))

    def _find_row(self, text: str, depth: int) -> str | None:
        """Of texts in a row ("a; b", "One. Two."): each by itself, where all of them are known."""
        for joint in _JOINTS:
            if joint in text:
                parts = _split(text, joint)
                found_parts = self._find_parts(parts, joint, depth + 1)
                if found_parts is not None:
                    return joint.join(_unend(found_parts, joint))
        return None

    def _find_parts(self, parts: list[str], joint: str, depth: int) -> list[str] | None:
        """Translations of parts from left to right; neighbours may be one message with the joint in it."""
        ways: dict[int, list[str] | None] = {len(parts): []}
        for start in reversed(range(len(parts))):
            ways[start] = None
            for end in range(min(len(parts), start + _NEIGHBOURS), start, -1):
                rest = ways[end]
                if rest is None or end - start == len(parts):  # the whole has been looked for
                    continue
                found = self._find(joint.join(_unend(parts[start:end], joint)), depth)
                if found is not None:
                    ways[start] = [found, *rest]
                    break
        return ways[0]

    def _find_weakly(self, text: str) -> str | None:
        """What can be said of a text that is not known whole: its message, or those parts that are."""
        core = text.strip()
        for template in self._list_templates(core):
            if match := template.source.fullmatch(core):
                groups = zip(template.names, match.groups(), strict=True)
                values = {
                    name: value if name in OWN_WORDS else self._find(value, 1) or value
                    for name, value in groups
                }
                return text.replace(core, template.write(values), 1)
        for joint in _JOINTS[:5]:
            parts = _split(core, joint)
            if len(parts) > 1:
                found_parts = [self._find(part, 1) for part in parts]
                if any(found_parts):
                    rows = [found or part for found, part in zip(found_parts, parts, strict=True)]
                    return text.replace(core, joint.join(_unend(rows, joint)), 1)
        return None

    def write_numbers(self, text: str) -> str:
        """Figures with this language's decimal sign; dates, versions and names are left alone."""
        if self.decimal_sign == ".":
            return text
        written = _DECIMAL.sub(rf"\1{self.decimal_sign}\2", text)
        return written if written == text else _LISTED.sub(r"\1; ", written)


def _split(text: str, joint: str) -> list[str]:
    """The parts of a row; sentences keep their full stop, by which the catalogue knows them."""
    parts = text.split(joint)
    return [f"{part}." for part in parts[:-1]] + parts[-1:] if joint == ". " else parts


def _unend(parts: list[str], joint: str) -> list[str]:
    """Parts of which all but the last are about to get their joint."""
    return [part.removesuffix(".") for part in parts[:-1]] + parts[-1:] if joint == ". " else parts


def _letters(text: str) -> str:
    return "".join(_WORD.findall(text))


def _first_word(text: str) -> str:
    """The first word, if it is whole: followed by something that belongs to no word."""
    match = re.match(r"\W*([^\W\d_]+)(?=[^\w])", text)
    return match[1] if match else ""


def _last_word(text: str) -> str:
    match = re.search(r"(?<=[^\w])([^\W\d_]+)\W*$", text)
    return match[1] if match else ""


def is_neutral(text: str) -> bool:
    """Whether a text has nothing to translate: signs, figures, units, names of files and keys."""
    return all(word in NEUTRAL or len(word) == 1 for word in _WORD.findall(_MARKUP.sub(" ", text)))


def is_for_browser(entry: polib.POEntry) -> bool:
    """Whether a browser module asks for this message."""
    return any(file.startswith(BROWSER_MODULES) for file, _ in entry.occurrences)


def file_of(language: str) -> Path:
    """The file of a language's words; it need not be there."""
    return LOCALES / f"{language}.po"


@functools.lru_cache(maxsize=1)
def list_languages() -> dict[str, str]:
    """What each language that can be chosen calls itself, by its code; English is always first."""
    found = {SOURCE: SOURCE_NAME}
    for path in sorted(LOCALES.glob("*.po")):
        found[path.stem] = read_catalogue(path.stem).name
    return found


@functools.lru_cache(maxsize=16)
def read_catalogue(language: str) -> Catalogue:
    """The words of a language; English has none, and needs none.

    Raises
    ------
    RedysError
        The file is missing or is no catalogue.
    """
    if language == SOURCE:
        return Catalogue(SOURCE, {}, name=SOURCE_NAME)
    path = file_of(language)
    try:
        entries = polib.pofile(str(path), encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RedysError(
            f"{path.name} cannot be read: {error}.", "Put the file of the language back."
        ) from None
    browser = frozenset(entry.msgid for entry in entries if is_for_browser(entry))
    messages = {entry.msgid: entry.msgstr for entry in entries if not (entry.obsolete or entry.fuzzy)}
    return Catalogue(
        language,
        messages,
        decimal_sign=entries.metadata.get("X-Decimal-Sign", "."),
        name=entries.metadata.get("X-Language-Name", language),
        browser=browser,
    )
