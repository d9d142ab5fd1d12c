"""The messages of the program, collected from its source: what a catalogue has to translate.

Sentences are found where they are written: strings with a space or a capital in calls, lists, returns and
constants of the rooms that speak to a person, and ``t("...")`` of the browser modules. An f-string becomes a
message with a name in braces for each value. Single small words ("right", "passed") cannot be told from
keys this way; a catalogue has them in entries marked as kept by hand, and a test renders every page to find
any that is missing.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polib

from components.catalogue import SOURCE, file_of, is_neutral
from pipeline.files import write_bytes
from settings import ROOT

ROOMS: Final = ("components", "pages", "records", "pipeline")
SILENT: Final = (
    "components/callbacks.py", "components/catalogue.py", "components/language.py", "components/messages.py",
    "components/signals.py",
    "records/__main__.py", "records/doctor.py", "records/demo.py", "records/models.py",
    "records/migrations/",
    "records/database.py", "pipeline/commands/", "pipeline/datasets/", "pipeline/evaluation/",
    "pipeline/synth/", "pipeline/measures/baseline_build", "pipeline/measures/null_rates",
    "pipeline/calibration/describe.py", "pipeline/export/tables.py", "pipeline/export/bids.py",
    "pipeline/export/nwb.py", "pipeline/export/fhir.py", "pipeline/export/opensim.py",
    "pipeline/export/c3d.py", "pipeline/export/glb.py", "pipeline/export/study.py",
    "pipeline/pose/overlay.py",
    "pipeline/pose/networks/yolo.py", "pipeline/pose/training/",
)  # fmt: skip
"""What speaks only at the command line or in files for other programs, and there in English."""

BY_HAND: Final = "kept by hand"
"""Comment of an entry whose message no single string of the source is: it stays when the source changes."""

_NAMES_OF_KEYS: Final = """
className class_name id type href key role method action name scope style path download mimetype endpoint
encoding mode value target htmlFor active persistence_type storage_type color dtype engine side dash
symbol fill font_family family server_default ondelete back_populates pattern metavar prog usage
autoComplete inputMode rel lang format event module kind state orient orientation xref yref anchor
xanchor yanchor hash cls code salt path_template colorscale refresh
"""
_NOT_TEXT: Final = frozenset(_NAMES_OF_KEYS.split())

_NAMES_OF_CALLS: Final = """
ValueError TypeError KeyError RuntimeError AssertionError NotImplementedError AttributeError LookupError
PreventUpdate TypeVar getattr setattr hasattr print add_argument add_parser compile split rsplit strip
rstrip lstrip replace partition rpartition removeprefix removesuffix startswith endswith encode decode
debug info warning error exception getLogger Column mapped_column ForeignKey text execute glob
with_name with_suffix is_file strftime strptime NewType Literal import_module Path
"""
_NOT_SPOKEN: Final = frozenset(_NAMES_OF_CALLS.split())

_TEMPLATE_CALL: Final = re.compile(r"""\bt\(\s*("(?:[^"\\]|\\.)+")""")
_WORDS: Final = re.compile(r"[A-Za-z]{2,}.*\s|^[A-Z][a-z]+[.…]?$|\s.*[A-Za-z]{2,}")
_NO_SENTENCE: Final = re.compile(
    r"^\s*<|</|[{};]\s*$|^[\w./-]*[_/][\w./-]*$|^--?\w|^#|^\W*$|\\[.wsd]|^\w+ = "
    r"|^\w+: [{\[!]|^[a-z_]+: \{\w+\}$|^\w+: \w$|\w=\"|[a-z]=\{|font|sans-serif|^(private|public|noindex), "
    r"|src |'(self|none)'|url=|filename=|\b(SELECT|INTO|READ|BEGIN)\b|\(:|domain$|\": |max-age|=\(\)"
    r"|^(Lax|Strict|Origin|Accept|Cookie|Location|Export|Records)$"
)


class _Collector(ast.NodeVisitor):
    """Walks one module; ``found`` are its messages."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str):
            return
        if "{{" in node.value and "</" in node.value:  # a page's template
            self.found += [ast.literal_eval(said) for said in _TEMPLATE_CALL.findall(node.value)]
        elif _is_sentence(node.value):
            self.found.append(node.value.strip())

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        message = _template_of(node).strip()
        if _is_sentence(re.sub(r"\{\w+\}", "0", message)):
            self.found.append(message)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _NOT_SPOKEN:
            return
        self.visit(node.func)
        for value in node.args:
            self.visit(value)
        for keyword in node.keywords:
            if keyword.arg not in _NOT_TEXT or not isinstance(keyword.value, ast.Constant | ast.JoinedStr):
                self.visit(keyword.value)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            is_key = isinstance(key, ast.Constant) and key.value in _NOT_TEXT
            if not (is_key and isinstance(value, ast.Constant)):
                self.visit(value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)

    def visit_Compare(self, node: ast.Compare) -> None:
        for part in (node.left, *node.comparators):
            if not isinstance(part, ast.Constant):
                self.visit(part)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        """Annotations are no text."""


def _template_of(node: ast.JoinedStr) -> str:
    """An f-string as a message: each value is a name in braces."""
    parts: list[str] = []
    taken: dict[str, int] = {}
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            name = _name_of(part.value)
            taken[name] = taken.get(name, 0) + 1
            parts.append(f"{{{name}{taken[name] if taken[name] > 1 else ''}}}")
        elif isinstance(part, ast.Constant):
            parts.append(str(part.value))
    return "".join(parts)


def _name_of(value: ast.expr) -> str:
    """What to call a value of an f-string: the last name in its expression."""
    match value:
        case ast.Attribute(attr="title", value=ast.Name(id=owner)):  # a heading of ours, or a person's own
            return f"{owner.lower()}_title"
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.lower()
        case ast.Call(func=ast.Attribute(attr="join"), args=[inner]):
            return _name_of(inner)
        case ast.Call(func=ast.Name(id="len"), args=[inner]):
            return f"n_{_name_of(inner)}"
        case ast.Call(args=[inner, *_]) if not isinstance(inner, ast.Constant):
            return _name_of(inner)
        case ast.Call(func=ast.Attribute(value=inner)):
            return _name_of(inner)
        case ast.Call(func=ast.Name(id=name)):
            return name.lower().lstrip("_")
        case ast.BinOp(left=left, right=right):
            return _name_of(right if isinstance(left, ast.Constant) else left)
        case ast.UnaryOp(operand=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner):
            return _name_of(inner)
        case ast.GeneratorExp(elt=inner) | ast.ListComp(elt=inner) | ast.IfExp(body=inner):
            return _name_of(inner)
    return "value"


def _is_sentence(text: str) -> bool:
    core = text.strip()
    return bool(_WORDS.search(core)) and not _NO_SENTENCE.search(core) and not is_neutral(core)


def collect_python(source: str) -> list[str]:
    """The messages of a Python module, in their order."""
    collector = _Collector()
    collector.visit(ast.parse(source))
    return collector.found


def collect_browser(source: str) -> list[str]:
    """The messages of a browser module: the literals in ``t("...")``."""
    return [ast.literal_eval(said) for said in _TEMPLATE_CALL.findall(source)]


def collect(root: Path = ROOT) -> dict[str, list[str]]:
    """Every message of the program, with the files that have it."""
    found: dict[str, list[str]] = {}
    for name, messages in _walk(root):
        for message in messages:
            files = found.setdefault(message, [])
            if name not in files:
                files.append(name)
    return found


def _walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if not name.startswith(SILENT):
                yield name, collect_python(path.read_text(encoding="utf-8"))
    for path in sorted((root / "assets").rglob("*.*js")):
        yield path.relative_to(root).as_posix(), collect_browser(path.read_text(encoding="utf-8"))


def list_missing(language: str) -> list[str]:
    """The program's messages that a language has no translation of."""
    entries = polib.pofile(str(file_of(language)), encoding="utf-8")
    known = {entry.msgid for entry in entries if entry.msgstr and not entry.obsolete and not entry.fuzzy}
    return [message for message in collect() if message not in known]


def update(language: str) -> tuple[int, int]:
    """Bring a catalogue up to the source: new messages come in empty, those that are gone go.

    Returns
    -------
    added, removed : int
        How many messages.
    """
    path = file_of(language)
    entries = polib.pofile(str(path), encoding="utf-8", wrapwidth=100)
    by_message = {entry.msgid: entry for entry in entries if not entry.obsolete}
    kept = polib.POFile(wrapwidth=100)
    kept.header, kept.metadata = entries.header, entries.metadata
    messages = collect()
    for message, files in messages.items():
        entry = by_message.get(message) or polib.POEntry(msgid=message)
        entry.occurrences = [(file, "") for file in files]
        kept.append(entry)
    by_hand = [
        entry for entry in by_message.values() if BY_HAND in entry.tcomment and entry.msgid not in messages
    ]
    kept.extend(by_hand)
    write_bytes(path, f"{kept}\n".encode())
    gone = len(by_message) - len(by_hand) - len(by_message.keys() & messages.keys())
    return len(messages.keys() - by_message.keys()), gone


def main() -> int:
    """The command: what is missing, or the file brought up to the source."""
    parser = argparse.ArgumentParser(prog="python -m components.language", description=__doc__)
    parser.add_argument("--missing", metavar="LANGUAGE", help="list the messages without a translation")
    parser.add_argument("--update", metavar="LANGUAGE", help="write the program's messages into its file")
    options = parser.parse_args()
    for language in filter(None, (options.missing, options.update)):
        if language == SOURCE or not file_of(language).is_file():
            print(f"There is no file {file_of(language)}.", file=sys.stderr)
            return 2
    if options.update:
        added, gone = update(options.update)
        print(f"{added} messages new, {gone} gone")
    missing = list_missing(options.missing) if options.missing else []
    for message in missing:
        print(message)
    return 1 if missing else 0
